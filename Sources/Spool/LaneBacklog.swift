import CoreMetrics
import Primitives
public import Records

/// How many accepted records of a lane, and of each of its topics, are not settled yet. The first is what
/// `postrider_lane_lag_records` says.
///
/// New records count from the moment they are handed to the journal, so the number never lags behind what a lane can
/// deliver; a refusal takes them off again. How many recovered records a lane has nobody knows before it has read
/// through them: until then the number is what was found so far, and at least 1.
///
/// Any thread may call; one lock for each lane, so that intake into one topic does not wait for another's.
final class LaneBacklog: Sendable {
    private struct State {
        var records = 0
        /// Of each topic that has any.
        var topics: [TopicName: Int] = [:]
        /// Recovered records below were counted, whoever reads them again.
        var countedTo = LSN.zero
        var recovered: LSN
        var rate = DrainRate()

        /// Before the lane has read through what was recovered.
        var least: Int { countedTo < recovered ? 1 : 0 }
        var reported: Int { max(records, least) }

        mutating func add(_ topic: TopicName, _ count: Int, _ now: MonotonicInstant) {
            if records == 0 { rate.begins(now) }
            records += count
            if records == 0 { rate.rests() }
            let left = topics[topic, default: 0] + count
            topics[topic] = left == 0 ? nil : left
        }
    }

    private let state: Lock<State>
    private let clock: any TimeSource
    private let gauge: Gauge

    /// - Parameters:
    ///   - scanned: nothing of the lane below is undelivered.
    ///   - recovered: end of what an earlier process left.
    init(lane: Int, scanned: LSN, recovered: LSN, clock: any TimeSource) {
        self.clock = clock
        state = Lock(State(countedTo: scanned, recovered: recovered))
        gauge = Gauge(label: "postrider_lane_lag_records", dimensions: [("lane", String(lane))])
    }

    var records: Int { state.withLock { $0.reported } }

    /// Of one topic of the lane.
    func records(of topic: TopicName) -> Int { state.withLock { max($0.topics[topic] ?? 0, $0.least) } }

    /// New ones went to the journal.
    func add(_ topic: TopicName, _ count: Int) {
        let now = clock.now()
        state.withLock { $0.add(topic, count, now) }
    }

    /// Settled: delivered, or dead.
    func remove(_ settled: TopicCounts) {
        let now = clock.now()
        state.withLock { state in
            settled.forEach { topic, count in
                state.rate.settled(count, now)
                state.add(topic, -count, now)
            }
        }
    }

    /// Records that are settled in a second, while there are any; nil where that is not known.
    func drainRate(_ now: MonotonicInstant) -> Double? { state.withLock { $0.rate.perSecond(now) } }

    /// Refused after all.
    func remove(_ topic: TopicName, _ count: Int) { add(topic, -count) }

    /// The lane's reader found these records of the lane, ascending, and nothing else of it before `end`.
    func read(_ found: some Sequence<(lsn: LSN, topic: TopicName)>, end: LSN) {
        let now = clock.now()
        let counted = state.withLock { state in
            guard state.countedTo < state.recovered else { return false }
            for (lsn, topic) in found where lsn >= state.countedTo && lsn < state.recovered {
                state.add(topic, 1, now)
            }
            state.countedTo = max(state.countedTo, end)
            return true
        }
        // A lane that finds nothing of its own settles nothing either: nobody else would take back the first guess.
        if counted { report() }
    }

    /// Under the lock, so that the last number recorded is the newest.
    func report() { state.withLock { gauge.record($0.reported) } }
}

/// How many records of a request, or of a hand-over, each topic has. Nearly every one has one topic, which takes no
/// memory of its own.
public struct TopicCounts: Sendable {
    private var first: (topic: TopicName, count: Int)?
    private var others: [TopicName: Int] = [:]

    public init(_ topics: some Sequence<TopicName> = []) {
        for topic in topics { add(topic) }
    }

    public var isEmpty: Bool { first == nil }

    public mutating func add(_ topic: TopicName) {
        if first == nil { first = (topic, 0) }
        if first?.topic == topic { first?.count += 1 } else { others[topic, default: 0] += 1 }
    }

    func forEach(_ body: (TopicName, Int) -> Void) {
        if let first { body(first.topic, first.count) }
        for (topic, count) in others { body(topic, count) }
    }
}
