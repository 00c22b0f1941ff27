import Broker
import CRdkafka
import Primitives
import Records

/// The compacted topic in which consumers' definitions are kept for every gateway on the cluster: key the consumer's
/// name, value the definition's bytes, none where it was forgotten. Everything is in partition 0, so that there is one
/// order of changes.
///
/// Header `postrider-writer`: 8 bytes that name the process and 8 that number its writes, little-endian, so that a
/// process knows what it wrote itself.
enum DefinitionsTopic {
    static let partition: Int32 = 0
    static let writerHeader = "postrider-writer"
    static let configuration = ["cleanup.policy": "compact", "unclean.leader.election.enable": "false"]

    struct Change {
        var name: ConsumerName
        /// nil: forgotten.
        var bytes: ByteSlice?
        var writer: Writer?
    }

    struct Writer: Equatable {
        var process: UInt64
        var number: UInt64

        var bytes: [UInt8] {
            var writer = ByteWriter(capacity: 16)
            writer.integer(process)
            writer.integer(number)
            return writer.bytes
        }

        init(process: UInt64, number: UInt64) {
            self.process = process
            self.number = number
        }

        init?(_ bytes: ByteSlice?) {
            guard let bytes, bytes.count == 16 else { return nil }
            process = bytes.littleEndian(at: bytes.startIndex)
            number = bytes.littleEndian(at: bytes.startIndex + 8)
        }
    }

    /// nil for a record that no gateway wrote.
    static func change(_ message: FetchedMessage) -> Change? {
        guard let key = message.key, let name = ConsumerName(String(decoding: key, as: UTF8.self)) else { return nil }
        let header = message.headers.first { $0.name == writerHeader }
        return Change(name: name, bytes: message.value, writer: Writer(header?.value))
    }

    /// Creates the topic where the cluster does not have it. Blocks.
    static func ensure(_ client: KafkaClient, _ place: TopicPartition, _ settings: KafkaBrokerSettings)
        throws(BrokerError)
    {
        do throws(BrokerError) {
            try client.confirm(place, within: settings.adminTimeout)
            return
        } catch {
            guard error.code == "unknown_topic" else { throw error }
        }
        do throws(KafkaError) {
            try create(client, settings)
        } catch {
            switch error.code {
            // Another gateway was faster; or the cluster creates topics by itself only.
            case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE: break
            default: throw ErrorTable.brokerError(error)
            }
        }
    }

    private static func create(_ client: KafkaClient, _ settings: KafkaBrokerSettings) throws(KafkaError) {
        var reason = [CChar](repeating: 0, count: 512)
        let replication = Int32(settings.replicationFactor ?? -1)
        guard
            let made = rd_kafka_NewTopic_new(settings.consumersTopic, 1, replication, &reason, reason.count)
        else { throw KafkaError(RD_KAFKA_RESP_ERR_INVALID_CONFIG, text(reason)) }
        defer { rd_kafka_NewTopic_destroy(made) }
        for (name, value) in configuration { try check(rd_kafka_NewTopic_set_config(made, name, value)) }
        var new = Optional(made)
        try client.administer(RD_KAFKA_ADMIN_OP_CREATETOPICS, within: settings.adminTimeout) { options, queue in
            rd_kafka_CreateTopics(client.handle, &new, 1, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            let topics = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
            for topic in UnsafeBufferPointer(start: topics, count: count) {
                try check(rd_kafka_topic_result_error(topic))
            }
        }
    }
}
