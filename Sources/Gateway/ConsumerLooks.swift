import Consumers
import CoreMetrics
import Primitives
import Records
import Telemetry

/// What the consumers' series say, looked up at intervals: a scrape must not ask a broker, and how far behind a
/// consumer is that nobody polls only the broker knows.
///
/// Consumers are described one after the other, so there is one question to the broker at a time; the next round begins
/// `interval` after the end of the last. A consumer that cannot be described has no series until it can.
///
/// Life: `start`, then `stop`. Any thread may call; completions come on the broker's threads.
final class ConsumerLooks: Sendable {
    /// Between rounds.
    static let interval = Duration.seconds(15)
    /// Consumers that are looked at, in the order of their names; the others' lag is not known. Each round that leaves
    /// some out counts in `Limit.consumerLooks`.
    static let consumersMax = 1_000
    /// A failure that took longer is no refusal but a silence, and the next question would only wait as long: the round
    /// ends.
    static let silence = Duration.seconds(1)

    typealias Describe =
        @Sendable (ConsumerName, @escaping @Sendable (Result<ConsumerDescription, ConsumerError>) -> Void) -> Void

    private struct State {
        var isStopped = false
        var timer: TimerToken?
        /// Of the last round.
        var found = ConsumerFindings()
        /// Of the one that is under way.
        var finding = ConsumerFindings()
    }

    private let list: @Sendable () throws(ConsumerError) -> [ConsumerName]
    private let describe: Describe
    private let timers: any Timers
    private let clock: any TimeSource
    private let state = Lock(State())
    private let failed = Counter(label: "postrider_consumer_looks_failed_total")

    convenience init(_ consumers: Consumers, clock: any TimeSource, timers: any Timers) {
        self.init(
            list: { () throws(ConsumerError) in try consumers.list() },
            describe: { consumers.describe($0, completion: $1) }, clock: clock, timers: timers)
    }

    /// - Parameters:
    ///   - list: sorted.
    ///   - describe: as `Consumers.describe`.
    init(
        list: @escaping @Sendable () throws(ConsumerError) -> [ConsumerName], describe: @escaping Describe,
        clock: any TimeSource, timers: any Timers
    ) {
        self.list = list
        self.describe = describe
        self.clock = clock
        self.timers = timers
    }

    func start() { round() }

    func stop() {
        let timer = state.withLock { state in
            state.isStopped = true
            return state.timer
        }
        if let timer { timers.cancel(timer) }
    }

    /// For a scrape: from memory.
    var samples: [MetricSample] { state.withLock { $0.found }.samples(nowMs: clock.wallMilliseconds()) }

    private func round() {
        let names: [ConsumerName]
        do throws(ConsumerError) {
            names = try list()
        } catch {
            // The store has not said which there are.
            failed.increment()
            return finish()
        }
        state.withLock { $0.finding.count = names.count }
        if names.count > Self.consumersMax { Limit.consumerLooks.reached() }
        look(names.prefix(Self.consumersMax))
    }

    private func look(_ names: ArraySlice<ConsumerName>) {
        guard let name = names.first, !state.withLock({ $0.isStopped }) else { return finish() }
        let asked = clock.now()
        describe(name) { [self] result in
            switch result {
            case .success(let description):
                state.withLock { $0.finding.add(description) }
                return look(names.dropFirst())
            case .failure(.unavailable) where clock.now() - asked > Self.silence:
                failed.increment(by: names.count)
                return finish()
            case .failure(.unavailable): failed.increment()
            // Forgotten meanwhile, or of a form that this version does not know: nothing is to be said of it.
            case .failure: break
            }
            // What fails may do so at once, on this very thread: a thousand of them must not stand on its stack.
            next(at: asked) { $0.look(names.dropFirst()) }
        }
    }

    private func finish() {
        state.withLock { state in
            state.found = state.finding
            state.finding = ConsumerFindings()
        }
        next(at: clock.now() + Self.interval) { $0.round() }
    }

    private func next(at instant: MonotonicInstant, _ step: @escaping @Sendable (ConsumerLooks) -> Void) {
        state.withLock { state in
            guard !state.isStopped else { return }
            state.timer = timers.schedule(at: instant) { [weak self] in
                if let self { step(self) }
            }
        }
    }
}
