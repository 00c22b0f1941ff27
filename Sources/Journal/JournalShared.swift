import CoreMetrics
import Logging
import Primitives
public import Records

/// How a journal speaks to its owner. Called on the journal's threads; must be short and must not block.
public struct JournalHooks: Sendable {
    /// These LSNs, following on those of the last call, are synced and readable; the tags of their appends, combined.
    /// `usedBytes`: of frames on disk.
    public var published: @Sendable (_ lsns: Range<LSN>, _ tag: UInt64, _ usedBytes: Int64) -> Void
    /// What to keep in CHECKPOINT: no lane needs anything below `released`; `owner` is the spool's own.
    public var checkpoint: @Sendable (_ usedBytes: Int64) -> (released: LSN, owner: [UInt8])
    /// What the last call of `checkpoint` answered is synced.
    public var checkpointed: @Sendable () -> Void
    /// A write or sync failed: every waiting append has been answered, nothing is accepted any more; exit.
    public var failed: @Sendable (JournalError) -> Void

    public init(
        published: @escaping @Sendable (Range<LSN>, UInt64, Int64) -> Void,
        checkpoint: @escaping @Sendable (Int64) -> (released: LSN, owner: [UInt8]),
        checkpointed: @escaping @Sendable () -> Void = {},
        failed: @escaping @Sendable (JournalError) -> Void
    ) {
        self.published = published
        self.checkpoint = checkpoint
        self.checkpointed = checkpointed
        self.failed = failed
    }
}

/// What the writer, the keeper and the readers of one journal have in common.
final class JournalShared: Sendable {
    let directory: String
    let settings: JournalSettings
    let fileSystem: any FileSystem
    let clock: any TimeSource
    let log: Logger
    let metrics = JournalMetrics()
    let queue = Monitor(AppendQueue())
    let index: Lock<JournalIndex>
    let meta: MetaStore
    let keeper = KeeperSignal()
    let housekeeping = Lock(Housekeeping())
    let hooks: JournalHooks

    init(
        directory: String, settings: JournalSettings, fileSystem: any FileSystem, clock: any TimeSource, log: Logger,
        index: JournalIndex, meta: MetaStore, hooks: JournalHooks
    ) {
        self.directory = directory
        self.settings = settings
        self.fileSystem = fileSystem
        self.clock = clock
        self.log = log
        self.index = Lock(index)
        self.meta = meta
        self.hooks = hooks
    }

    /// Ends the journal after a failed write or sync. Only the first failure counts.
    func fail(_ error: JournalError) {
        let (first, written, waiting) = queue.withLock { queue in
            defer {
                queue.phase = .failed
                queue.inFlight = []
                queue.busySince = nil
            }
            return (queue.phase != .failed, queue.inFlight, queue.takeAll())
        }
        queue.broadcast()
        guard first else { return }
        log.critical("journal failed", metadata: ["error": "\(error)"])
        answer(written, .failed(wasWritten: true))
        refuse(waiting, .failed(wasWritten: false))
        hooks.failed(error)
    }

    /// A segment that never got a frame, and that a new one follows. One that cannot be removed takes space and harms
    /// nothing: the next start reads it, and it goes as every segment.
    func removeEmptySegment(_ path: String) {
        do throws(FileSystemError) {
            try fileSystem.remove(path)
        } catch {
            metrics.unlinkFailures.increment()
            log.error("a segment without records cannot be removed", metadata: ["error": "\(error)"])
        }
    }

    /// A step of the keeper begins.
    func housekeepingBegins(_ step: String) {
        housekeeping.withLock { $0.begins(step, at: clock.now()) }
    }

    /// The keeper's step ended.
    func housekeepingEnds() {
        guard housekeeping.withLock({ $0.ends() }) else { return }
        metrics.housekeepingStalled.record(0)
        log.notice("the journal's housekeeping goes on")
    }

    /// Tells when a step of the keeper takes too long. Intake stays open: it needs neither CHECKPOINT nor deletions
    /// until the quota. Called by the watchdog's timer.
    func noticeStalledHousekeeping() {
        guard let step = housekeeping.withLock({ $0.stalls(at: clock.now(), limit: settings.syncTimeout) }) else {
            return
        }
        metrics.housekeepingStalled.record(1)
        log.error(
            "the journal's housekeeping hangs in the disk, nothing is deleted until it returns",
            metadata: ["step": "\(step)"])
    }

    /// Answers what waits on a sync that takes too long. Called by the watchdog's timer.
    func answerStalled() {
        let stalled = queue.withLock { queue -> (written: [Append], waiting: [Append])? in
            guard let since = queue.busySince, clock.now() - since > settings.syncTimeout, queue.phase == .running
            else { return nil }
            queue.phase = .stalled
            defer { queue.inFlight = [] }
            return (queue.inFlight, queue.takeAll())
        }
        guard let (written, waiting) = stalled else { return }
        log.error("a sync hangs, intake is closed until it returns", metadata: ["waiting": "\(written.count)"])
        answer(written, .stalled(wasWritten: true))
        refuse(waiting, .stalled(wasWritten: false))
    }

    /// Of appends that were never written.
    func refuse(_ appends: [Append], _ failure: AppendFailure) {
        for append in appends { append.fate?(nil) }
        answer(appends, failure)
    }

    /// Of appends whose fate is told by the writer, if anybody can.
    func answer(_ appends: [Append], _ failure: AppendFailure) {
        for append in appends {
            metrics.countRefusal(failure)
            append.completion(.failure(failure))
        }
    }
}
