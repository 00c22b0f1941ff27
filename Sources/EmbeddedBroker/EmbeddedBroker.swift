public import Broker
public import CoreMetrics
public import Logging
public import Outcomes
public import Primitives
public import Records
import Store

/// A durable queue on the local disk behind the broker's protocols: topics, records, committed offsets and the
/// checkpoints of lanes in one SQLite file, `broker.sqlite`.
///
/// One writer thread takes everything that is queued (hand-overs, commits of offsets, changes of topics, retention),
/// runs it as one transaction with a savepoint for each, syncs once and answers; one reader thread answers fetches.
/// Space of removed records is used again; the file does not shrink.
///
/// Life: `init` opens and recovers, `close` ends both threads; call it, after the lanes stopped. Any thread may call
/// anything but the broker's own: those run completions and delegates, which therefore must not block, must not call
/// the calls that block (`openSink`, `deliver`, `definitions`) and must not call `close`.
public final class EmbeddedBroker: Sendable {
    public static let fileName = "broker.sqlite"
    /// Held by the process that has the broker open.
    public static let lockName = "broker.lock"

    let writes: JobQueue<Writer>
    let reads: JobQueue<Reader>
    let published: PublishedTopics
    let subscriptions: Subscriptions
    let watches: PartitionWatches
    let settings: EmbeddedBrokerSettings
    /// Where records of hand-overs are, for receipts.
    public let outcomes: OutcomeReader
    private let lockFile: any File
    private let threads: [WorkerThread]
    private let timers: any Timers
    private let clock: any TimeSource
    private let retentionTimer = Lock<RetentionTimer>(.idle)
    /// A turn of retention is under way: its next slice is queued, or its last one is not answered yet.
    private let retaining = Lock(false)

    private enum RetentionTimer {
        case idle
        case scheduled(TimerToken)
        case stopped
    }

    /// Opens the broker in `directory`, creating both; its parent must exist. Blocks on the disk.
    ///
    /// - Parameter failed: a sync failed: every write is refused from now on, and the process must end, as the next
    ///   start alone finds out what the file holds. Called once, on the writer's thread.
    /// - Throws: `broker_owned_elsewhere` when another process has it open, else what the disk says.
    public init(
        directory: String, settings: EmbeddedBrokerSettings = EmbeddedBrokerSettings(), clock: any TimeSource,
        timers: any Timers, fileSystem: any FileSystem = SystemFileSystem(),
        log: Logger = Logger(label: "postrider.broker"), metrics: any MetricsFactory = MetricsSystem.factory,
        failed: @escaping @Sendable (BrokerError) -> Void = { _ in }
    ) throws(BrokerError) {
        let path = "\(directory)/\(Self.fileName)"
        lockFile = try Self.lock(directory, fileSystem)
        let writer: Writer
        let reader: Reader
        do throws(StoreError) {
            writer = try Writer(
                path: path, settings: settings, clock: clock, fileSystem: fileSystem, log: log, metrics: metrics)
            reader = try Reader(path: path, settings: settings)
            outcomes = try OutcomeReader(path: path, schema: BrokerSchema.schema)
        } catch {
            lockFile.close()
            throw BrokerError(error)
        }
        writes = JobQueue(jobsMax: settings.jobsQueuedMax)
        reads = JobQueue(jobsMax: settings.readsQueuedMax)
        published = PublishedTopics(writer.ledger, settings: settings)
        subscriptions = Subscriptions(limit: settings.subscriptionsMax)
        watches = PartitionWatches(limit: settings.watchesMax, metrics: metrics)
        self.settings = settings
        self.clock = clock
        self.timers = timers
        let loop = WriterLoop(
            queue: writes, published: published, subscriptions: subscriptions, watches: watches, failed: failed)
        let (handedWriter, handedReader, reads) = (Handed(writer), Handed(reader), reads)
        threads = [
            WorkerThread(name: "broker-write") { loop.run(handedWriter.take()) },
            WorkerThread(name: "broker-read") { handedReader.take().run(reads) },
        ]
        scheduleRetention()
    }

    private static func lock(_ directory: String, _ fileSystem: any FileSystem) throws(BrokerError) -> any File {
        do throws(FileSystemError) {
            try fileSystem.createDirectory(directory)
            let file = try fileSystem.open("\(directory)/\(lockName)", .createOrOpen)
            if try file.tryLock() { return file }
            file.close()
        } catch {
            throw BrokerError(
                error.isNoSpace ? .retriable : .processFatal,
                code: error.isNoSpace ? "broker_full" : "broker_io_failed",
                detail: error.description)
        }
        throw BrokerError(
            .processFatal, code: "broker_owned_elsewhere", detail: "another process has \(directory) open")
    }

    /// Answers what is queued with `broker_closed`, waits for both threads and lets go of the directory. Calls that
    /// come later are refused on the caller's own thread.
    public func close() {
        let token = retentionTimer.withLock { timer -> TimerToken? in
            defer { timer = .stopped }
            if case .scheduled(let token) = timer { return token }
            return nil
        }
        if let token { timers.cancel(token) }
        writes.stop()
        reads.stop()
        for thread in threads { thread.join() }
        watches.end()
        lockFile.close()
    }

    private func scheduleRetention() {
        retentionTimer.withLock { timer in
            if case .stopped = timer { return }
            timer = .scheduled(
                timers.schedule(at: clock.now() + settings.retentionInterval) { [weak self] in
                    guard let self else { return }
                    retain(startingRound: true)
                    scheduleRetention()
                })
        }
    }

    /// Begins a turn of retention, unless one is under way: that one sees what was deleted meanwhile, and the timer
    /// comes again.
    func retain(startingRound: Bool) {
        let isFirst = retaining.withLock { retaining in
            defer { retaining = true }
            return !retaining
        }
        if isFirst { retainSlice(startingRound: startingRound) }
    }

    /// Each slice queues the next one behind what came meanwhile.
    private func retainSlice(startingRound: Bool) {
        writes.submit(
            Job<Writer>(completion: { [weak self] (result: Result<Bool, BrokerError>) in
                guard let self else { return }
                if case .success(true) = result {
                    retainSlice(startingRound: false)
                } else {
                    // Done, or failed: that was logged and counted, and the timer's next turn goes on with the others.
                    retaining.withLock { $0 = false }
                }
            }) { (writer) throws(JobFailure) in
                try stored { () throws(StoreError) in try writer.retain(startingRound: startingRound) }
            }, limited: false)
    }

    var isRetaining: Bool { retaining.withLock { $0 } }
}

// MARK: Sinks

extension EmbeddedBroker: RecordSinkFactory {
    public var guarantee: Guarantee { .exactlyOnce }

    public func openSink(
        spool: SpoolID, lane: Int
    ) throws(BrokerError) -> (sink: any RecordSink, previous: SinkCheckpoint?) {
        let key = SinkKey(spool: spool, lane: lane)
        let opened = try writes.wait { (writer) throws(JobFailure) in
            try stored { () throws(StoreError) in try writer.openSink(key) }
        }
        return (EmbeddedSink(key: key, generation: opened.generation, writes: writes), opened.checkpoint)
    }
}

// MARK: Reading

extension EmbeddedBroker: RecordSource {
    public func subscribe(
        consumer: ConsumerName, topics: [TopicName], delegate: any SubscriptionDelegate
    ) throws(BrokerError) -> any Subscription {
        let (reads, published, subscriptions) = (reads, published, subscriptions)
        let subscription = try subscriptions.make(topics: topics, delegate: delegate) { request, allowed, completion in
            reads.submit(
                Job<Reader>(completion: completion) { (reader) throws(JobFailure) in
                    guard allowed else { throw .refused(.subscriptionClosed) }
                    return try reader.fetch(request, published)
                })
        }
        // On the writer thread, between two transactions, so that no change is missed or told twice. It needs no disk,
        // so it happens also when the transaction it is queued with fails.
        writes.submit(
            Job<Writer>(completion: { (_: Result<Void, BrokerError>) in
                subscriptions.activate(subscription, published: published)
            }) { (_) throws(JobFailure) in }, limited: false)
        return subscription
    }

    public func fetch(
        _ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void
    ) {
        let published = published
        reads.submit(
            Job<Reader>(completion: completion) { (reader) throws(JobFailure) in
                try reader.fetch(request, published)
            })
    }

    public func watch(
        _ partition: TopicPartition, from offset: Int64, told: @escaping @Sendable () -> Void
    ) throws(BrokerError) -> (any PartitionWatch)? {
        try watches.add(EmbeddedWatch(partition, offset, watches, told), published)
    }
}

extension Reader {
    fileprivate func fetch(_ request: FetchRequest, _ published: PublishedTopics) throws(JobFailure) -> FetchResult {
        let partition = request.partition
        let number: Int64
        do throws(BrokerError) {
            number = try published.state(of: partition).number
        } catch {
            throw .refused(error)
        }
        let result = try stored { () throws(StoreError) in try fetch(request, partition: number) }
        guard let result else { throw .refused(.unknownTopic(partition.topic)) }
        return result
    }
}

// MARK: Committed offsets

extension EmbeddedBroker: OffsetStore {
    public func committed(
        consumer: ConsumerName, of partitions: [TopicPartition],
        completion: @escaping @Sendable (Result<[TopicPartition: CommittedOffset], BrokerError>) -> Void
    ) {
        let wanted = Set(partitions)
        reads.submit(
            Job<Reader>(completion: completion) { (reader) throws(JobFailure) in
                try stored { () throws(StoreError) in
                    try reader.committed(consumer).filter { wanted.contains($0.key) }
                }
            })
    }

    public func commit(
        consumer: ConsumerName, offsets: [TopicPartition: CommittedOffset],
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void
    ) {
        writes.submit(
            Job<Writer>(completion: completion) { (writer) throws(JobFailure) in
                try writer.commitOffsets(consumer: consumer, offsets)
            })
    }

    public func define(
        _ definition: ConsumerDefinitionBytes, offsets: [TopicPartition: CommittedOffset], replacing: Bool,
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void
    ) {
        writes.submit(
            Job<Writer>(completion: completion) { (writer) throws(JobFailure) in
                try writer.define(definition, offsets, replacing: replacing)
            })
    }

    public func forget(consumer: ConsumerName, completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void) {
        writes.submit(
            Job<Writer>(completion: completion) { (writer) throws(JobFailure) in
                try stored { () throws(StoreError) in try writer.forget(consumer) }
            })
    }

    public func definitions() throws(BrokerError) -> [ConsumerDefinitionBytes] {
        try reads.wait { (reader) throws(JobFailure) in
            try stored { () throws(StoreError) in try reader.definitions() }
        }
    }
}
