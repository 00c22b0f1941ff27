import Broker
import Outcomes
import Primitives
import Records
import Store

/// One call of `RecordSink.deliver`.
struct HandOver: Sendable {
    let sink: SinkKey
    let generation: Int64
    let batch: [OutgoingRecord]
    let checkpoint: SinkCheckpoint
    /// The first one of its sink.
    let isClaim: Bool
    /// Encoded on the lane's thread; same indices as the batch.
    let headers: [ByteSlice?]

    init(
        sink: SinkKey, generation: Int64, batch: [OutgoingRecord], checkpoint: SinkCheckpoint, isClaim: Bool
    ) throws(BrokerError) {
        self.isClaim = isClaim
        self.sink = sink
        self.generation = generation
        self.batch = batch
        self.checkpoint = checkpoint
        var headers: [ByteSlice?] = []
        headers.reserveCapacity(batch.count)
        for outgoing in batch { headers.append(try HeaderCodec.encode(outgoing.spooled.record.headers)) }
        self.headers = headers
    }
}

/// A topic of a hand-over and where its records go.
private struct Target {
    let name: TopicName
    let limits: KnownTopic
    var partitioner: Partitioner
}

/// Which target and partition a record goes to.
private struct Slot {
    let target: Int
    let partition: Int32
}

extension Writer {
    /// Appends the records, moves the checkpoint and keeps the outcome, all in the open transaction.
    ///
    /// Everything that can be refused is refused before the first change.
    func handOver(_ handOver: HandOver) throws(JobFailure) -> [Delivery] {
        guard ledger.sinks[handOver.sink]?.generation == handOver.generation else {
            throw .refused(.fenced(handOver.sink))
        }
        let (targets, slots) = try plan(handOver.batch)
        try checkQuota(handOver.batch)
        return try stored { () throws(StoreError) in
            for target in targets where ledger.topics[target.name] == nil {
                try insertTopic(target.name, TopicSettings(partitions: target.limits.partitions))
            }
            let deliveries = try append(handOver, targets, slots)
            try keepOutcome(of: handOver, deliveries)
            try move(handOver.sink, to: handOver.checkpoint)
            return deliveries
        }
    }

    private func plan(_ batch: [OutgoingRecord]) throws(JobFailure) -> ([Target], [Slot]) {
        var targets: [Target] = []
        var indices: [TopicName: Int] = [:]
        var slots: [Slot] = []
        slots.reserveCapacity(batch.count)
        for outgoing in batch {
            let spooled = outgoing.spooled
            // Batches are mostly runs of one topic.
            var index = slots.last?.target ?? 0
            if targets.isEmpty || targets[index].name != spooled.topic {
                if let known = indices[spooled.topic] {
                    index = known
                } else {
                    index = targets.count
                    indices[spooled.topic] = index
                    targets.append(try target(spooled.topic))
                }
            }
            let limits = targets[index].limits
            let bytes = spooled.record.bytes
            guard bytes <= limits.recordBytesMax else {
                throw .refused(.recordTooLarge(spooled.topic, bytes: bytes, limit: limits.recordBytesMax))
            }
            if let explicit = spooled.partition, explicit < 0 || explicit >= limits.partitions {
                let partition = TopicPartition(topic: spooled.topic, partition: explicit)
                throw .refused(.unknownPartition(partition, count: Int(limits.partitions)))
            }
            let partition = targets[index].partitioner.partition(
                key: spooled.record.key, explicit: spooled.partition, count: limits.partitions)
            slots.append(Slot(target: index, partition: partition))
        }
        // Not `topicsMax`: intake looked at it, and what it admitted must find its way out, or its lane stands still.
        let created = targets.filter { ledger.topics[$0.name] == nil }
        if !created.isEmpty {
            try checkRoom(partitions: created.reduce(0) { $0 + Int64($1.limits.partitions) })
        }
        return (targets, slots)
    }

    private func target(_ name: TopicName) throws(JobFailure) -> Target {
        if let topic = ledger.topics[name] {
            return Target(name: name, limits: topic.known(settings), partitioner: topic.partitioner)
        }
        // Deleting a topic is a decision; a record that was under way must not undo it.
        if ledger.deleted.contains(name) { throw .refused(.topicDeleted(name)) }
        guard settings.createTopics else { throw .refused(.unknownTopic(name)) }
        return Target(name: name, limits: settings.created, partitioner: Partitioner())
    }

    private func checkQuota(_ batch: [OutgoingRecord]) throws(JobFailure) {
        // An empty batch claims the lane or moves its checkpoint, and needs next to no space.
        guard let quota = settings.quotaBytes, !batch.isEmpty else { return }
        let used = try stored { () throws(StoreError) in try connection.usedBytes() }
        let added = batch.reduce(Int64(0)) { $0 + Int64($1.spooled.record.bytes) }
        guard used + added <= quota else {
            Limit.brokerBytes.reached()
            throw .refused(.full(used: used, quota: quota))
        }
    }

    private func append(
        _ handOver: HandOver, _ targets: [Target], _ slots: [Slot]
    ) throws(StoreError) -> [Delivery] {
        let batch = handOver.batch
        guard !batch.isEmpty else { return [] }
        var partitions = targets.map { ledger.topics[$0.name]?.partitions ?? [] }
        // By partition and in the batch's order within it: neighbours in the file are written one after the other.
        let order = slots.indices.sorted { a, b in
            (slots[a].target, slots[a].partition, a) < (slots[b].target, slots[b].partition, b)
        }
        var offsets = [Int64](repeating: 0, count: batch.count)
        var appendedBytes: Int64 = 0
        var run = order[...]
        while let first = run.first {
            let (target, index) = (slots[first].target, Int(slots[first].partition))
            var partition = partitions[target][index]
            while let position = run.first, slots[position].target == target, Int(slots[position].partition) == index {
                run.removeFirst()
                let record = batch[position].spooled.record
                let headers = handOver.headers[position]
                try statements.insertRecord.run(
                    .integer(partition.key(partition.next)), .integer(record.timestampMs), Value(record.key),
                    Value(record.value), Value(headers))
                offsets[position] = partition.next
                let bytes = Int64((record.key?.count ?? 0) + (record.value?.count ?? 0) + (headers?.count ?? 0))
                partition.bytes += bytes
                appendedBytes += bytes
                partition.next += 1
                try extendTimeIndex(&partition, timestampMs: record.timestampMs)
            }
            let name = TopicPartition(topic: targets[target].name, partition: Int32(index))
            partition.next += settings.gapAfterEachHandOver?(name) ?? 0
            guard partition.next < RecordKey.offsetEnd else {
                throw .malformed("append", "\(name) has no offset left")
            }
            try save(partition)
            partitions[target][index] = partition
            pending.events.append(.appended(name))
        }
        for (target, states) in zip(targets, partitions) {
            ledger.topics[target.name]?.partitions = states
            ledger.topics[target.name]?.partitioner = target.partitioner
            pending.touched.insert(target.name)
        }
        pending.records += batch.count
        pending.recordBytes += appendedBytes
        return zip(batch, zip(slots, offsets)).map { outgoing, place in
            Delivery(
                lsn: outgoing.lsn,
                partition: TopicPartition(topic: outgoing.spooled.topic, partition: place.0.partition),
                offset: place.1, timestampMs: outgoing.spooled.record.timestampMs)
        }
    }

    private func move(_ sink: SinkKey, to checkpoint: SinkCheckpoint) throws(StoreError) {
        try statements.updateCheckpoint.run(
            .integer(Int64(bitPattern: checkpoint.lsn.rawValue)), .integer(Int64(checkpoint.epoch)),
            .integer(Int64(bitPattern: checkpoint.nonce)), .blob(sink.spool.bytes),
            .integer(Int64(sink.lane)))
        ledger.sinks[sink]?.checkpoint = checkpoint
    }
}

extension EmbeddedBrokerSettings {
    /// A topic that a hand-over creates.
    var created: KnownTopic { KnownTopic(partitions: partitionsDefault, recordBytesMax: recordBytesMax) }
}

/// Headers in the records table: for each, 2-byte length and name, 4-byte length (−1: null) and value.
enum HeaderCodec {
    /// - Returns: nil for none.
    static func encode(_ headers: [RecordHeader]) throws(BrokerError) -> ByteSlice? {
        guard !headers.isEmpty else { return nil }
        var writer = ByteWriter()
        for header in headers {
            let length = header.name.utf8.count
            guard length <= Int(UInt16.max) else { throw .headerNameTooLong(bytes: length) }
            writer.string(header.name)
            writer.optionalSlice(header.value)
        }
        return writer.bytes[...]
    }

    static func decode(_ bytes: ByteSlice?) throws(StoreError) -> [RecordHeader] {
        guard let bytes else { return [] }
        var reader = ByteReader(bytes)
        var headers: [RecordHeader] = []
        do throws(MalformedBytes) {
            while reader.remaining > 0 {
                headers.append(RecordHeader(name: try reader.string(), value: try reader.optionalSlice()))
            }
        } catch {
            throw .malformed("record headers", error.what)
        }
        return headers
    }
}
