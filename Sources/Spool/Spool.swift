import CoreMetrics
public import Journal
public import Logging
public import Primitives
public import Records

/// The write-ahead spool: the journal, the lanes' cursors in it, its quota, and what became of records.
///
/// Life: `open` recovers and begins intake; `close` ends it. Any thread may call any method; only those that say so
/// block.
public final class Spool: Sendable {
    public let id: SpoolID
    /// Leads every receipt.
    public let shortID: String
    public let epoch: UInt32
    public let settings: SpoolSettings
    public let recovery: RecoveryReport
    /// The records that an earlier process left, by segment.
    let recovered: [Range<LSN>]
    let journal: Journal
    let clock: any TimeSource
    let state: Lock<SpoolState>
    /// Apart from `state`, which every request and every commit needs.
    let outcomes: Lock<OutcomeState>
    let kept = Lock(KeptOutcomes.none)
    /// Apart from both, which requests without a key or a sequence do not need.
    let requests: Requests
    /// Wakes the lanes' threads.
    private let wakeups: [LaneWakeup]
    let backlogs: [LaneBacklog]
    let parkedFiles: ParkedFiles
    let parker: Parker
    private let parkerThread = Lock<WorkerThread?>(nil)
    let saver: RequestSaver
    private let saverThread = Lock<WorkerThread?>(nil)
    private let accepted = AcceptedMetrics()
    private let quotaRefusals = Counter(label: "postrider_spool_quota_refusals_total")
    private let backlogRefusals = Counter(label: "postrider_spool_topic_backlog_refusals_total")
    private let damageRefusals = Counter(label: "postrider_spool_damaged_lane_refusals_total")
    private let waitRefusals = Counter(label: "postrider_spool_outcome_waits_refused_total")

    struct OutcomeState {
        var recent: RecentOutcomes
        var waits: OutcomeWaits
    }

    /// Blocks on the disk while it recovers.
    ///
    /// - Parameters:
    ///   - nonce: of this process; another one only in tests.
    ///   - failed: a write or sync failed; the process is to exit. Called on a thread of the journal.
    public static func open(
        directory: String, settings: SpoolSettings, fileSystem: any FileSystem = SystemFileSystem(),
        clock: any TimeSource = SystemClock(), timers: any Timers, nonce: UInt64 = .random(in: 1 ... .max),
        log: Logger = Logger(label: "postrider.journal"), failed: @escaping @Sendable (JournalError) -> Void
    ) throws(JournalError) -> Spool {
        try open(
            directory: directory, settings: settings, fileSystem: fileSystem, clock: clock, timers: timers,
            nonce: nonce, log: log, requestStore: RequestFile(directory: directory, fileSystem: fileSystem),
            requestClock: clock, failed: failed)
    }

    /// As above, with another store of requests, and another clock for them: for tests.
    static func open(
        directory: String, settings: SpoolSettings, fileSystem: any FileSystem, clock: any TimeSource,
        timers: any Timers, nonce: UInt64 = .random(in: 1 ... .max), log: Logger, requestStore: any RequestStore,
        requestClock: any TimeSource,
        failed: @escaping @Sendable (JournalError) -> Void
    ) throws(JournalError) -> Spool {
        let spool = try prepare(
            directory: directory, settings: settings, fileSystem: fileSystem, clock: clock, timers: timers,
            nonce: nonce, log: log, requestStore: requestStore, requestClock: requestClock, failed: failed)
        spool.start()
        return spool
    }

    /// The same without threads: `start` is next.
    static func prepare(
        directory: String, settings: SpoolSettings, fileSystem: any FileSystem, clock: any TimeSource,
        timers: any Timers, nonce: UInt64, log: Logger, requestStore: any RequestStore, requestClock: any TimeSource,
        failed: @escaping @Sendable (JournalError) -> Void
    ) throws(JournalError) -> Spool {
        let opened = try Journal.open(
            directory: directory, settings: settings.journal, lanes: settings.lanes, fileSystem: fileSystem,
            clock: clock, nonce: nonce, log: log)
        let files = ParkedFiles(parent: directory, spool: opened.spool, fileSystem: fileSystem, log: log)
        return try Spool(
            opened, files: files, settings: settings, clock: clock, timers: timers, requestStore: requestStore,
            requestClock: requestClock, failed: failed)
    }

    private init(
        _ opened: Journal.Opened, files: ParkedFiles, settings: SpoolSettings, clock: any TimeSource,
        timers: any Timers, requestStore: any RequestStore, requestClock: any TimeSource,
        failed: @escaping @Sendable (JournalError) -> Void
    ) throws(JournalError) {
        let checkpoint: SpoolCheckpoint
        do throws(MalformedBytes) {
            checkpoint = try SpoolCheckpoint(decoding: opened.owner, lanes: opened.lanes)
        } catch {
            throw .unreadable(path: files.parent + "/CHECKPOINT", reason: error.what)
        }
        var cursors = checkpoint.cursors
        let parked: ParkedLanes
        do throws(FileSystemError) {
            parked = try files.recover(cursors)
        } catch {
            throw .io(error)
        }
        // What was recovered may be anybody's: every lane looks through it once.
        for lane in cursors.lanes.indices { cursors.lanes[lane].wanted = opened.end }
        id = opened.spool
        shortID = opened.spool.short
        epoch = opened.epoch
        self.settings = settings
        self.clock = clock
        recovery = opened.report
        recovered = opened.recovered
        let state = Lock(SpoolState(cursors: cursors, parked: parked, durable: opened.end))
        outcomes = Lock(
            OutcomeState(
                recent: RecentOutcomes(capacity: settings.outcomesInMemory),
                waits: OutcomeWaits(countMax: settings.outcomeWaitsMax, delivered: cursors.lanes.map(\.delivered))))
        let requests = try Requests.recover(
            opened, mark: checkpoint.requests, store: requestStore, settings: settings.idempotency,
            clock: requestClock, log: files.log)
        self.requests = requests
        let wakeups = (0..<opened.lanes).map { _ in LaneWakeup() }
        self.state = state
        self.wakeups = wakeups
        let backlogs = cursors.lanes.indices.map { lane in
            LaneBacklog(lane: lane, scanned: cursors.lanes[lane].undelivered, recovered: opened.end, clock: clock)
        }
        self.backlogs = backlogs
        let hooks = JournalHooks(
            published: { lsns, tag, usedBytes in
                for lane in wakeups.indices where tag & 1 << UInt64(lane) != 0 {
                    backlogs[lane].accepted(from: lsns.lowerBound)
                }
                state.withLock { state in
                    state.durable = lsns.upperBound
                    state.usedBytes = usedBytes
                    for lane in wakeups.indices where tag & 1 << UInt64(lane) != 0 {
                        state.cursors.lanes[lane].found(in: lsns)
                    }
                }
                requests.signal.published(usedBytes: usedBytes)
                for lane in wakeups.indices where tag & 1 << UInt64(lane) != 0 {
                    wakeups[lane].hasWork()
                    backlogs[lane].report()
                }
            },
            checkpoint: { usedBytes in
                let mark = requests.mark(state)
                return state.withLock { state in
                    state.usedBytes = usedBytes
                    state.parked.checkpointMade()
                    let released = min(state.cursors.released(durable: state.durable), mark.covered)
                    let checkpoint = SpoolCheckpoint(cursors: state.cursors, requests: mark)
                    return (released, checkpoint.encoded(durable: state.durable))
                }
            },
            checkpointed: { state.withLock { $0.parked.checkpointSynced() } },
            failed: failed)
        journal = try opened.prepare(timers: timers, hooks: hooks)
        // Until the next commit or checkpoint tells: a start over the quota accepts nothing.
        let used = journal.usedBytes
        state.withLock { $0.usedBytes = max($0.usedBytes, used) }
        for backlog in backlogs { backlog.report() }
        parkedFiles = files
        parker = Parker(state: state, journal: journal, files: files, settings: settings, clock: clock)
        saver = RequestSaver(
            requests, store: requestStore, spool: opened.spool, state: state, settings: settings.idempotency,
            clock: clock, log: files.log)
    }

    /// Starts the threads; once.
    private func start() {
        journal.start()
        let (parker, saver) = (parker, saver)
        let parkerThread = WorkerThread(name: "spool-parker") { parker.run() }
        let saverThread = WorkerThread(name: "spool-requests") { saver.run() }
        self.parkerThread.withLock { $0 = parkerThread }
        self.saverThread.withLock { $0 = saverThread }
    }

    /// Ends intake in order and releases the directory. Blocks; the lanes must have stopped.
    public func close() {
        parker.stop()
        parkerThread.withLock { $0 }?.join()
        // Before the last CHECKPOINT. What is accepted meanwhile the next start reads from the journal.
        requests.signal.stop()
        saverThread.withLock { $0 }?.join()
        journal.close()
        for wakeup in wakeups { wakeup.end() }
    }

    // MARK: - Intake

    /// Says whether a request that can be told from others is a new one, before anything else is asked about it: what
    /// was accepted is answered also when its topic is gone or the spool is full. Never blocks.
    public func admit(_ identity: RequestIdentity) -> Admission {
        requests.admit(identity) { end in settings.syncsFirst || end <= durable }
    }

    /// What is remembered of requests that can be told from others.
    public var idempotency: IdempotencyStatus { requests.status }

    /// Accepts all of the records or none. Never blocks.
    ///
    /// - Parameters:
    ///   - records: 1 or more.
    ///   - claim: of `admit`, for one call: the request's repetitions are known from before the completion on. When the
    ///     records are not stored the claim is given up; where the outcome is unknown, as soon as it is known.
    ///   - completion: once, on the journal's thread, or on the caller's for a refusal.
    public func submit(
        _ records: [SpoolRecord], claim: RequestClaim? = nil,
        completion: @escaping @Sendable (Result<Acceptance, SpoolRefusal>) -> Void
    ) {
        var lanes: UInt64 = 0
        // Nearly every request is for one topic.
        var last: (topic: TopicName, lane: UInt8)?
        for record in records where record.topic != last?.topic {
            let lane = Records.lane(of: record.topic, lanes: settings.lanes)
            last = (record.topic, lane)
            lanes |= 1 << UInt64(lane)
        }
        if let refusal = refusal(of: records, lanes: lanes) {
            claim?.abandon()
            return completion(.failure(refusal))
        }
        let handed = claim?.handOver(records: records.count)
        var stamp = handed?.stamp
        var body = JournalRecords(
            capacity: records.reduce(stamp == nil ? 0 : RequestStamp.bytes) {
                $0 + SpoolRecordCodec.encodedBytes($1) + JournalRecords.overheadBytes
            })
        var counts = TopicCounts()
        for record in records {
            if record.topic != last?.topic {
                last = (record.topic, Records.lane(of: record.topic, lanes: settings.lanes))
            }
            counts.add(record.topic, bytes: record.record.bytes)
            body.append { SpoolRecordCodec.encode(record, lane: last?.lane ?? 0, stamp: stamp, to: &$0) }
            // With the first record only.
            stamp = nil
        }
        let count = records.count
        // Before the journal has them: a lane may deliver them before the completion runs.
        counts.forEach { backlog(of: $0).add($0, $1.records) }
        let fate = handed.map { handed in { @Sendable in handed.settle($0) } }
        journal.append(body, tag: lanes, fate: fate) { [counts, self] result in
            switch result {
            case .success(let appended):
                accepted.count(counts)
                completion(.success(Acceptance(first: appended.first, count: count, synced: appended.synced)))
            case .failure(let failure):
                // What hangs stays counted: a sync that returns late publishes it.
                if failure != .stalled(wasWritten: true) {
                    counts.forEach { topic, sum in
                        let backlog = backlog(of: topic)
                        backlog.remove(topic, sum.records)
                        backlog.report()
                    }
                }
                completion(.failure(SpoolRefusal(failure)))
            }
        }
    }

    /// - Parameter lanes: of the records, a bit for each.
    private func refusal(of records: [SpoolRecord], lanes: UInt64) -> SpoolRefusal? {
        switch state.withLock({ $0.refusal(lanes: lanes, bytesMax: settings.bytesMax) }) {
        case nil: return nil
        case .closed(let code): return .closed(code: code)
        case .quota:
            quotaRefusals.increment()
            Limit.spoolBytes.reached()
            return .quota(bytesMax: settings.bytesMax)
        case .backlog(let lane):
            backlogRefusals.increment()
            Limit.topicBacklog.reached()
            return .topicBacklog(topic: topic(of: lane, in: records), lane: lane)
        case .damaged(let lane):
            damageRefusals.increment()
            return .laneDamaged(topic: topic(of: lane, in: records), lane: lane)
        }
    }

    private func topic(of lane: Int, in records: [SpoolRecord]) -> TopicName {
        (records.first { self.lane(of: $0.topic) == lane } ?? records[0]).topic
    }

    private func backlog(of topic: TopicName) -> LaneBacklog {
        backlogs[Int(Records.lane(of: topic, lanes: settings.lanes))]
    }

    /// Closes intake for a reason outside the disk, or opens it again with nil.
    public func closeIntake(_ code: String?) { state.withLock { $0.closedCode = code } }

    /// The lane met records that it cannot read, and stands: its topics are refused until a start after a repair.
    public func closeLane(_ lane: Int) { state.withLock { $0.damaged |= 1 << UInt64(lane) } }

    /// What is wrong although records are accepted. Any thread.
    public var warnings: [SpoolWarning] {
        let damaged = state.withLock { $0.damaged }
        let lanes = (0..<settings.lanes).filter { damaged & 1 << UInt64($0) != 0 }
        return lanes.map { .laneDamaged(lane: $0) } + (journal.isHousekeepingStalled ? [.housekeepingStalled] : [])
    }

    /// Why nothing is accepted now, as a stable code; nil when records are accepted.
    public var intakeClosed: String? {
        if let code = journal.intakeClosed { return code }
        return state.withLock { $0.closedCode ?? ($0.usedBytes >= settings.bytesMax ? "quota" : nil) }
    }

    /// End of what an earlier process left.
    public var recoveredEnd: LSN { recovery.end }

    /// Bytes of frames on disk.
    public var usedBytes: Int64 { state.withLock { $0.usedBytes } }

    /// Tells checkpoints of this process from those of a twin that took the same epoch.
    public var nonce: UInt64 { journal.nonce }

    /// Whether a process of this very spool took the epoch.
    public func isKnown(epoch: UInt32, nonce: UInt64) -> Bool { journal.isKnown(epoch: epoch, nonce: nonce) }

    /// Where a lane goes on whose checkpoint at the broker is of an unknown epoch, as an operator decided (`Adoption`).
    /// Blocks on the disk; for the lane's thread.
    ///
    /// - Returns: its last LSN that counts as delivered; nil when nobody decided anything about this checkpoint.
    public func adopted(
        lane: Int, checkpoint lsn: LSN, epoch: UInt32, nonce: UInt64
    ) throws(FileSystemError) -> LSN? {
        let checkpoint = Adoption.Checkpoint(lsn: lsn, epoch: epoch, nonce: nonce)
        guard let adoption = try journal.adopt(lane: lane, checkpoint) else { return nil }
        let delivered = delivered(lane: lane)
        switch adoption.decision {
        case .resend: return delivered
        case .assumeDelivered: return max(delivered, LSN(rawValue: max(1, adoption.end.rawValue) - 1))
        }
    }

    /// The broker's checkpoint of the lane is of a known epoch: nothing is to be decided. Blocks on the disk.
    public func closeAdoption(lane: Int) throws(FileSystemError) { try journal.closeAdoption(lane: lane) }

    /// Everything below it is synced.
    public var durable: LSN { state.withLock { $0.durable } }

    // MARK: - Lanes

    /// The last LSN of the lane that this spool knows to be at the broker.
    public func delivered(lane: Int) -> LSN { state.withLock { $0.cursors.lanes[lane].delivered } }

    /// Reads a lane's undelivered records; for the lane's thread.
    public func laneReader(_ lane: Int) -> LaneReader {
        LaneReader(
            lane: lane, journal: journal, state: state, backlog: backlogs[lane], fileSystem: parkedFiles.fileSystem)
    }

    /// Sleeps until there may be something for the lane, the deadline passes, or `wake(lane:)`.
    ///
    /// - Returns: false when the deadline passed first.
    @discardableResult
    public func waitForWork(lane: Int, until deadline: MonotonicInstant?) -> Bool {
        wakeups[lane].wait(until: deadline)
    }

    /// Sleeps until the deadline, `wake(lane:)`, or somebody waits for the outcome of a record of the lane.
    public func pace(lane: Int, until deadline: MonotonicInstant) {
        guard SystemClock().now() < deadline, !outcomes.withLock({ $0.waits.isAwaited(lane: lane) }) else { return }
        wakeups[lane].pace(until: deadline)
    }

    /// Ends a `waitForWork` and a `pace`.
    public func wake(lane: Int) { wakeups[lane].end() }

    /// Records how far a lane got. Only ever forward.
    ///
    /// - Parameters:
    ///   - delivered: the lane's last LSN committed at the broker.
    ///   - scanned: nothing of the lane below is undelivered.
    ///   - settled: records that `scanned` passes for the first time, delivered or dead.
    ///   - deliveries: of the hand-over that was just committed.
    ///   - dead: of the records that `delivered` passes, those that are dead for good.
    public func advance(
        lane: Int, delivered: LSN, scanned: LSN, settled: TopicCounts = TopicCounts(), deliveries: [Delivery] = [],
        dead: [LSN] = []
    ) {
        // First: a receipt must not find its record neither waiting nor delivered.
        let calls = outcomes.withLock { outcomes in
            outcomes.recent.add(deliveries)
            return dead.flatMap { outcomes.waits.died($0, lane: lane) } + outcomes.waits.passed(delivered, lane: lane)
        }
        state.withLock { $0.advance(lane: lane, delivered: delivered, undelivered: scanned) }
        if !settled.isEmpty {
            backlogs[lane].remove(settled, scanned: scanned)
            backlogs[lane].report()
        }
        for call in calls { call.told(call.news) }
    }

    /// What of a lane is parked; nil while it is not.
    public func parked(lane: Int) -> ParkedRecords? {
        state.withLock { state in
            guard state.parked.isRefused(lane), let files = state.parked.lanes[lane] else { return nil }
            return ParkedRecords(records: files.records, bytes: files.bytes)
        }
    }

    /// Bytes of parked files, over all lanes.
    public var parkedBytes: Int64 { state.withLock { $0.parked.bytes } }

    /// Accepted records of the lane that are neither delivered nor dead: `postrider_lane_lag_records`. Those on their
    /// way into the journal count; of recovered ones, those that the lane has found, and at least 1 until it has read
    /// through all of them.
    public func lagRecords(lane: Int) -> Int { backlogs[lane].records }

    /// How long the oldest of them has been waiting; zero without any. Any thread.
    public func lagAge(lane: Int) -> Duration { backlogs[lane].age }

    /// As `lagRecords(lane:)`, of one topic; at least 1 until its lane has read through what was recovered. Never
    /// blocks.
    public func lagRecords(topic: TopicName) -> Int { backlog(of: topic).records(of: topic) }

    // MARK: - Waiting for outcomes

    /// The lane of a topic's records.
    public func lane(of topic: TopicName) -> Int { Int(Records.lane(of: topic, lanes: settings.lanes)) }

    /// Tells when the records are settled, at once if they are already. Never blocks. The lanes concerned do not pause
    /// between hand-overs while somebody waits.
    ///
    /// - Parameters:
    ///   - records: at most one of each lane, of records that were accepted.
    ///   - told: on a lane's thread, or on the caller's; must not block.
    /// - Returns: nil when so many wait already that this one may not (`outcomeWaitsMax`); nothing is told then.
    public func whenSettled(
        _ records: [AwaitedRecords], _ told: @escaping @Sendable (OutcomeNews) -> Void
    ) -> OutcomeWait? {
        switch outcomes.withLock({ $0.waits.add(records, told) }) {
        case .refused:
            waitRefusals.increment()
            Limit.outcomeWaits.reached()
            return nil
        case .settled:
            told(.settled)
            return OutcomeWait(id: 0) { _ in }
        case .waits(let id):
            for one in records { wakeups[one.lane].hurry() }
            return OutcomeWait(id: id) { [self] id in outcomes.withLock { $0.waits.remove(id) } }
        }
    }

    /// How many wait now.
    public var outcomeWaits: Int { outcomes.withLock { $0.waits.count } }

    /// Where records are, from memory; nil for those that are not delivered, or not remembered.
    ///
    /// - Parameter lsns: sorted.
    public func deliveries(of lsns: [LSN]) -> [Delivery?] { outcomes.withLock { $0.recent.deliveries(of: lsns) } }
}
