import Broker
import Outcomes
import Primitives
import Records
import Store

/// A partition as the partitions table has it.
struct PartitionState: Equatable, Sendable {
    let number: Int64
    /// There are no rows below it. Those in `first ..< low` were purged and wait for retention to remove them.
    var first: Int64
    /// Records have offsets `low ..< next`, with gaps.
    var low: Int64
    var next: Int64
    /// Of keys, values and headers of all rows.
    var bytes: Int64
    /// See TimeIndex: where the chunk that is being filled begins, and the greatest timestamp in it.
    var chunkStart: Int64
    var chunkTimestampMs: Int64

    func key(_ offset: Int64) -> Int64 { RecordKey.key(partition: number, offset: offset) }
}

struct TopicState: Sendable {
    let number: Int64
    let name: TopicName
    var settings: TopicSettings
    /// Index: the partition.
    var partitions: [PartitionState]
    /// For records without key and partition. Not durable: it only spreads them.
    var partitioner: Partitioner

    func known(_ settings: EmbeddedBrokerSettings) -> KnownTopic {
        KnownTopic(
            partitions: Int32(partitions.count),
            recordBytesMax: self.settings.recordBytesMax ?? settings.recordBytesMax)
    }

    /// The topic's own settings, and the broker's where it has none.
    func effective(_ settings: EmbeddedBrokerSettings) -> TopicSettings {
        let known = known(settings)
        return TopicSettings(
            partitions: known.partitions,
            retentionMs: self.settings.retentionMs ?? settings.retentionMs ?? TopicSettings.unlimited,
            retentionBytes: self.settings.retentionBytes ?? settings.retentionBytes ?? TopicSettings.unlimited,
            recordBytesMax: known.recordBytesMax)
    }

    var topicPartitions: [TopicPartition] {
        partitions.indices.map { TopicPartition(topic: name, partition: Int32($0)) }
    }
}

/// A sink is a lane's.
typealias SinkKey = OutcomeLane

struct SinkState: Equatable, Sendable {
    /// Of the newest sink; older ones are fenced.
    var generation: Int64
    var checkpoint: SinkCheckpoint?
}

/// What the writer knows without asking the file. The file is the truth: after any failed change this is read again.
struct Ledger: Sendable {
    var topics: [TopicName: TopicState] = [:]
    /// Deleted, and not created again.
    var deleted: Set<TopicName> = []
    /// All rows of deleted topics.
    var deletedRows = 0
    /// Numbers of partitions whose topic is gone and whose records are not.
    var doomed: [Int64] = []
    var sinks: [SinkKey: SinkState] = [:]
    var outcomes = OutcomeTotals()
    var partitionNumbersUsed: Int64 = 0
}

extension Ledger {
    static func load(_ connection: Connection, _ outcomes: OutcomeRows) throws(StoreError) -> Ledger {
        var ledger = Ledger()
        var byNumber: [Int64: TopicState] = [:]
        try Statement(
            connection,
            "SELECT number, name, state, partitions, retention_ms, retention_bytes, record_bytes_max FROM topics"
        ).forEach { row throws(StoreError) in
            guard let name = TopicName(try row.text(1) ?? "") else {
                throw .malformed("topics", "name of topic \(row.integer(0))")
            }
            if row.integer(2) == 0 {
                let settings = TopicSettings(
                    partitions: row.optionalInteger(3).map { Int32(clamping: $0) }, retentionMs: row.optionalInteger(4),
                    retentionBytes: row.optionalInteger(5), recordBytesMax: row.optionalInteger(6).map { Int($0) })
                byNumber[row.integer(0)] = TopicState(
                    number: row.integer(0), name: name, settings: settings, partitions: [], partitioner: Partitioner())
            } else {
                ledger.deletedRows += 1
                if row.integer(2) == 1 { ledger.deleted.insert(name) }
            }
            return .next
        }
        try Statement(
            connection,
            """
            SELECT topic, partition, number, low, next, bytes, chunk_start, chunk_timestamp, doomed, first
            FROM partitions ORDER BY topic, partition
            """
        ).forEach { row throws(StoreError) in
            if row.integer(8) != 0 {
                ledger.doomed.append(row.integer(2))
                return .next
            }
            let state = PartitionState(
                number: row.integer(2), first: row.integer(9), low: row.integer(3), next: row.integer(4),
                bytes: row.integer(5), chunkStart: row.integer(6), chunkTimestampMs: row.integer(7))
            guard state.number > 0, state.number < RecordKey.partitionEnd, state.first >= 0, state.first <= state.low,
                state.low <= state.next, state.next <= RecordKey.offsetEnd,
                byNumber[row.integer(0)]?.partitions.count == Int(row.integer(1))
            else { throw .malformed("partitions", "partition number \(state.number)") }
            byNumber[row.integer(0)]?.partitions.append(state)
            return .next
        }
        for topic in byNumber.values {
            guard !topic.partitions.isEmpty else { throw .malformed("partitions", "topic \(topic.name) has none") }
            ledger.topics[topic.name] = topic
        }
        try ledger.loadSinks(connection)
        ledger.outcomes = try outcomes.load()
        ledger.partitionNumbersUsed =
            try Statement(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'partitions'")
            .first { $0.integer(0) } ?? 0
        return ledger
    }

    private mutating func loadSinks(_ connection: Connection) throws(StoreError) {
        var sinks: [SinkKey: SinkState] = [:]
        try Statement(connection, "SELECT spool, lane, generation, lsn, epoch, nonce FROM sinks").forEach {
            row throws(StoreError) in
            guard let spool = SpoolID(bytes: row.bytes(0) ?? []) else { throw .malformed("sinks", "spool id") }
            let checkpoint = row.optionalInteger(3).map { lsn in
                SinkCheckpoint(
                    lsn: LSN(rawValue: UInt64(bitPattern: lsn)), epoch: UInt32(truncatingIfNeeded: row.integer(4)),
                    nonce: UInt64(bitPattern: row.integer(5)))
            }
            sinks[SinkKey(spool: spool, lane: Int(row.integer(1)))] = SinkState(
                generation: row.integer(2), checkpoint: checkpoint)
            return .next
        }
        self.sinks = sinks
    }
}
