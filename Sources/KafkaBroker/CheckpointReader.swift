import Broker
import CRdkafka
import Primitives
import Records

/// Reads how far a lane was handed over: everything of its partition of the checkpoint topic, from the low watermark to
/// the end that the log had when it was asked. Compaction with segments of 1 MiB keeps that to a few MiB, a fraction of
/// a second.
struct CheckpointReader {
    /// Longer than the broker needs to end a transaction that timed out (its check every 10 s).
    private static let abortedAfter = Duration.seconds(15)
    /// The last position is known by the end-of-partition event, which comes with an empty fetch.
    private static let fetchWait = Duration.milliseconds(50)
    private static let prefetchBytes = 1 << 20

    let settings: KafkaBrokerSettings
    let interruption: Interruption
    /// How long nothing may come before the end is reached.
    let stillMax: Duration

    init(settings: KafkaBrokerSettings, interruption: Interruption, stillMax: Duration? = nil) {
        self.settings = settings
        self.interruption = interruption
        self.stillMax = stillMax ?? settings.transactionTimeout + Self.abortedAfter
    }

    /// Blocks while another gateway's transaction is open on the partition: what lies behind its first record, perhaps
    /// our own checkpoint, is hidden from `read_committed` until it ends.
    ///
    /// - Parameter producer: a client that asks for the `read_uncommitted` end; after `init_transactions` nothing of
    ///   this lane is open any more, so its last checkpoint lies below that end.
    /// - Returns: nil: everything up to that end was read, and there is none.
    /// - Throws: retriable for every read that did not get that far; with an alarm when the cluster says for
    ///   `socketTimeout` that there is no such topic.
    func read(spool: SpoolID, lane: Int, end producer: KafkaClient) throws(BrokerError) -> SinkCheckpoint? {
        let partition = CheckpointTopic.partition(lane: lane)
        let (low, end) = try watermarks(partition, producer)
        guard low < end else { return nil }
        var configuration = ClientConfiguration(settings: settings, role: .reader, prefetchBytes: Self.prefetchBytes)
        configuration.fetchWait = Self.fetchWait
        let client = try KafkaClient(configuration)
        defer { client.close(within: .seconds(1)) }
        // By number: librdkafka would ask for the beginning before it knows the leader, and again half a second later.
        let partitions = rd_kafka_topic_partition_list_new(1)
        defer { rd_kafka_topic_partition_list_destroy(partitions) }
        rd_kafka_topic_partition_list_add(partitions, settings.checkpointTopic, partition)?.pointee.offset = low
        do {
            try check(rd_kafka_assign(client.handle, partitions))
        } catch {
            throw ErrorTable.brokerError(error)
        }
        return try newest(of: CheckpointTopic.key(spool: spool, lane: lane), upTo: end, client)
    }

    private func watermarks(
        _ partition: Int32, _ client: KafkaClient
    ) throws(BrokerError) -> (low: Int64, high: Int64) {
        let topic = try OwnTopic(named: settings.checkpointTopic, settings).name
        let patience = Patience(settings.socketTimeout, interruption)
        while true {
            do throws(BrokerError) {
                return try client.watermarks(
                    of: TopicPartition(topic: topic, partition: partition), within: settings.socketTimeout,
                    interruption)
            } catch {
                guard error.class == .recordFatal else { throw error }
                // It was there a moment ago, and is nobody's record: brokers learn of a new topic one after the other,
                // and another one may have been asked then.
                if let slice = try patience.next() {
                    rd_kafka_poll(client.handle, slice)
                    continue
                }
                throw BrokerError(.retriable, code: "checkpoint_unread", detail: error.detail, alarm: true)
            }
        }
    }

    private func newest(
        of key: ByteSlice, upTo end: Int64, _ client: KafkaClient
    ) throws(BrokerError) -> SinkCheckpoint? {
        // As long as it comes nearer: a cluster whose cleaner stands still keeps every checkpoint ever written.
        var patience = Patience(stillMax, interruption)
        var newest: SinkCheckpoint?
        var position: Int64 = -1
        while let slice = try patience.next() {
            guard let message = rd_kafka_consumer_poll(client.handle, slice) else { continue }
            defer { rd_kafka_message_destroy(message) }
            switch message.pointee.err {
            case RD_KAFKA_RESP_ERR__PARTITION_EOF:
                // The end for read_committed: at an open transaction it stays below ours.
                position = message.pointee.offset
            case RD_KAFKA_RESP_ERR_NO_ERROR:
                if bytes(message.pointee.key, message.pointee.key_len) == key {
                    newest = try value(of: message)
                }
                position = message.pointee.offset + 1
                patience = Patience(stillMax, interruption)
            // Nothing here belongs to a group.
            case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED: continue
            case let code:
                throw ErrorTable.brokerError(KafkaError(code, "reading \(settings.checkpointTopic)"))
            }
            if position >= end { return newest }
        }
        throw BrokerError(
            .retriable, code: "checkpoint_unread",
            detail:
                "\(settings.checkpointTopic) was read to \(position) of \(end), and nothing more comes: a transaction "
                + "of somebody else is open")
    }

    private func value(of message: UnsafeMutablePointer<rd_kafka_message_t>) throws(BrokerError) -> SinkCheckpoint? {
        guard let value = bytes(message.pointee.payload, message.pointee.len) else { return nil }
        do throws(MalformedBytes) {
            return try CheckpointTopic.decode(value)
        } catch {
            throw BrokerError(
                .processFatal, code: "checkpoint_unreadable",
                detail: "\(settings.checkpointTopic)/\(message.pointee.partition) at \(message.pointee.offset): "
                    + "\(error.what); a newer Postrider wrote it, or somebody else")
        }
    }

    private func bytes(_ pointer: UnsafeMutableRawPointer?, _ count: Int) -> ByteSlice? {
        guard let pointer else { return nil }
        return Array(UnsafeRawBufferPointer(start: pointer, count: count))[...]
    }
}
