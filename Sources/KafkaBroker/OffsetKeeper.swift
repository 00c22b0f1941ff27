import Broker
import CoreMetrics
import Logging
import Primitives
import Records

/// The consumers that there are, and their offsets as nobody's member sees them. Any thread may call; calls may block.
protocol IdleConsumers: Sendable {
    var names: [ConsumerName] { get }
    /// By this gateway.
    func isUsed(_ name: ConsumerName) -> Bool
    func committed(_ name: ConsumerName) throws(BrokerError) -> [TopicPartition: CommittedOffset]
    /// - Throws: `consumer_active_elsewhere` while the group has members.
    func commit(_ name: ConsumerName, _ offsets: [TopicPartition: CommittedOffset]) throws(BrokerError)
}

/// Commits the offsets of consumers that nobody uses again, unchanged, every `offsetsRecommit`: a cluster forgets
/// those of groups without members (`offsets.retention.minutes`, counted from when the last member left). Several
/// gateways do it side by side; each writes what is there.
final class OffsetKeeper: Sendable {
    private struct State {
        var isDue = false
        var isStopping = false
        var timer: TimerToken?
        var rounds = 0
    }

    private let interval: Duration
    private let consumers: any IdleConsumers
    private let clock: any TimeSource
    private let timers: any Timers
    private let state = Monitor(State())
    private let thread = Lock<WorkerThread?>(nil)
    private let log = Logger(label: "postrider.kafka.offsets")
    private let recommitted = Counter(label: "postrider_kafka_offsets_recommitted_total")
    private let failed = Counter(label: "postrider_kafka_offsets_recommit_errors_total")

    /// The first round is so long after the start, or sooner where rounds are nearer: a gateway that is restarted every
    /// day must come to it, too.
    static let firstAfter = Duration.seconds(600)

    /// - Parameter interval: between rounds.
    init(interval: Duration, consumers: any IdleConsumers, clock: any TimeSource, timers: any Timers) {
        self.interval = interval
        self.consumers = consumers
        self.clock = clock
        self.timers = timers
        schedule(after: min(Self.firstAfter, interval))
        let worker = WorkerThread(name: "kafka-keeper") { [weak self] in self?.run() }
        thread.withLock { $0 = worker }
    }

    private func schedule(after pause: Duration) {
        let timer = timers.schedule(at: clock.now() + pause) { [weak self] in
            self?.state.withLock { $0.isDue = true }
            self?.state.broadcast()
        }
        state.withLock { $0.timer = timer }
    }

    private func run() {
        while true {
            let isStopping = state.wait { state -> Bool? in
                defer { state.isDue = false }
                return state.isStopping || state.isDue ? state.isStopping : nil
            }
            if isStopping != false { return }
            for name in consumers.names {
                if state.withLock({ $0.isStopping }) { return }
                recommit(name)
            }
            schedule(after: interval)
            state.withLock { $0.rounds += 1 }
            state.broadcast()
        }
    }

    /// Between the reading and the writing somebody may use the consumer and leave it again: then what was
    /// acknowledged in that moment is delivered once more.
    private func recommit(_ name: ConsumerName) {
        guard !consumers.isUsed(name) else { return }
        do throws(BrokerError) {
            let offsets = try consumers.committed(name)
            guard !offsets.isEmpty, !consumers.isUsed(name) else { return }
            try consumers.commit(name, offsets)
            recommitted.increment()
        } catch {
            // A group with members keeps its offsets by itself.
            if error.code == "consumer_active_elsewhere" { return }
            failed.increment()
            log.warning(
                "an idle consumer's offsets were not committed again",
                metadata: ["consumer": "\(name)", "error": "\(error)"])
        }
    }

    /// - Returns: whether so many rounds are over by then; the next one is scheduled.
    func waitForRounds(_ count: Int, until deadline: MonotonicInstant) -> Bool {
        state.wait(until: deadline) { $0.rounds >= count ? true : nil } ?? false
    }

    func stop() {
        let timer = state.withLock { state in
            state.isStopping = true
            return state.timer
        }
        if let timer { timers.cancel(timer) }
        state.broadcast()
        thread.withLock { $0 }?.join()
    }
}

/// Consumers of a cluster: those that are defined, and their groups.
struct ClusterConsumers: IdleConsumers {
    let admin: GroupAdmin
    let members: GroupConsumers
    let follower: DefinitionsFollower

    var names: [ConsumerName] { follower.names }

    func isUsed(_ name: ConsumerName) -> Bool { members.live(name) != nil }

    func committed(_ name: ConsumerName) throws(BrokerError) -> [TopicPartition: CommittedOffset] {
        try admin.committed(name, of: nil)
    }

    func commit(_ name: ConsumerName, _ offsets: [TopicPartition: CommittedOffset]) throws(BrokerError) {
        try admin.commit(name, offsets)
    }
}
