import Broker
import CoreMetrics
import Logging
import Outcomes
import Primitives
import Records
import Store

/// What a committed job changed, for subscriptions.
enum BrokerEvent: Sendable {
    case created(TopicName, [TopicPartition])
    case deleted(TopicName, [TopicPartition])
    case appended(TopicPartition)
}

/// What the open transaction did, for after its commit.
struct PendingChanges {
    var events: [BrokerEvent] = []
    /// Topics to publish.
    var touched: Set<TopicName> = []
    var records = 0
    var recordBytes: Int64 = 0
    var expiredRecords = 0
    var outcomes = OutcomeChanges()
}

/// The one writer of the file. Owned by the writer thread; jobs run on it, see `WriterLoop`.
final class Writer {
    let connection: Connection
    let statements: WriterStatements
    let outcomes: OutcomeRows
    let settings: EmbeddedBrokerSettings
    let clock: any TimeSource
    /// The state with everything that the open transaction did so far.
    var ledger: Ledger
    var pending = PendingChanges()
    /// What retention has still to look at.
    var sweep = RetentionSweep()
    var retentionClock: RetentionClock
    let metrics: BrokerMetrics
    let log: Logger

    init(
        path: String, settings: EmbeddedBrokerSettings, clock: any TimeSource, fileSystem: any FileSystem, log: Logger,
        metrics: any MetricsFactory
    ) throws(StoreError) {
        self.settings = settings
        self.clock = clock
        retentionClock = RetentionClock(clock)
        self.log = log
        self.metrics = BrokerMetrics(metrics)
        connection = try Connection.open(
            path: path, schema: BrokerSchema.schema,
            settings: ConnectionSettings(
                pageBytes: EmbeddedBrokerSettings.pageBytes, cacheBytes: settings.cacheBytes,
                // The owner checkpoints between transactions instead, after the answers.
                automaticCheckpointPages: 0, pagesMax: settings.pagesMax),
            fileSystem: fileSystem)
        statements = try WriterStatements(connection)
        outcomes = try OutcomeRows(connection)
        ledger = try Ledger.load(connection, outcomes)
        self.metrics.outcomes.report(ledger.outcomes)
    }

    /// Runs the jobs as one transaction, each in a savepoint of its own, so that one that fails undoes only itself.
    ///
    /// - Returns: what to call once the state is published, in the jobs' order.
    /// - Throws: when nothing was committed.
    func commit(_ jobs: [Job<Writer>]) throws(StoreError) -> [() -> Void] {
        pending = PendingChanges()
        do throws(StoreError) {
            try connection.begin()
            var answers: [() -> Void] = []
            answers.reserveCapacity(jobs.count)
            for job in jobs { answers.append(try answer(of: job)) }
            let start = clock.now()
            try connection.commit()
            let took = clock.now() - start
            metrics.committed(pending, after: took)
            if pending.records > 0 { metrics.outcomes.report(ledger.outcomes) }
            if took > settings.slowCommit {
                log.warning(
                    "slow commit",
                    metadata: [
                        "duration_ms": .stringConvertible(took.wholeMilliseconds),
                        "jobs": .stringConvertible(jobs.count),
                    ])
            }
            return answers
        } catch {
            try connection.rollback()
            throw error
        }
    }

    private func answer(of job: Job<Writer>) throws(StoreError) -> () -> Void {
        let before = pending
        switch try connection.savepoint({ () throws(JobFailure) in try job.run(self) }) {
        case .success(let answer): return answer
        case .failure(.store(let error)):
            // On a full disk SQLite may have given up the whole transaction: then no job of it happened.
            guard connection.isInTransaction else { throw error }
            // Here and not at the caller: some, as retention, have nobody to tell.
            metrics.failed(error.kind.rawValue)
            log.error("job of a transaction failed", metadata: ["error": "\(error)"])
            pending = before
            ledger = try Ledger.load(connection, outcomes)
            return { job.fail(BrokerError(error)) }
        case .failure(.refused(let error)):
            return { job.fail(error) }
        }
    }
}

/// Statements of the writer, prepared once.
struct WriterStatements {
    let insertRecord: Statement
    let updatePartition: Statement
    let insertTime: Statement
    let updateCheckpoint: Statement
    let openSink: Statement
    let commitOffset: Statement
    let expiring: Statement

    init(_ connection: Connection) throws(StoreError) {
        insertRecord = try Statement(
            connection, "INSERT INTO records (id, timestamp, key, value, headers) VALUES (?, ?, ?, ?, ?)")
        updatePartition = try Statement(
            connection,
            """
            UPDATE partitions SET first = ?, low = ?, next = ?, bytes = ?, chunk_start = ?, chunk_timestamp = ?
            WHERE number = ?
            """)
        insertTime = try Statement(connection, "INSERT INTO times (id, timestamp) VALUES (?, ?)")
        updateCheckpoint = try Statement(
            connection, "UPDATE sinks SET lsn = ?, epoch = ?, nonce = ? WHERE spool = ? AND lane = ?")
        openSink = try Statement(
            connection,
            """
            INSERT INTO sinks (spool, lane, generation) VALUES (?, ?, ?)
            ON CONFLICT (spool, lane) DO UPDATE SET generation = excluded.generation
            """)
        commitOffset = try Statement(
            connection,
            """
            INSERT INTO offsets (consumer, topic, partition, committed, metadata) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (consumer, topic, partition)
            DO UPDATE SET committed = excluded.committed, metadata = excluded.metadata
            """)
        expiring = try Statement(
            connection,
            """
            SELECT id, timestamp,
                coalesce(length(key), 0) + coalesce(length(value), 0) + coalesce(length(headers), 0)
            FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?
            """)
    }
}

extension Writer {
    /// Writes a partition's counters.
    func save(_ partition: PartitionState) throws(StoreError) {
        try statements.updatePartition.run(
            .integer(partition.first), .integer(partition.low), .integer(partition.next), .integer(partition.bytes),
            .integer(partition.chunkStart), .integer(partition.chunkTimestampMs), .integer(partition.number))
    }
}
