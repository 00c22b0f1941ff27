import Broker
import CRdkafka
import Primitives
import Records

/// The producer of one opened sink: sends records to explicit partitions and waits for their reports. Used once more
/// after each success, never after a failure. One thread at a time, but for `serve`.
// SAFETY: `topics` and `indices` are touched by the lane's thread only; the rest is immutable or has its own lock.
final class SinkProducer: @unchecked Sendable {
    /// Topics whose partition counts are remembered; with one more all are asked for again.
    private static let topicsMax = 10_000
    /// While the queue is full.
    private static let queueFullWaitMs: Int32 = 20
    /// Where a record goes.
    struct Place {
        var topic: Int
        var partition: Int32
    }

    private struct Topic {
        let name: TopicName
        let handle: TopicHandle
        var partitions: Int32
        var asked: MonotonicInstant
        var partitioner = Partitioner()
    }

    let client: KafkaClient
    let reports = DeliveryReports()
    let interruption: Interruption
    let settings: KafkaBrokerSettings
    private let lane: Int
    private let checkpointKey: ByteSlice
    private let idPrefix: String
    private let batchBytes: Int
    private let limits: BatchLimits
    private var checkpointSlot: Int?
    private var checkpointTopic: TopicHandle?
    private var topics: [Topic] = []
    private var indices: [TopicName: Int] = [:]
    private let isOpen = Lock(true)

    init(
        _ settings: KafkaBrokerSettings, spool: SpoolID, lane: Int, limits: BatchLimits, interruption: Interruption
    ) throws(BrokerError) {
        let role: ClientRole =
            switch settings.guarantee {
            case .exactlyOnce: .transactionalProducer(id: "postrider-\(spool)-\(lane)")
            case .atLeastOnce: .idempotentProducer
            }
        var configuration = ClientConfiguration(settings: settings, role: role)
        configuration.batchBytes = min(configuration.batchBytes, limits.bytes(of: lane))
        batchBytes = configuration.batchBytes
        self.settings = settings
        self.lane = lane
        self.limits = limits
        self.interruption = interruption
        checkpointKey = CheckpointTopic.key(spool: spool, lane: lane)
        idPrefix = RecordID.prefix(spool)
        client = try KafkaClient(configuration, delegate: reports)
    }

    func patience(_ limit: Duration) -> Patience { Patience(limit, interruption) }

    // MARK: - Where records go

    /// Chooses every record's partition. Asks the cluster about topics that it does not know or has not asked about for
    /// a while, so it comes before the transaction.
    ///
    /// - Throws: retriable `topic_missing` or `partition_missing`, when fresh metadata says so.
    func places(for batch: [OutgoingRecord]) throws(BrokerError) -> [Place] {
        var places: [Place] = []
        places.reserveCapacity(batch.count)
        if topics.count > Self.topicsMax {
            topics = []
            indices = [:]
        }
        let now = SystemClock().now()
        // By index: a copy of each record would count as a holder of everything in it.
        for slot in batch.indices {
            // Batches are mostly runs of one topic.
            var index = places.last?.topic ?? -1
            if index < 0 || topics[index].name != batch[slot].spooled.topic {
                index = try self.index(of: batch[slot].spooled.topic, now)
            }
            let explicit = batch[slot].spooled.partition
            if let explicit, explicit < 0 || explicit >= topics[index].partitions {
                try refresh(index, SystemClock().now())
                guard explicit >= 0, explicit < topics[index].partitions else {
                    // Intake knew it: the topic was made anew with fewer, and only somebody can add them.
                    throw BrokerError(
                        .retriable, code: "partition_missing",
                        detail: "\(topics[index].name) has \(topics[index].partitions) partitions, and no \(explicit)",
                        alarm: true)
                }
            }
            let partition = topics[index].partitioner.partition(
                key: batch[slot].spooled.record.key, explicit: explicit, count: topics[index].partitions)
            places.append(Place(topic: index, partition: partition))
        }
        return places
    }

    private func index(of name: TopicName, _ now: MonotonicInstant) throws(BrokerError) -> Int {
        if let known = indices[name] {
            if now - topics[known].asked > settings.metadataRefresh { try refresh(known, now) }
            return known
        }
        let partitions = try ask(name)
        topics.append(
            Topic(name: name, handle: try TopicHandle(name.text, of: client), partitions: partitions, asked: now))
        indices[name] = topics.count - 1
        return topics.count - 1
    }

    private func refresh(_ index: Int, _ now: MonotonicInstant) throws(BrokerError) {
        topics[index].partitions = try ask(topics[index].name)
        topics[index].asked = now
    }

    private func ask(_ name: TopicName) throws(BrokerError) -> Int32 {
        if let limit = limits.lower(lane, under: batchBytes, for: name) {
            // Kafka refuses a whole batch that is larger than its topic takes, however small its records are.
            throw BrokerError(
                .sinkFatal, code: "batch_over_topic_limit",
                detail: "\(name) takes fewer bytes at once than this sink sends: the next one sends \(limit)")
        }
        if let count = try client.partitions(of: name, patience(settings.socketTimeout)) { return count }
        // Never made here: what may be made was made before a record was accepted for it, and deleting a topic is a
        // decision that a record under way must not undo.
        throw BrokerError(
            .retriable, code: BrokerError.topicMissingCode, detail: "the cluster has no topic \(name)")
    }

    // MARK: - Sending

    /// Forgets what was sent before, all of which is acknowledged.
    ///
    /// - Parameters:
    ///   - slots: messages that follow, all of them: `flush` waits for so many.
    ///   - checkpointSlot: which of them is not anybody's record.
    func begin(slots: Int, checkpointSlot: Int? = nil) {
        reports.begin(slots: slots)
        self.checkpointSlot = checkpointSlot
    }

    /// Queues a record, with what names it in its headers.
    func send(
        _ outgoing: OutgoingRecord, to place: Place, slot: Int, _ patience: Patience
    ) throws(BrokerError) {
        let record = outgoing.spooled.record
        let headers = rd_kafka_headers_new(record.headers.count + 1)
        for header in record.headers {
            _ = withPointer(header.value) { value, count in
                rd_kafka_header_add(headers, header.name, header.name.utf8.count, value, count)
            }
        }
        let id = "\(idPrefix)\(outgoing.lsn.rawValue)"
        rd_kafka_header_add(headers, RecordID.header, RecordID.header.utf8.count, id, id.utf8.count)
        do {
            try produce(
                topics[place.topic].handle, place.partition, key: record.key, value: record.value,
                timestampMs: record.timestampMs, headers: headers, slot: slot, patience)
        } catch {
            rd_kafka_headers_destroy(headers)
            throw error
        }
    }

    func send(_ checkpoint: SinkCheckpoint, slot: Int, _ patience: Patience) throws(BrokerError) {
        let topic: TopicHandle
        if let known = checkpointTopic {
            topic = known
        } else {
            topic = try TopicHandle(settings.checkpointTopic, of: client)
            checkpointTopic = topic
        }
        try produce(
            topic, CheckpointTopic.partition(lane: lane), key: checkpointKey,
            value: CheckpointTopic.encode(checkpoint), timestampMs: SystemClock().wallMilliseconds(), headers: nil,
            slot: slot, patience)
    }

    private func produce(
        _ topic: TopicHandle, _ partition: Int32, key: ByteSlice?, value: ByteSlice?, timestampMs: Int64,
        headers: OpaquePointer?, slot: Int, _ patience: Patience
    ) throws(BrokerError) {
        // librdkafka takes 0 for "now"; 1970 itself cannot be said.
        let timestampMs = timestampMs == 0 ? 1 : timestampMs
        var code = RD_KAFKA_RESP_ERR_NO_ERROR
        var isFull = false
        while true {
            code = withPointer(key) { key, keyBytes in
                withPointer(value) { value, valueBytes in
                    pr_produce(
                        client.handle, topic.pointer, partition, key, keyBytes, value, valueBytes, timestampMs, headers,
                        DeliveryReports.opaque(slot: slot))
                }
            }
            guard code == RD_KAFKA_RESP_ERR__QUEUE_FULL, let left = try patience.next() else { break }
            // Once, however long it takes.
            if !isFull { Limit.kafkaProducerQueue.reached() }
            isFull = true
            rd_kafka_poll(client.handle, min(left, Self.queueFullWaitMs))
        }
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        throw refusal(KafkaError(code), slot: slot)
    }

    /// Waits until every message has its report. Blocks.
    ///
    /// - Parameter probe: called between waits: throws when no report will ever come.
    /// - Throws: at the first message that failed; when the time is over, what kept the cluster.
    func flush(_ patience: Patience, probe: () throws(BrokerError) -> Void = {}) throws(BrokerError) {
        while reports.outstanding > 0 {
            if let failure = reports.failure { throw refusal(failure.error, slot: failure.slot) }
            if let fatal = client.fatalError { throw ErrorTable.brokerError(fatal) }
            guard let slice = try patience.next() else { throw timedOut() }
            if rd_kafka_flush(client.handle, slice) != RD_KAFKA_RESP_ERR_NO_ERROR { try probe() }
        }
        if let failure = reports.failure { throw refusal(failure.error, slot: failure.slot) }
    }

    /// The reason why a message was refused, which is reported soon. Blocks.
    func awaitRefusal(_ patience: Patience) throws(BrokerError) -> BrokerError? {
        while true {
            if let failure = reports.failure { return refusal(failure.error, slot: failure.slot) }
            guard let slice = try patience.next() else { return nil }
            rd_kafka_poll(client.handle, slice)
        }
    }

    /// Whose fault it is that a message was not taken.
    private func refusal(_ error: KafkaError, slot: Int) -> BrokerError {
        let known = ErrorTable.brokerError(error)
        switch known.class {
        case .recordFatal where slot == checkpointSlot:
            // Shares the transaction, and is nobody's record.
            return BrokerError(.retriable, code: "checkpoint_refused", detail: known.detail, alarm: true)
        case .processFatal:
            // Of one topic: not a reason to end everything. (What the cluster does not grant is found on opening.)
            return BrokerError(.retriable, code: known.code, detail: known.detail, alarm: true)
        case .retriable where known.code == BrokerError.topicMissingCode:
            // Fresh metadata knew it a moment ago: the next opening asks again, and says so if it is gone.
            return BrokerError(.retriable, code: "metadata_stale", detail: known.detail)
        case .retriable where known.code == "timed_out":
            return timedOut()
        default: return known
        }
    }

    /// Time is over: what the client said about the cluster meanwhile is the reason, else it was too slow.
    private func timedOut() -> BrokerError {
        guard let reason = reports.clientError else {
            return BrokerError(
                .sinkFatal, code: BrokerError.transactionTimedOutCode,
                detail: "not everything was acknowledged within \(settings.transactionTimeout)")
        }
        return ErrorTable.brokerError(reason)
    }

    /// By slot, once everything is acknowledged.
    func deliveries(of batch: [OutgoingRecord], _ places: [Place]) -> [Delivery] {
        let placed = reports.placed
        return batch.indices.map { slot in
            Delivery(
                lsn: batch[slot].lsn,
                partition: TopicPartition(topic: topics[places[slot].topic].name, partition: places[slot].partition),
                offset: placed[slot].offset, timestampMs: placed[slot].timestampMs)
        }
    }

    // MARK: - Life

    /// Runs what librdkafka has to say while the lane is idle, so that it does not pile up. Never waits. Any thread.
    func serve() {
        // Under the lock so that `close` does not destroy the client meanwhile; nothing here waits.
        isOpen.withLock { isOpen in
            if isOpen { rd_kafka_poll(client.handle, 0) }
        }
    }

    /// Gives up what is queued. More than once does nothing more.
    func close() {
        isOpen.withLock { $0 = false }
        // Before their client.
        topics = []
        indices = [:]
        checkpointTopic = nil
        client.close(within: settings.closeTimeout)
    }
}

/// A topic as its producer knows it. Must go before its client is closed.
// SAFETY: immutable; librdkafka's topics may be used by any thread.
private final class TopicHandle: @unchecked Sendable {
    let pointer: OpaquePointer

    init(_ name: String, of client: KafkaClient) throws(BrokerError) {
        guard let pointer = rd_kafka_topic_new(client.handle, name, nil) else {
            throw ErrorTable.brokerError(KafkaError(rd_kafka_last_error()))
        }
        self.pointer = pointer
    }

    deinit { rd_kafka_topic_destroy(pointer) }
}

/// The header by which a reader finds out which accepted record it has before it.
enum RecordID {
    static let header = RecordBatchSize.identityHeader

    /// What stands before the LSN: together they are the record's receipt.
    static func prefix(_ spool: SpoolID) -> String { "\(spool.short)-" }
}

/// A pointer that is null only for nil: for Kafka an empty key, value or header is not the same as none.
func withPointer<Result>(_ bytes: ByteSlice?, _ body: (UnsafeRawPointer?, Int) -> Result) -> Result {
    guard let bytes else { return body(nil, 0) }
    return bytes.withUnsafeBytes { raw in
        // Nothing is read through the address of no bytes.
        body(raw.baseAddress ?? UnsafeRawPointer(bitPattern: 1), raw.count)
    }
}
