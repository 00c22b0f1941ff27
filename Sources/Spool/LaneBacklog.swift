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
/// It also knows how old the oldest of them is. Records say when they were accepted once they are published; recovered
/// ones when the lane finds them, if the gateway set their timestamp. Of others nothing is known: they count from the
/// start of this process.
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
        /// Of recovered records.
        var recoveredAges = LaneAges()
        /// Of those of this process.
        var ages = LaneAges()

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

        mutating func settle(below lsn: LSN) {
            if records <= 0 {
                ages.removeAll()
                recoveredAges.removeAll()
            } else if lsn < recovered {
                recoveredAges.settle(below: lsn)
            } else {
                recoveredAges.removeAll()
                ages.settle(below: lsn)
            }
        }
    }

    private let state: Lock<State>
    private let clock: any TimeSource
    private let gauge: Gauge
    private let startedMs: Int64

    /// - Parameters:
    ///   - scanned: nothing of the lane below is undelivered.
    ///   - recovered: end of what an earlier process left.
    init(lane: Int, scanned: LSN, recovered: LSN, clock: any TimeSource) {
        self.clock = clock
        startedMs = Self.milliseconds(clock.now())
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

    /// They are about to be published: nobody has seen them yet.
    func accepted(from lsn: LSN) {
        let nowMs = Self.milliseconds(clock.now())
        state.withLock { $0.ages.add(lsn, atMs: nowMs) }
    }

    /// Settled: delivered, or dead. - Parameter scanned: nothing of the lane below is unsettled.
    func remove(_ settled: TopicCounts, scanned: LSN) {
        let now = clock.now()
        state.withLock { state in
            settled.forEach { topic, sum in
                state.rate.settled(sum.records, now)
                state.add(topic, -sum.records, now)
            }
            state.settle(below: scanned)
        }
    }

    /// Since the oldest of the records was accepted; zero without any.
    var age: Duration {
        let oldestMs = state.withLock { state -> Int64? in
            guard state.reported > 0 else { return nil }
            if let recovered = state.recoveredAges.oldestMs { return recovered }
            return state.least > 0 ? startedMs : state.ages.oldestMs ?? startedMs
        }
        return oldestMs.map { .milliseconds(max(0, Self.milliseconds(clock.now()) - $0)) } ?? .zero
    }

    /// Signed, so that what happened before the machine's start has a place too.
    private static func milliseconds(_ now: MonotonicInstant) -> Int64 {
        Int64(clamping: now.nanoseconds / 1_000_000)
    }

    /// Records that are settled in a second, while there are any; nil where that is not known.
    func drainRate(_ now: MonotonicInstant) -> Double? { state.withLock { $0.rate.perSecond(now) } }

    /// Refused after all.
    func remove(_ topic: TopicName, _ count: Int) { add(topic, -count) }

    /// The lane's reader found these records of the lane, ascending, and nothing else of it before `end`.
    ///
    /// - Parameter found: with the time at which each was accepted, in milliseconds since 1970 UTC; nil: unknown.
    func read(_ found: some Sequence<(lsn: LSN, topic: TopicName, acceptedMs: Int64?)>, end: LSN) {
        let (now, wallMs) = (clock.now(), clock.wallMilliseconds())
        let counted = state.withLock { state in
            guard state.countedTo < state.recovered else { return false }
            for (lsn, topic, acceptedMs) in found where lsn >= state.countedTo && lsn < state.recovered {
                state.add(topic, 1, now)
                if let acceptedMs {
                    let age = wallMs - max(0, acceptedMs)
                    state.recoveredAges.add(lsn, atMs: Self.milliseconds(now) - age)
                }
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
    struct Sum: Sendable {
        var records = 0
        /// Keys, values and headers, where whoever added them said so.
        var bytes = 0

        mutating func add(bytes: Int) {
            records += 1
            self.bytes += bytes
        }
    }

    private var first: (topic: TopicName, sum: Sum)?
    private var others: [TopicName: Sum] = [:]

    public init(_ topics: some Sequence<TopicName> = []) {
        for topic in topics { add(topic) }
    }

    public var isEmpty: Bool { first == nil }

    public mutating func add(_ topic: TopicName, bytes: Int = 0) {
        if first == nil { first = (topic, Sum()) }
        if first?.topic == topic {
            first?.sum.add(bytes: bytes)
        } else {
            others[topic, default: Sum()].add(bytes: bytes)
        }
    }

    func forEach(_ body: (TopicName, Sum) -> Void) {
        if let first { body(first.topic, first.sum) }
        for (topic, sum) in others { body(topic, sum) }
    }
}
