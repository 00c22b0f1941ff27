import CoreMetrics
import Primitives
import Records

/// How many accepted records of a lane are not settled yet: what `postrider_lane_lag_records` says.
///
/// New records count from the moment they are handed to the journal, so the number never lags behind what a lane can
/// deliver; a refusal takes them off again. How many recovered records a lane has nobody knows before it has read
/// through them: until then the number is what was found so far, and at least 1.
///
/// Any thread may call; one lock for each lane, so that intake into one topic does not wait for another's.
final class LaneBacklog: Sendable {
    private struct State {
        var records = 0
        /// Recovered records below were counted, whoever reads them again.
        var countedTo = LSN.zero
        var recovered: LSN

        var reported: Int { max(records, countedTo < recovered ? 1 : 0) }
    }

    private let state: Lock<State>
    private let gauge: Gauge

    /// - Parameters:
    ///   - scanned: nothing of the lane below is undelivered.
    ///   - recovered: end of what an earlier process left.
    init(lane: Int, scanned: LSN, recovered: LSN) {
        state = Lock(State(countedTo: scanned, recovered: recovered))
        gauge = Gauge(label: "postrider_lane_lag_records", dimensions: [("lane", String(lane))])
    }

    var records: Int { state.withLock { $0.reported } }

    /// New ones went to the journal.
    func add(_ count: Int) { state.withLock { $0.records += count } }

    /// Refused after all, or settled: delivered, or dead.
    func remove(_ count: Int) { state.withLock { $0.records -= count } }

    /// The lane's reader found these LSNs of the lane, ascending, and nothing else of it before `end`.
    func read(_ found: some Sequence<LSN>, end: LSN) {
        let counted = state.withLock { state in
            guard state.countedTo < state.recovered else { return false }
            for lsn in found where lsn >= state.countedTo && lsn < state.recovered { state.records += 1 }
            state.countedTo = max(state.countedTo, end)
            return true
        }
        // A lane that finds nothing of its own settles nothing either: nobody else would take back the first guess.
        if counted { report() }
    }

    /// Under the lock, so that the last number recorded is the newest.
    func report() { state.withLock { gauge.record($0.reported) } }
}

/// How many records of one request go to each lane. Nearly every request has one lane, which takes no memory of its
/// own.
struct LaneCounts {
    private var first: (lane: UInt8, count: Int)?
    private var others: [UInt8: Int] = [:]

    mutating func add(_ lane: UInt8) {
        if first == nil { first = (lane, 0) }
        if first?.lane == lane { first?.count += 1 } else { others[lane, default: 0] += 1 }
    }

    func forEach(_ body: (Int, Int) -> Void) {
        if let first { body(Int(first.lane), first.count) }
        for (lane, count) in others { body(Int(lane), count) }
    }
}
