public import Broker
import CoreMetrics
public import DeadLetters
public import Logging
public import Primitives
public import Spool

/// Hands the spool's records over to the broker, one thread for each lane: promise 3.
///
/// Life: `start`, then `stop` before the spool is closed. Any thread may call.
public final class Forwarder: Sendable {
    private let shared: ForwarderShared
    let lanes: [Lane]
    private let threads = Lock<[WorkerThread]>([])

    public init(
        spool: Spool, sinks: any RecordSinkFactory, deadLetters: DeadLetters,
        settings: ForwarderSettings = ForwarderSettings(), clock: any TimeSource = SystemClock(),
        log: Logger = Logger(label: "postrider.forwarder"), hooks: ForwarderHooks
    ) {
        let shared = ForwarderShared(
            spool: spool, sinks: sinks, deadLetters: deadLetters, settings: settings, clock: clock,
            log: log, hooks: hooks)
        self.shared = shared
        lanes = (0..<spool.settings.lanes).map { Lane(index: $0, shared: shared) }
    }

    /// Starts the lanes' threads.
    public func start() {
        let started = lanes.map { lane in WorkerThread(name: "lane-\(lane.index)") { lane.run() } }
        threads.withLock { $0 = started }
    }

    /// Returns when every lane has opened its sink once, or failed to, or at the deadline: by then a spool that was
    /// restored or copied has been found out, unless the broker does not answer.
    public func waitForFirstOpenings(until deadline: MonotonicInstant) { shared.waitForOpenings(lanes.count, deadline) }

    private static let drainLook = Duration.milliseconds(20)

    /// Waits until the broker has what the spool holds, but for no longer than `ForwarderSettings.drainTimeout`. A lane
    /// whose last try failed is not waited for: a broker that is away may be away for long, and what is left the next
    /// start hands over. Blocks; before `stop`, when nothing comes in any more.
    public func drain() {
        let deadline = SystemClock().now() + shared.settings.drainTimeout
        while SystemClock().now() < deadline, !shared.isStopping, shared.closed == nil,
            lanes.contains(where: isDraining)
        {
            shared.pause(until: min(deadline, SystemClock().now() + Self.drainLook))
        }
    }

    private func isDraining(_ lane: Lane) -> Bool {
        lane.status.withLock { $0.state } == .forwarding && shared.spool.lagRecords(lane: lane.index) > 0
    }

    /// Lets every lane end the hand-over it is in; those that have not after `ForwarderSettings.stopTimeout` are
    /// interrupted (`RecordSink.interrupt`), and what became of them the next start finds out. Joins the threads.
    public func stop() {
        shared.stop()
        if !shared.waitForEnds(threads.withLock { $0.count }, SystemClock().now() + shared.settings.stopTimeout) {
            shared.log.warning("hand-overs do not end, interrupting them")
            shared.sinks.interrupt()
            for lane in lanes { lane.interrupt() }
        }
        for thread in threads.withLock({ $0 }) { thread.join() }
    }

    public var status: [LaneStatus] { lanes.map { $0.status.withLock { $0 } } }
}

/// What all lanes share.
final class ForwarderShared: Sendable {
    let spool: Spool
    let sinks: any RecordSinkFactory
    let deadLetters: DeadLetters
    let settings: ForwarderSettings
    let clock: any TimeSource
    let log: Logger
    let hooks: ForwarderHooks
    private let end = Monitor(End())
    /// Lanes that have tried to open their sink.
    private let openings = Monitor<Set<Int>>([])
    /// Lanes whose threads are about to end.
    private let ended = Monitor<Set<Int>>([])
    private let memory: Lock<BatchMemory>
    private let memoryBytes = Gauge(label: "postrider_forwarder_memory_bytes")

    /// Why lanes stop; a value behind the monitor.
    private struct End {
        var stopping = false
        var closed: (code: String, detail: String)?
    }

    init(
        spool: Spool, sinks: any RecordSinkFactory, deadLetters: DeadLetters, settings: ForwarderSettings,
        clock: any TimeSource, log: Logger, hooks: ForwarderHooks
    ) {
        self.spool = spool
        self.sinks = sinks
        self.deadLetters = deadLetters
        self.settings = settings
        self.clock = clock
        self.log = log
        self.hooks = hooks
        memory = Lock(
            BatchMemory(
                bytesMax: settings.memoryMax, lanes: spool.settings.lanes, factor: sinks.memoryFactor))
    }

    // MARK: - Memory

    /// Bytes that the lane may take now.
    func grant(_ wanted: Int, to lane: Int) -> Int { memory.withLock { $0.grant(wanted, to: lane) } }

    /// What the lane took, or nothing any more.
    func hold(_ bytes: Int, by lane: Int) {
        memory.withLock { memory in
            memory.hold(bytes, by: lane)
            memoryBytes.record(memory.heldBytes * max(1, sinks.memoryFactor))
        }
    }

    // MARK: - Life

    var isStopping: Bool { end.withLock { $0.stopping } }

    /// Why no lane forwards any more; nil while they do.
    var closed: (code: String, detail: String)? { end.withLock { $0.closed } }

    func openingTried(by lane: Int) {
        if openings.withLock({ $0.insert(lane).inserted }) { openings.broadcast() }
    }

    func waitForOpenings(_ count: Int, _ deadline: MonotonicInstant) {
        _ = openings.wait(until: deadline) { $0.count >= count ? true : nil }
    }

    func laneEnded(_ lane: Int) {
        ended.withLock { _ = $0.insert(lane) }
        ended.broadcast()
    }

    /// - Returns: false when the deadline passed first.
    func waitForEnds(_ count: Int, _ deadline: MonotonicInstant) -> Bool {
        ended.wait(until: deadline) { $0.count >= count ? true : nil } ?? false
    }

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
