import Broker
import CRdkafka
import Logging
import Primitives
import Records

/// The compacted topic in which each lane of each spool keeps how far it was handed over.
///
/// Key: the spool's UUID and the lane, `f81d4fae-7dec-41d0-a765-00a0c91e6bf6/3`. The partition is `lane % 8`, whatever
/// the topic has: it must never move. Value, little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 1 | form, 1 |
/// | 4 | epoch of the process that wrote it |
/// | 8 | LSN |
/// | 8 | nonce of the process |
enum CheckpointTopic {
    /// Partitions in use; a topic that somebody created with fewer is refused.
    static let partitions: Int32 = 8
    private static let form: UInt8 = 1

    /// What it is created with. Only closed segments are compacted, so small ones keep reading at a start short; 1 MiB
    /// is the least that Kafka 4 takes (KIP-1030).
    static let configuration = [
        "cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01",
        "unclean.leader.election.enable": "false",
    ]

    static func partition(lane: Int) -> Int32 { Int32(lane) % partitions }

    static func key(spool: SpoolID, lane: Int) -> ByteSlice { Array("\(spool)/\(lane)".utf8)[...] }

    static func encode(_ checkpoint: SinkCheckpoint) -> ByteSlice {
        var writer = ByteWriter(capacity: 21)
        writer.integer(form)
        writer.integer(checkpoint.epoch)
        writer.integer(checkpoint.lsn.rawValue)
        writer.integer(checkpoint.nonce)
        return writer.bytes[...]
    }

    static func decode(_ value: ByteSlice) throws(MalformedBytes) -> SinkCheckpoint {
        var reader = ByteReader(value)
        let form: UInt8 = try reader.integer()
        guard form == Self.form else { throw MalformedBytes("form \(form)") }
        let epoch: UInt32 = try reader.integer()
        let lsn = LSN(rawValue: try reader.integer())
        let nonce: UInt64 = try reader.integer()
        guard reader.remaining == 0 else { throw MalformedBytes("\(reader.remaining) bytes too many") }
        return SinkCheckpoint(lsn: lsn, epoch: epoch, nonce: nonce)
    }

    /// - Throws: process-fatal for a name that Kafka would not take.
    static func name(_ settings: KafkaBrokerSettings) throws(BrokerError) -> TopicName {
        if let name = TopicName(settings.checkpointTopic) { return name }
        throw BrokerError(
            .processFatal, code: "invalid_configuration",
            detail: "the topic of checkpoints cannot be named \(settings.checkpointTopic)")
    }

    /// Creates the topic where the cluster does not have it. Blocks.
    static func ensure(
        _ client: KafkaClient, _ settings: KafkaBrokerSettings, _ interruption: Interruption, _ log: Logger
    ) throws(BrokerError) {
        let topic = try name(settings)
        var count = try client.partitions(of: topic, Patience(settings.socketTimeout, interruption))
        if count == nil {
            let patience = Patience(settings.adminTimeout, interruption)
            try create(topic, client, settings, patience)
            while count == nil, let slice = try patience.next() {
                count = try client.partitions(of: topic, patience)
                if count == nil { rd_kafka_poll(client.handle, slice) }
            }
            guard count != nil else { throw .timedOut("waiting for \(topic) to exist") }
            log.notice(
                "created the topic of checkpoints",
                metadata: [
                    "topic": "\(topic)", "partitions": "\(partitions)",
                    "replication": "\(settings.replicationFactor.map(String.init) ?? "the cluster's default")",
                ])
        }
        guard let count, count >= partitions else {
            throw BrokerError(
                .processFatal, code: "checkpoint_topic_invalid",
                detail: "topic \(topic) has \(count ?? 0) partitions and needs \(partitions): add partitions to it")
        }
    }

    private static func create(
        _ topic: TopicName, _ client: KafkaClient, _ settings: KafkaBrokerSettings, _ patience: Patience
    ) throws(BrokerError) {
        let clock = SystemClock()
        let new = AdminClient.NewTopic(
            partitions: partitions, replicationFactor: settings.replicationFactor ?? -1, configuration: configuration)
        // Asked again as long as nobody answers: that it exists is an answer too.
        while let slice = try patience.next(Patience.requestSlice) {
            do throws(KafkaError) {
                return try AdminClient(client: client, clock: clock)
                    .create(topic, new, until: clock.now() + .milliseconds(Int64(slice)))
            } catch {
                switch error.code {
                case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS: return
                case RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT: continue
                default:
                    throw ErrorTable.brokerError(KafkaError(error.code, "creating \(topic): \(error.text)"))
                }
            }
        }
        throw .timedOut("creating \(topic)")
    }
}
