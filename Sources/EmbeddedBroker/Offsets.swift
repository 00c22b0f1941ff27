import Broker
import Primitives
import Records
import Store

extension Writer {
    func commitOffsets(
        consumer: ConsumerName, _ offsets: [TopicPartition: CommittedOffset]
    ) throws(JobFailure) {
        try check(offsets)
        try stored { () throws(StoreError) in try store(consumer, offsets) }
    }

    func define(
        _ definition: ConsumerDefinitionBytes, _ offsets: [TopicPartition: CommittedOffset], replacing: Bool
    ) throws(JobFailure) {
        guard definition.bytes.count <= settings.definitionBytesMax else {
            throw .refused(
                .invalid(
                    "definition_too_large",
                    "\(definition.bytes.count) bytes, the limit is \(settings.definitionBytesMax)"))
        }
        try check(offsets)
        let name = Value.text(definition.name.text)
        let others = try stored { () throws(StoreError) in
            try Statement(connection, "SELECT count(*) FROM consumers WHERE name <> ?").first(name) { $0.integer(0) }
                ?? 0
        }
        guard others < settings.consumersMax else {
            throw .refused(
                BrokerError(.retriable, code: "too_many_consumers", detail: "the limit is \(settings.consumersMax)"))
        }
        try stored { () throws(StoreError) in
            try Statement(connection, "INSERT OR REPLACE INTO consumers (name, definition) VALUES (?, ?)").run(
                name, .blob(definition.bytes))
            if replacing { try forgetOffsets(of: definition.name, except: Set(offsets.keys.map(\.topic))) }
            try store(definition.name, offsets)
        }
    }

    func forget(_ consumer: ConsumerName) throws(StoreError) {
        try Statement(connection, "DELETE FROM consumers WHERE name = ?").run(.text(consumer.text))
        try Statement(connection, "DELETE FROM offsets WHERE consumer = ?").run(.text(consumer.text))
    }

    private func check(_ offsets: [TopicPartition: CommittedOffset]) throws(JobFailure) {
        for (partition, committed) in offsets {
            guard let topic = ledger.topics[partition.topic] else { throw .refused(.unknownTopic(partition.topic)) }
            guard topic.partitions.indices.contains(Int(partition.partition)) else {
                throw .refused(.unknownPartition(partition, count: topic.partitions.count))
            }
            guard committed.offset >= 0 else {
                throw .refused(.invalid("invalid_offset", "\(committed.offset) for \(partition)"))
            }
            let bytes = committed.metadata.utf8.count
            guard bytes <= OffsetStoreLimits.metadataBytesMax else {
                throw .refused(
                    .invalid(
                        "offset_metadata_too_large",
                        "\(bytes) bytes for \(partition), the limit is \(OffsetStoreLimits.metadataBytesMax)"))
            }
        }
    }

    private func store(
        _ consumer: ConsumerName, _ offsets: [TopicPartition: CommittedOffset]
    ) throws(StoreError) {
        for (partition, committed) in offsets {
            guard let topic = ledger.topics[partition.topic] else { continue }
            try statements.commitOffset.run(
                .text(consumer.text), .integer(topic.number), .integer(Int64(partition.partition)),
                .integer(committed.offset), .text(committed.metadata))
        }
    }

    private func forgetOffsets(of consumer: ConsumerName, except kept: Set<TopicName>) throws(StoreError) {
        let numbers = Set(kept.compactMap { ledger.topics[$0]?.number })
        var gone: [Int64] = []
        try Statement(connection, "SELECT DISTINCT topic FROM offsets WHERE consumer = ?").forEach(
            .text(consumer.text)
        ) { row throws(StoreError) in
            if !numbers.contains(row.integer(0)) { gone.append(row.integer(0)) }
            return .next
        }
        let delete = try Statement(connection, "DELETE FROM offsets WHERE consumer = ? AND topic = ?")
        for number in gone { try delete.run(.text(consumer.text), .integer(number)) }
    }
}

extension Reader {
    func committed(_ consumer: ConsumerName) throws(StoreError) -> [TopicPartition: CommittedOffset] {
        var offsets: [TopicPartition: CommittedOffset] = [:]
        try statements.committed.forEach(.text(consumer.text)) { row throws(StoreError) in
            guard let topic = TopicName(try row.text(0) ?? ""), let metadata = try row.text(3) else {
                throw .malformed("offsets", "row of \(consumer)")
            }
            let partition = TopicPartition(topic: topic, partition: Int32(clamping: row.integer(1)))
            offsets[partition] = CommittedOffset(offset: row.integer(2), metadata: metadata)
            return .next
        }
        return offsets
    }

    func definitions() throws(StoreError) -> [ConsumerDefinitionBytes] {
        var found: [ConsumerDefinitionBytes] = []
        try Statement(connection, "SELECT name, definition FROM consumers ORDER BY name").forEach {
            row throws(StoreError) in
            guard let name = ConsumerName(try row.text(0) ?? ""), let bytes = row.bytes(1) else {
                throw .malformed("consumers", "name of a consumer")
            }
            found.append(ConsumerDefinitionBytes(name: name, bytes: bytes))
            return .next
        }
        return found
    }
}
