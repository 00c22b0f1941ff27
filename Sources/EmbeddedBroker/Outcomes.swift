import Broker
import Primitives
import Records
import Store

/// The packed form of a hand-over's deliveries: for each the LSN (8 bytes), topic number (4), partition (4), offset
/// (8), timestamp (8), little-endian.
enum OutcomeCodec {
    static let entryBytes = 32

    static func encode(_ deliveries: [Delivery], topicNumber: (TopicName) -> Int64?) -> ByteSlice {
        var writer = ByteWriter(capacity: deliveries.count * entryBytes)
        for delivery in deliveries {
            writer.integer(delivery.lsn.rawValue)
            // Fits: there are fewer topics than partition numbers, and those are 23 bits.
            writer.integer(UInt32(topicNumber(delivery.partition.topic) ?? 0))
            writer.integer(delivery.partition.partition)
            writer.integer(delivery.offset)
            writer.integer(delivery.timestampMs)
        }
        return writer.bytes[...]
    }

    /// Deliveries to topics without a name are left out: they were deleted so long ago that they were forgotten.
    static func decode(_ packed: ByteSlice, names: [Int64: TopicName]) throws(StoreError) -> [Delivery] {
        var reader = ByteReader(packed)
        var deliveries: [Delivery] = []
        deliveries.reserveCapacity(packed.count / entryBytes)
        do throws(MalformedBytes) {
            while reader.remaining > 0 {
                let lsn = LSN(rawValue: try reader.integer())
                let name = names[Int64(try reader.integer(UInt32.self))]
                let partition = try reader.integer(Int32.self)
                let offset = try reader.integer(Int64.self)
                let timestampMs = try reader.integer(Int64.self)
                guard let name else { continue }
                deliveries.append(
                    Delivery(
                        lsn: lsn, partition: TopicPartition(topic: name, partition: partition), offset: offset,
                        timestampMs: timestampMs))
            }
        } catch {
            throw .malformed("outcomes", error.what)
        }
        return deliveries
    }
}

extension Writer {
    /// Outcome rows removed with one hand-over at most: more than it adds, so that a lowered setting takes effect.
    private static let trimmedRowsMax = 64

    func keepOutcome(of handOver: HandOver, _ deliveries: [Delivery]) throws(StoreError) {
        guard let first = deliveries.first, let last = deliveries.last else { return }
        let packed = OutcomeCodec.encode(deliveries) { ledger.topics[$0]?.number }
        try statements.insertOutcome.run(
            .blob(SinkKey.bytes(of: handOver.sink.spool)), .integer(Int64(handOver.sink.lane)),
            .integer(Int64(bitPattern: first.lsn.rawValue)), .integer(Int64(bitPattern: last.lsn.rawValue)),
            .integer(Int64(deliveries.count)), .blob(packed))
        ledger.outcomeRecords += deliveries.count
        for _ in 0..<Self.trimmedRowsMax {
            let oldest = try statements.oldestOutcome.first { (id: $0.integer(0), records: Int($0.integer(1))) }
            // Only what leaves `outcomesKept` behind.
            guard let oldest, ledger.outcomeRecords - oldest.records >= settings.outcomesKept else { return }
            try statements.deleteOutcome.run(.integer(oldest.id))
            ledger.outcomeRecords -= oldest.records
        }
    }
}

extension Reader {
    /// The newest deliveries of a spool, at most `limit`.
    func recentDeliveries(spool: SpoolID, limit: Int) throws(StoreError) -> [Delivery] {
        guard limit > 0 else { return [] }
        return try snapshot { () throws(StoreError) in
            var names: [Int64: TopicName] = [:]
            try Statement(connection, "SELECT number, name FROM topics").forEach { row throws(StoreError) in
                guard let name = TopicName(try row.text(1) ?? "") else {
                    throw .malformed("topics", "name of topic \(row.integer(0))")
                }
                names[row.integer(0)] = name
                return .next
            }
            var deliveries: [Delivery] = []
            try Statement(connection, "SELECT packed FROM outcomes WHERE spool = ? ORDER BY id DESC").forEach(
                .blob(SinkKey.bytes(of: spool))
            ) { row throws(StoreError) in
                let some = try OutcomeCodec.decode(row.bytes(0) ?? [], names: names)
                deliveries.append(contentsOf: some.suffix(limit - deliveries.count))
                return deliveries.count < limit ? .next : .stop
            }
            return deliveries
        }
    }
}
