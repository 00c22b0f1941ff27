public import Logging
public import Primitives
public import Records

/// The write-ahead log: append-only, checksummed frames in segments, one frame and one sync for each group of appends.
/// The format and the rules of recovery are in docs/JOURNAL.md.
///
/// Life: `open` locks the directory and recovers; `start` begins intake; `close` ends it in order. Two threads: the
/// writer (commits) and the keeper (spare segment, CHECKPOINT, deletion).
public final class Journal: Sendable {
    /// An opened journal before its threads run.
    public struct Opened {
        public let report: RecoveryReport
        public let spool: SpoolID
        public let lanes: Int
        /// Of this process: greater than every one before.
        public let epoch: UInt32
        /// The owner's bytes from the last CHECKPOINT; empty for a new journal.
        public let owner: [UInt8]
        /// No lane needed anything below.
        public let released: LSN
        /// End of what was recovered.
        public let end: LSN
        /// The LSNs that were recovered, every one a record: one range for each segment.
        public let recovered: [Range<LSN>]

        let parts: Parts

        /// Whether this journal ever ran under the epoch.
        public func isKnown(epoch: UInt32) -> Bool { parts.meta.meta.isKnown(epoch: epoch) }

        /// Somebody who is needed for a start found no space: gives up the reserve, which is made again later.
        public func freeReserve() throws(FileSystemError) {
            let path = parts.directory + "/" + Keeper.reserveName
            if try parts.fileSystem.exists(path) { try parts.fileSystem.open(path, .readWrite).truncate(0) }
        }

        /// Ranges whose loss an operator accepted.
        public var quarantined: [Range<LSN>] { parts.meta.meta.quarantined }

        struct Parts {
            var directory: String
            var settings: JournalSettings
            var fileSystem: any FileSystem
            var clock: any TimeSource
            var log: Logger
            var lock: any File
            var meta: MetaStore
            var adoption: AdoptionStore
            var checkpointFile: SlotFile
            var checkpoint: Checkpoint
            var segments: [SegmentInfo]
        }

        /// Starts the threads and opens intake; without disk space it starts with intake closed.
        public func start(timers: any Timers, hooks: JournalHooks) throws(JournalError) -> Journal {
            let journal = try prepare(timers: timers, hooks: hooks)
            journal.start()
            return journal
        }

        /// The same without threads: `Journal.start` is next.
        package func prepare(timers: any Timers, hooks: JournalHooks) throws(JournalError) -> Journal {
            try Journal(self, timers: timers, hooks: hooks)
        }
    }

    public let spool: SpoolID
    public let epoch: UInt32
    public let settings: JournalSettings
    let shared: JournalShared
    let commits: CommitLoop
    let keeper: Keeper
    private let directoryLock: any File
    private let adoption: AdoptionStore
    private let threads = Lock<[WorkerThread]>([])
    private let watchdog: Watchdog

    /// Locks the directory, recovers what an earlier process left and takes a new epoch. Blocks on the disk.
    ///
    /// - Parameters:
    ///   - lanes: fixed at creation; another number later is refused. nil: as it was created, which it must be.
    ///   - nonce: of this process, kept with its epochs; another one only in tests.
    public static func open(
        directory: String, settings: JournalSettings, lanes: Int?, fileSystem: any FileSystem = SystemFileSystem(),
        clock: any TimeSource = SystemClock(), nonce: UInt64 = .random(in: 1 ... .max),
        log: Logger = Logger(label: "postrider.journal")
    ) throws(JournalError) -> Opened {
        var report: RecoveryReport
        let lock: any File
        let created: Bool
        do throws(FileSystemError) {
            try fileSystem.createDurableDirectory(directory)
            lock = try fileSystem.open(directory + "/LOCK", .createOrOpen)
            guard try lock.tryLock() else { throw FileSystemError(call: "flock", path: directory, errno: 0) }
            created = if let lanes { try create(directory, lanes: lanes, on: fileSystem) } else { false }
        } catch {
            if error.call == "flock", error.errno == 0 { throw .inUse(directory: directory) }
            throw .io(error)
        }
        let (metaFile, metaBytes) = try SlotFile.open(Meta.kind, in: directory, on: fileSystem)
        let (checkpointFile, checkpointBytes) = try SlotFile.open(Checkpoint.kind, in: directory, on: fileSystem)
        let meta: Meta
        let checkpoint: Checkpoint
        do throws(MalformedBytes) {
            meta = try Meta(decoding: metaBytes)
            checkpoint = try Checkpoint(decoding: checkpointBytes)
        } catch {
            throw .unreadable(path: directory, reason: error.what)
        }
        if let lanes, meta.lanes != lanes { throw .laneCount(inJournal: meta.lanes, asked: lanes) }
        let (adoption, unreadable) = try AdoptionStore.open(in: directory, lanes: meta.lanes, on: fileSystem)
        if let unreadable { log.error("ADOPTION decides nothing", metadata: ["reason": "\(unreadable)"]) }

        var recovery = Recovery(
            directory: directory, fileSystem: fileSystem, meta: meta, checkpoint: checkpoint, settings: settings,
            log: log)
        try recovery.run()
        report = recovery.report
        report.created = created
        let store = MetaStore(file: metaFile, meta: meta, nonce: nonce)
        let epoch: UInt32
        do throws(FileSystemError) {
            // Segments and parked files go because of it, before it is written the next time.
            try checkpointFile.settle()
            epoch = try store.takeEpoch(
                above: recovery.epochsSeen, wallSeconds: UInt32(clamping: clock.wallMilliseconds() / 1000))
        } catch {
            throw .io(error)
        }
        return Opened(
            report: report, spool: meta.spool, lanes: meta.lanes, epoch: epoch, owner: checkpoint.owner,
            released: checkpoint.released, end: report.end,
            recovered: recovery.segments.filter { $0.base < $0.end }.map { $0.base..<$0.end },
            parts: Opened.Parts(
                directory: directory, settings: settings, fileSystem: fileSystem, clock: clock, log: log, lock: lock,
                meta: store, adoption: adoption, checkpointFile: checkpointFile, checkpoint: checkpoint,
                segments: recovery.segments))
    }

    /// Makes META and CHECKPOINT of a new journal. META comes last: it is what makes a directory a journal.
    private static func create(
        _ directory: String, lanes: Int, on fileSystem: any FileSystem
    ) throws(FileSystemError) -> Bool {
        if try fileSystem.exists(directory + "/" + Meta.kind.name) { return false }
        let segments = try fileSystem.list(directory).filter { $0.hasSuffix(".seg") }
        // Segments without META: not new, and not to be guessed at. Opening META says that it is missing.
        guard segments.isEmpty else { return false }
        _ = try SlotFile.create(Checkpoint.kind, in: directory, payload: Checkpoint().encoded(), on: fileSystem)
        let meta = Meta(spool: .random(), lanes: lanes)
        _ = try SlotFile.create(Meta.kind, in: directory, payload: meta.encoded(), on: fileSystem)
        return true
    }

    private init(_ opened: Opened, timers: any Timers, hooks: JournalHooks) throws(JournalError) {
        let parts = opened.parts
        spool = opened.spool
        epoch = opened.epoch
        settings = parts.settings
        directoryLock = parts.lock
        adoption = parts.adoption
        let index = JournalIndex(
            segments: parts.segments, tail: MemoryTail(bytesMax: parts.settings.tailBytesMax), durable: opened.end,
            written: opened.end)
        shared = JournalShared(
            directory: parts.directory, settings: parts.settings, fileSystem: parts.fileSystem, clock: parts.clock,
            log: parts.log, index: index, meta: parts.meta, hooks: hooks)
        shared.metrics.report(opened.report)
        var writer = SegmentWriter(
            directory: parts.directory, fileSystem: parts.fileSystem, settings: parts.settings, spool: opened.spool,
            next: LSN(epoch: opened.epoch, sequence: 0), recovered: opened.end, previous: parts.segments.last)
        do throws(FileSystemError) {
            try Self.startFirstSegment(&writer, opened, shared: shared)
        } catch {
            throw .io(error)
        }
        keeper = Keeper(shared: shared, checkpointFile: parts.checkpointFile, checkpoint: parts.checkpoint)
        commits = CommitLoop(shared: shared, writer: writer)
        watchdog = Watchdog(shared: shared, timers: timers)
        watchdog.start()
    }

    /// Starts the threads; once.
    package func start() {
        let (commits, keeper) = (commits, keeper)
        let started = [
            WorkerThread(name: "journal-writer") { commits.run() },
            WorkerThread(name: "journal-keeper") { keeper.run() },
        ]
        threads.withLock { $0 = started }
    }

    /// A recovered tail is never appended to: a new segment, in the new epoch. Without space intake stays closed until
    /// the keeper finds some.
    private static func startFirstSegment(
        _ writer: inout SegmentWriter, _ opened: Opened, shared: JournalShared
    ) throws(FileSystemError) {
        do throws(FileSystemError) {
            let info = try writer.start(spare: nil)
            let replaced = shared.index.withLock { index -> SegmentInfo? in
                // A last segment without records served as a proof until now.
                let replaced = index.segments.last.flatMap { $0.isEmpty ? index.segments.removeLast() : nil }
                index.segments.append(info)
                index.hasActive = true
                index.durable = writer.durable
                index.written = writer.durable
                return replaced
            }
            if let replaced { shared.removeEmptySegment(replaced.path) }
        } catch {
            guard error.isNoSpace, !error.isSync else { throw error }
            shared.log.error("no disk space, starting with intake closed", metadata: ["error": "\(error)"])
            // Before anybody else opens a file on this disk.
            try opened.freeReserve()
            shared.queue.withLock { $0.phase = .noSpace }
        }
    }

    /// Queues records for the next group. Never blocks; any thread.
    ///
    /// - Parameters:
    ///   - tag: given to `JournalHooks.published`, combined by OR over a frame.
    ///   - fate: called once as soon as it is certain whether the records are stored, with nil when they are not and
    ///     never will be: before `published` and `completion`, or later when that said that the outcome is unknown. Not
    ///     at all when the process has to end before that; then recovery decides. On the same threads, under the same
    ///     rules.
    ///   - completion: called once, on the journal's thread or, for a refusal, on the caller's.
    public func append(
        _ records: JournalRecords, tag: UInt64, fate: (@Sendable (Appended?) -> Void)? = nil,
        completion: @escaping @Sendable (Result<Appended, AppendFailure>) -> Void
    ) {
        precondition(records.count > 0)
        let (refusal, wake) = shared.queue.withLock { queue -> (AppendFailure?, Bool) in
            if let refusal = queue.refusal(bytes: records.bytes, settings: settings) { return (refusal, false) }
            queue.waiting.append(
                Append(body: records.writer.bytes, count: records.count, tag: tag, fate: fate, completion: completion))
            queue.waitingBytes += records.bytes
            // While the writer is busy it looks at the queue again by itself; while it waits for company
            // (`commitDelay`) only a full group ends that.
            let full = queue.waitingBytes >= settings.groupBytesMax
            return (nil, queue.busySince == nil && (queue.waiting.count == 1 || full))
        }
        if let refusal {
            shared.metrics.countRefusal(refusal)
            fate?(nil)
            completion(.failure(refusal))
        } else if wake {
            shared.queue.signal()
        }
    }

    /// End of what is synced. Any thread.
    public var durable: LSN { shared.index.withLock { $0.durable } }

    /// End of what is written: past `durable` only under the policy `interval`. Any thread.
    public var written: LSN { shared.index.withLock { max($0.written, $0.durable) } }

    /// Bytes of frames on disk. Any thread.
    public var usedBytes: Int64 { shared.index.withLock { $0.usedBytes } }

    /// Why intake is closed, in a word for status pages; nil while it is open. Any thread.
    public var intakeClosed: String? {
        switch shared.queue.withLock({ $0.phase }) {
        case .running: nil
        case .noSpace: "no_space"
        case .stalled: "sync_stalled"
        case .failed: "failed"
        case .closing: "closing"
        }
    }

    /// The keeper is in a call to the disk for longer than `syncTimeout`. Any thread.
    public var isHousekeepingStalled: Bool { shared.housekeeping.withLock { $0.isStalled } }

    /// Somebody who may use the reserve found no space: sets it free. It is made again when the next segment is. Any
    /// thread.
    public func emptyReserve() { shared.keeper.spaceIsGone() }

    /// Drawn by this process, and kept with its epochs.
    public var nonce: UInt64 { shared.meta.nonce }

    /// Whether a process of this very journal took the epoch: a checkpoint of another one comes from a twin, or from a
    /// process whose directory is not this one any more.
    public func isKnown(epoch: UInt32, nonce: UInt64) -> Bool {
        shared.meta.meta.epochs.contains(Meta.Epoch(number: epoch, nonce: nonce))
    }

    /// Whether LSNs of the epoch were ever given.
    public func isKnown(epoch: UInt32) -> Bool { shared.meta.meta.isKnown(epoch: epoch) }

    /// Whether an operator accepted the loss of all of the range: who cannot read something in it goes on behind it.
    public func isQuarantined(_ range: Range<LSN>) -> Bool { shared.meta.isQuarantined(range) }

    /// What an operator decided about this checkpoint of the lane, whose epoch is unknown: from now on about no other.
    /// Blocks on the disk; any thread. - Returns: nil when nobody decided anything about it.
    public func adopt(lane: Int, _ checkpoint: Adoption.Checkpoint) throws(FileSystemError) -> Adoption? {
        try adoption.adopt(lane: lane, checkpoint)
    }

    /// The history of the lane is known: nothing is left to be decided about it. Blocks on the disk; any thread.
    public func closeAdoption(lane: Int) throws(FileSystemError) { try adoption.close(lane: lane) }

    /// A reader of its own, beginning at `lsn`. Any thread.
    public func reader(from lsn: LSN) -> JournalReader { JournalReader(shared: shared, from: lsn) }

    /// Refuses new appends, commits and proves what is queued, writes the last CHECKPOINT, joins the threads and
    /// releases the directory. Blocks; call once.
    public func close() {
        endIntake()
        for thread in threads.withLock({ $0 }) { thread.join() }
        if shared.queue.withLock({ $0.phase }) == .closing {
            do throws(FileSystemError) {
                try keeper.finish()
            } catch {
                shared.fail(.io(error))
            }
        }
        directoryLock.close()
    }

    /// Tells the threads to end.
    func endIntake() {
        shared.queue.withLock { queue in
            if queue.phase != .failed { queue.phase = .closing }
        }
        shared.queue.broadcast()
        shared.keeper.stop()
        watchdog.stop()
    }
}

/// Looks now and then whether a sync hangs.
final class Watchdog: Sendable {
    private let shared: JournalShared
    private let timers: any Timers
    private let token = Lock<TimerToken?>(nil)
    private let stopped = Lock(false)

    init(shared: JournalShared, timers: any Timers) {
        self.shared = shared
        self.timers = timers
    }

    func start() {
        let quarter = Duration.nanoseconds(shared.settings.syncTimeout.wholeNanoseconds / 4)
        let period = min(.seconds(1), max(.milliseconds(5), quarter))
        let next = timers.schedule(at: shared.clock.now() + period) { [weak self] in
            guard let self, !self.stopped.withLock({ $0 }) else { return }
            self.shared.answerStalled()
            self.shared.noticeStalledHousekeeping()
            self.start()
        }
        token.withLock { $0 = next }
    }

    func stop() {
        stopped.withLock { $0 = true }
        if let last = token.withLock({ $0 }) { timers.cancel(last) }
    }
}
