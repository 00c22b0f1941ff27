import Broker
import DeadLetters
import Logging
import Primitives
import Records
import TestSupport

@testable import Forwarder
@testable import Journal
@testable import Spool
@testable import SpoolTestSupport

/// One process: spool and forwarder on a disk, whose threads are steps that somebody else chooses. What a thread of the
/// product would do next when it wakes, `step` does; when it would wake, `isReady` says.
// SAFETY: a world and everything in it belongs to one thread.
final class Life: @unchecked Sendable {
    enum Actor: Hashable {
        case writer, keeper, parker, saver
        case lane(Int)
    }

    /// What becomes known of a process before there is a `Life`, and after.
    // SAFETY: as for `Life`.
    final class Fate: @unchecked Sendable {
        let process: Int
        let lineage: Int
        /// Threads run beside each other: not while it opens or closes.
        var isRunning = false
        /// Killed, or without power: nothing that it does is seen any more.
        var isDead = false
        /// It is about to end by itself, for this reason.
        var fatal: String?
        var isHistoryUnknown = false

        init(process: Int, lineage: Int) { (self.process, self.lineage) = (process, lineage) }
    }

    static let lanes = 3
    static let directory = "/spool"
    static var quiet: Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }

    let fate: Fate
    let disk: FakeFileSystem
    let spool: Spool
    let sinks: FakeSinks
    private let clock: ManualClock
    private let forwarder: Forwarder
    /// Those that are in the middle of a call.
    private var busy: Set<Actor> = []
    private var ended: Set<Actor> = []
    private var keeperWakes: MonotonicInstant
    private var parkerWakes: MonotonicInstant
    private var saverWakes: MonotonicInstant
    private var rests = [Lane.Rest](repeating: .none, count: Life.lanes)
    private var seen: (parked: [Int], first: LSN?, saves: UInt64) = ([], nil, 0)
    private var laneWakes = [MonotonicInstant](repeating: MonotonicInstant(nanoseconds: 0), count: Life.lanes)

    init(
        _ fate: Fate, on disk: FakeFileSystem, _ settings: SpoolSettings, clock: ManualClock, sinks: FakeSinks,
        deadLetters: DeadLetters
    ) throws(JournalError) {
        (self.fate, self.disk, self.clock, self.sinks) = (fate, disk, clock, sinks)
        spool = try Spool.prepare(
            directory: Self.directory, settings: settings, fileSystem: disk, clock: clock, timers: clock,
            nonce: UInt64(fate.process), log: Self.quiet,
            requestStore: FakeRequestStore(disk), requestClock: clock,
            failed: { error in fate.fatal = "journal: \(error)" })
        let spool = spool
        var forwarding = ForwarderSettings()
        forwarding.batchRecordsMax = 6
        forwarding.drainRecordsMax = 12
        forwarding.pacedRecords = 4
        forwarder = Forwarder(
            spool: spool, sinks: sinks, deadLetters: deadLetters, settings: forwarding, clock: clock,
            log: Self.quiet,
            hooks: ForwarderHooks(
                processFatal: { code, _ in fate.fatal = code },
                historyUnknown: { _, _ in
                    // As the gateway does.
                    spool.closeIntake("spool_history_unknown")
                    fate.isHistoryUnknown = true
                }))
        keeperWakes = clock.now()
        parkerWakes = clock.now()
        saverWakes = clock.now()
        spool.journal.keeper.begin()
        fate.isRunning = true
        _ = news()
    }

    // MARK: - Steps

    static let actors: [Actor] = [.writer, .keeper, .parker, .saver] + (0..<lanes).map(Actor.lane)

    /// Whether the thread would go on now.
    func isReady(_ actor: Actor) -> Bool {
        if fate.isDead || busy.contains(actor) || ended.contains(actor) { return false }
        let now = clock.now()
        let shared = spool.journal.shared
        switch actor {
        case .writer:
            if shared.queue.withLock(spool.journal.commits.work) != nil { return true }
            return spool.journal.commits.nextDeadline().map { $0 <= now } ?? false
        case .keeper:
            return keeperWakes <= now
                || shared.keeper.monitor.withLock { $0.poked || $0.spaceGone || $0.stopping }
        case .parker: return parkerWakes <= now
        case .saver: return saverWakes <= now || spool.requests.signal.monitor.withLock { $0.isDue || $0.stopping }
        case .lane(let lane):
            switch rests[lane] {
            case .none: return true
            case .untilWork:
                // (A deadline that is over asks, and does not wait.)
                if spool.waitForWork(lane: lane, until: MonotonicInstant(nanoseconds: 0)) { rests[lane] = .none }
                if case .none = rests[lane] { return true }
                return false
            case .pace, .pause: return laneWakes[lane] <= now
            case .ended: return false
            }
        }
    }

    /// - Parameters:
    ///   - actor: one that is ready.
    ///   - pause: how long a lane that failed waits, instead of what its back-off says by chance.
    func step(_ actor: Actor, pause: () -> Duration) {
        busy.insert(actor)
        defer { busy.remove(actor) }
        switch actor {
        case .writer:
            let work = spool.journal.shared.queue.withLock(spool.journal.commits.work)
            if !spool.journal.commits.turn(work) { ended.insert(actor) }
        case .keeper:
            let keeper = spool.journal.keeper
            if !keeper.goesOn(spool.journal.shared.keeper.monitor.withLock({ $0.take() })) || !keeper.round() {
                ended.insert(actor)
            }
            keeperWakes = clock.now() + spool.settings.journal.keeperInterval
        case .parker:
            spool.parker.round()
            parkerWakes = clock.now() + spool.settings.parkInterval
        case .saver:
            _ = spool.requests.signal.monitor.withLock { $0.take() }
            spool.saver.round()
            saverWakes = clock.now() + spool.settings.idempotency.saveInterval
        case .lane(let lane):
            let rest = forwarder.lanes[lane].step()
            rests[lane] = rest
            switch rest {
            case .none, .untilWork: break
            case .pace(let deadline): laneWakes[lane] = deadline
            case .pause: laneWakes[lane] = clock.now() + pause()
            case .ended: ended.insert(actor)
            }
        }
    }

    // MARK: - The end

    /// SIGKILL, the power, or its own exit.
    func die() {
        fate.isDead = true
        fate.isRunning = false
        sinks.die()
    }

    /// Ends in order. - Precondition: nobody is in the middle of a call.
    func stop() {
        precondition(busy.isEmpty)
        fate.isRunning = false
        forwarder.stop()
        for lane in forwarder.lanes { lane.end() }
        spool.journal.endIntake()
        while isReady(.writer) { step(.writer) { .zero } }
        spool.saver.end()
        spool.close()
        fate.isDead = true
    }

    // MARK: - What is seen

    /// Every lane has opened its sink: no decision of an operator is left open, which would be about the next copy too.
    var isForwarding: Bool { !fate.isDead && forwarder.status.allSatisfy { $0.state == .forwarding } }

    /// Path of the segment that takes frames.
    var activeSegment: String? { spool.journal.shared.index.withLock { $0.segments.last?.path } }

    /// Lanes that were parked, segments that went, and saves of what is remembered of requests, since the last call.
    func news() -> (parked: Int, released: Int, saves: Int) {
        let before = seen
        seen = (
            (0..<Self.lanes).filter { spool.parked(lane: $0) != nil },
            spool.journal.shared.index.withLock { $0.segments.first?.header.base },
            UInt64(spool.requests.index.withLock { $0.saving.mark.generation })
        )
        return (
            seen.parked.count { !before.parked.contains($0) }, seen.first == before.first ? 0 : 1,
            Int(seen.saves - before.saves)
        )
    }

    var isDrained: Bool {
        // (`lagRecords` keeps what was answered as stalled and then never written.)
        spool.journal.shared.queue.withLock { $0.waiting.isEmpty } && spool.journal.durable == spool.journal.written
            && spool.state.withLock { $0.cursors.lanes.allSatisfy { !$0.hasWork && !$0.isParked } }
    }

    /// Of a lane that reads what is not there, or not what was written.
    var corruption: String? {
        forwarder.status.first { $0.lastError == "spool_corruption" }?.lastErrorDetail
    }

    var status: [LaneStatus] { forwarder.status }
}
