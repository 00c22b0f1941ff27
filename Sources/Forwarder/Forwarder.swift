public import Broker
public import DeadLetters
public import Logging
public import Primitives
public import Spool

/// Hands the spool's records over to the broker, one thread for each lane: promise 3.
///
/// Life: `start`, then `stop` before the spool is closed. Any thread may call.
public final class Forwarder: Sendable {
    private let shared: ForwarderShared
    private let lanes: [Lane]
    private let threads = Lock<[WorkerThread]>([])

    /// - Parameters:
    ///   - outcomes: where the broker keeps the outcomes of hand-overs.
    ///   - nonce: of this process; another one only in tests.
    public init(
        spool: Spool, sinks: any RecordSinkFactory, outcomes: any OutcomeSource, deadLetters: DeadLetters,
        settings: ForwarderSettings = ForwarderSettings(), clock: any TimeSource = SystemClock(),
        nonce: UInt64 = .random(in: 1 ... .max), log: Logger = Logger(label: "postrider.forwarder"),
        hooks: ForwarderHooks
    ) {
        let shared = ForwarderShared(
            spool: spool, sinks: sinks, outcomes: outcomes, deadLetters: deadLetters, settings: settings, clock: clock,
            nonce: nonce, log: log, hooks: hooks)
        self.shared = shared
        lanes = (0..<spool.settings.lanes).map { Lane(index: $0, shared: shared) }
    }

    /// Starts the lanes' threads.
    public func start() {
        let started = lanes.map { lane in WorkerThread(name: "lane-\(lane.index)") { lane.run() } }
        threads.withLock { $0 = started }
    }

    /// Lets every lane end the hand-over it is in, and joins the threads. A sink bounds how long that takes.
    public func stop() {
        shared.stop()
        for thread in threads.withLock({ $0 }) { thread.join() }
    }

    public var status: [LaneStatus] { lanes.map { $0.status.withLock { $0 } } }
}

/// What all lanes share.
final class ForwarderShared: Sendable {
    let spool: Spool
    let sinks: any RecordSinkFactory
    let outcomes: any OutcomeSource
    let deadLetters: DeadLetters
    let settings: ForwarderSettings
    let clock: any TimeSource
    let nonce: UInt64
    let log: Logger
    let hooks: ForwarderHooks
    private let end = Monitor(End())

    /// Why lanes stop; a value behind the monitor.
    private struct End {
        var stopping = false
        var closed: (code: String, detail: String)?
    }

    init(
        spool: Spool, sinks: any RecordSinkFactory, outcomes: any OutcomeSource, deadLetters: DeadLetters,
        settings: ForwarderSettings, clock: any TimeSource, nonce: UInt64, log: Logger,
        hooks: ForwarderHooks
    ) {
        self.spool = spool
        self.sinks = sinks
        self.outcomes = outcomes
        self.deadLetters = deadLetters
        self.settings = settings
        self.clock = clock
        self.nonce = nonce
        self.log = log
        self.hooks = hooks
    }

    var isStopping: Bool { end.withLock { $0.stopping } }

    /// Why no lane forwards any more; nil while they do.
    var closed: (code: String, detail: String)? { end.withLock { $0.closed } }

    func stop() {
        end.withLock { $0.stopping = true }
        wakeLanes()
    }

    /// Nothing is forwarded until an operator has decided and the process starts again: what one lane found out, that
    /// this is not the spool's only copy, concerns all of them.
    func close(code: String, detail: String) {
        end.withLock { $0.closed = $0.closed ?? (code, detail) }
        wakeLanes()
    }

    private func wakeLanes() {
        end.broadcast()
        for lane in 0..<spool.settings.lanes { spool.wake(lane: lane) }
    }

    /// Sleeps, unless the forwarder ends.
    func pause(until deadline: MonotonicInstant) {
        guard SystemClock().now() < deadline else { return }
        _ = end.wait(until: deadline) { $0.stopping || $0.closed != nil ? true : nil }
    }
}
