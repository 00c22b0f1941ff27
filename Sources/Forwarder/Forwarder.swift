public import Broker
public import DeadLetters
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
        nonce: UInt64 = .random(in: 1 ... .max), hooks: ForwarderHooks
    ) {
        let shared = ForwarderShared(
            spool: spool, sinks: sinks, outcomes: outcomes, deadLetters: deadLetters, settings: settings, clock: clock,
            nonce: nonce, hooks: hooks)
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
        for lane in lanes { shared.spool.wake(lane: lane.index) }
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
    let hooks: ForwarderHooks
    private let stopping = Monitor(false)

    init(
        spool: Spool, sinks: any RecordSinkFactory, outcomes: any OutcomeSource, deadLetters: DeadLetters,
        settings: ForwarderSettings, clock: any TimeSource, nonce: UInt64, hooks: ForwarderHooks
    ) {
        self.spool = spool
        self.sinks = sinks
        self.outcomes = outcomes
        self.deadLetters = deadLetters
        self.settings = settings
        self.clock = clock
        self.nonce = nonce
        self.hooks = hooks
    }

    var isStopping: Bool { stopping.withLock { $0 } }

    func stop() {
        stopping.withLock { $0 = true }
        stopping.broadcast()
    }

    /// Sleeps, unless the forwarder stops.
    func pause(until deadline: MonotonicInstant) {
        guard SystemClock().now() < deadline else { return }
        _ = stopping.wait(until: deadline) { $0 ? true : nil }
    }
}
