import Broker
import Primitives
import Records
import Store

extension Writer {
    /// - Returns: false when it exists already.
    func createTopic(_ name: TopicName, _ requested: TopicSettings) throws(JobFailure) -> Bool {
        let count = requested.partitions ?? settings.partitionsDefault
        guard count >= 1, count <= settings.partitionsMax else {
            throw .refused(
                .invalid("invalid_partitions", "partitions \(count): allowed are 1 to \(settings.partitionsMax)"))
        }
        try check(requested)
        if ledger.topics[name] != nil { return false }
        guard ledger.topics.count < settings.topicsMax else {
            Limit.brokerTopics.reached()
            throw .refused(.tooManyTopics(settings.topicsMax))
        }
        try checkRoom(partitions: Int64(count))
        try stored { () throws(StoreError) in
            var stored = requested
            stored.partitions = count
            try insertTopic(name, stored)
        }
        return true
    }

    private func check(_ requested: TopicSettings) throws(JobFailure) {
        // Half of what SQLite takes as one row.
        if let bytes = requested.recordBytesMax, bytes < 1 || bytes > 512 << 20 {
            throw .refused(.invalid("invalid_topic_settings", "record_bytes_max \(bytes): allowed are 1 to 512 MiB"))
        }
        for (name, limit) in [
            ("retention_ms", requested.retentionMs), ("retention_bytes", requested.retentionBytes),
        ] {
            guard let limit, limit < 1, limit != TopicSettings.unlimited else { continue }
            throw .refused(
                .invalid("invalid_topic_settings", "\(name) \(limit): allowed are 1 and more, and -1 for no limit"))
        }
    }

    /// What is nil in `changes` stays as it is. - Returns: false when there is none.
    func configureTopic(_ name: TopicName, _ changes: TopicSettings) throws(JobFailure) -> Bool {
        try check(changes)
        guard var topic = ledger.topics[name] else { return false }
        topic.settings.retentionMs = changes.retentionMs ?? topic.settings.retentionMs
        topic.settings.retentionBytes = changes.retentionBytes ?? topic.settings.retentionBytes
        topic.settings.recordBytesMax = changes.recordBytesMax ?? topic.settings.recordBytesMax
        try stored { () throws(StoreError) in
            try Statement(
                connection,
                "UPDATE topics SET retention_ms = ?, retention_bytes = ?, record_bytes_max = ? WHERE number = ?"
            ).run(
                Value(topic.settings.retentionMs), Value(topic.settings.retentionBytes),
                Value(topic.settings.recordBytesMax.map { Int64($0) }), .integer(topic.number))
        }
        ledger.topics[name] = topic
        pending.touched.insert(name)
        return true
    }

    /// Moves low watermarks; the rows below are retention's to remove. - Returns: where they are now.
    func purge(_ name: TopicName, below offsets: [Int32: Int64]) throws(JobFailure) -> [Int32: Int64] {
        guard let topic = ledger.topics[name] else { throw .refused(.unknownTopic(name)) }
        for (number, offset) in offsets {
            let place = TopicPartition(topic: name, partition: number)
            guard topic.partitions.indices.contains(Int(number)) else {
                throw .refused(.unknownPartition(place, count: topic.partitions.count))
            }
            let end = topic.partitions[Int(number)].next
            guard offset >= 0, offset <= end else { throw .refused(.offsetOutOfRange(place, offset, end: end)) }
        }
        var lows: [Int32: Int64] = [:]
        for (number, offset) in offsets {
            var partition = topic.partitions[Int(number)]
            if offset > partition.low {
                // Else it is in the sweep already, or has failed in this round.
                if partition.first == partition.low {
                    sweep.partitions.append(TopicPartition(topic: name, partition: number))
                }
                partition.low = offset
                try stored { () throws(StoreError) in try save(partition) }
                ledger.topics[name]?.partitions[Int(number)] = partition
                pending.touched.insert(name)
            }
            lows[number] = partition.low
        }
        return lows
    }

    /// The file's own end, not a setting: partition numbers are never used again.
    func checkRoom(partitions: Int64) throws(JobFailure) {
        guard ledger.partitionNumbersUsed + partitions < RecordKey.partitionEnd else {
            throw .refused(.noPartitionNumbersLeft)
        }
    }

    /// - Precondition: there is no such topic, `settings.partitions` is set, and `checkRoom` agreed.
    func insertTopic(_ name: TopicName, _ settings: TopicSettings) throws(StoreError) {
        // What was accepted for the deleted topic of this name may go to the new one from now on.
        if ledger.deleted.contains(name) {
            try Statement(connection, "UPDATE topics SET state = 2 WHERE name = ? AND state = 1").run(.text(name.text))
            ledger.deleted.remove(name)
        }
        try Statement(
            connection,
            """
            INSERT INTO topics (name, partitions, retention_ms, retention_bytes, record_bytes_max)
            VALUES (?, ?, ?, ?, ?)
            """
        ).run(
            .text(name.text), Value(settings.partitions.map { Int64($0) }), Value(settings.retentionMs),
            Value(settings.retentionBytes), Value(settings.recordBytesMax.map { Int64($0) }))
        let number = connection.lastInsertedID
        let insert = try Statement(connection, "INSERT INTO partitions (topic, partition) VALUES (?, ?)")
        var partitions: [PartitionState] = []
        for partition in 0..<Int64(settings.partitions ?? 0) {
            try insert.run(.integer(number), .integer(partition))
            ledger.partitionNumbersUsed = connection.lastInsertedID
            partitions.append(
                PartitionState(
                    number: connection.lastInsertedID, first: 0, low: 0, next: 0, bytes: 0, chunkStart: 0,
                    chunkTimestampMs: TimeIndex.noTimestamp))
        }
        let topic = TopicState(
            number: number, name: name, settings: settings, partitions: partitions, partitioner: Partitioner())
        ledger.topics[name] = topic
        pending.touched.insert(name)
        pending.events.append(.created(name, topic.topicPartitions))
    }

    /// The topic, its committed offsets and its readability go at once; its records go in slices, by retention.
    ///
    /// - Returns: false when there is none.
    func deleteTopic(_ name: TopicName) throws(StoreError) -> Bool {
        guard let topic = ledger.topics[name] else { return false }
        try Statement(connection, "UPDATE topics SET state = 1 WHERE number = ?").run(.integer(topic.number))
        try Statement(connection, "UPDATE partitions SET doomed = 1 WHERE topic = ?").run(.integer(topic.number))
        try Statement(connection, "DELETE FROM offsets WHERE topic = ?").run(.integer(topic.number))
        ledger.topics[name] = nil
        ledger.deleted.insert(name)
        ledger.deletedRows += 1
        ledger.doomed += topic.partitions.map(\.number)
        pending.touched.insert(name)
        pending.events.append(.deleted(name, topic.topicPartitions))
        if ledger.deletedRows > settings.deletedTopicsKept { try forgetDeletedTopics() }
        return true
    }

    private func forgetDeletedTopics() throws(StoreError) {
        try Statement(
            connection,
            """
            DELETE FROM topics WHERE state <> 0
            AND number NOT IN (SELECT number FROM topics WHERE state <> 0 ORDER BY number DESC LIMIT ?)
            """
        ).run(.integer(Int64(settings.deletedTopicsKept)))
        let fresh = try Ledger.load(connection, outcomes)
        for name in ledger.deleted.subtracting(fresh.deleted) { pending.touched.insert(name) }
        ledger.deleted = fresh.deleted
        ledger.deletedRows = fresh.deletedRows
    }
}

/// What is committed, for the threads that must not wait. Any thread may read; the writer thread writes.
final class PublishedTopics: Sendable {
    private struct State {
        var topics: [TopicName: TopicState]
        var deleted: Set<TopicName>
    }

    private let state: Lock<State>
    private let settings: EmbeddedBrokerSettings

    init(_ ledger: Ledger, settings: EmbeddedBrokerSettings) {
        state = Lock(State(topics: ledger.topics, deleted: ledger.deleted))
        self.settings = settings
    }

    func update(from ledger: Ledger, topics: Set<TopicName>) {
        guard !topics.isEmpty else { return }
        state.withLock { state in
            for topic in topics {
                state.topics[topic] = ledger.topics[topic]
                if ledger.deleted.contains(topic) { state.deleted.insert(topic) } else { state.deleted.remove(topic) }
            }
        }
    }

    subscript(_ topic: TopicName) -> TopicState? { state.withLock { $0.topics[topic] } }

    /// - Throws: `unknown_topic`, `unknown_partition`.
    func state(of partition: TopicPartition) throws(BrokerError) -> PartitionState {
        guard let topic = self[partition.topic] else { throw .unknownTopic(partition.topic) }
        guard topic.partitions.indices.contains(Int(partition.partition)) else {
            throw .unknownPartition(partition, count: topic.partitions.count)
        }
        return topic.partitions[Int(partition.partition)]
    }

    var names: [TopicName] { state.withLock { Array($0.topics.keys) }.sorted() }

    func knowledge(of topic: TopicName) -> TopicKnowledge {
        let (known, creatable) = state.withLock { state -> (KnownTopic?, Bool) in
            (
                state.topics[topic]?.known(settings),
                settings.createTopics && !state.deleted.contains(topic) && state.topics.count < settings.topicsMax
            )
        }
        if let known { return .known(known) }
        return creatable ? .creatable(settings.created) : .missing
    }

    func describe(_ topic: TopicName) -> TopicDescription? {
        guard let state = self[topic] else { return nil }
        let partitions = state.partitions.enumerated().map { index, partition in
            PartitionDescription(
                partition: Int32(index), leader: 0, replicas: [0], inSyncReplicas: [0], lowWatermark: partition.low,
                highWatermark: partition.next)
        }
        return TopicDescription(
            name: topic, partitions: partitions, settings: state.effective(settings),
            warnings: ["records are kept on this machine's disk only"])
    }
}
