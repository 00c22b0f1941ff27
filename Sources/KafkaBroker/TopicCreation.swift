import Broker
import CRdkafka

/// Creates a topic and waits for it, blocking: for those that a hand-over needs.
enum TopicCreation {
    /// - Parameters:
    ///   - partitions: nil: the cluster's `num.partitions` (Kafka 2.4 and newer).
    ///   - replicationFactor: nil: the cluster's `default.replication.factor` (likewise).
    /// - Throws: also when the cluster does not answer in time; that it exists already is success.
    static func create(
        _ topic: String, partitions: Int32?, replicationFactor: Int16?, configuration: [String: String],
        _ client: KafkaClient, _ patience: Patience
    ) throws(BrokerError) {
        var reason = [CChar](repeating: 0, count: 512)
        guard
            var new = Optional(
                rd_kafka_NewTopic_new(
                    topic, partitions ?? -1, replicationFactor.map(Int32.init) ?? -1, &reason, reason.count))
        else {
            throw BrokerError(.retriable, code: "invalid_topic_configuration", detail: "\(topic): \(text(reason))")
        }
        defer { rd_kafka_NewTopic_destroy(new) }
        for (name, value) in configuration { rd_kafka_NewTopic_set_config(new, name, value) }
        let options = rd_kafka_AdminOptions_new(client.handle, RD_KAFKA_ADMIN_OP_CREATETOPICS)
        defer { rd_kafka_AdminOptions_destroy(options) }
        let queue = rd_kafka_queue_new(client.handle)
        defer { rd_kafka_queue_destroy(queue) }
        withUnsafeMutablePointer(to: &new) { new in
            rd_kafka_CreateTopics(client.handle, new, 1, options, queue)
        }
        while let slice = try patience.next() {
            guard let event = rd_kafka_queue_poll(queue, slice) else { continue }
            defer { rd_kafka_event_destroy(event) }
            let code = rd_kafka_event_error(event)
            guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
                throw ErrorTable.brokerError(KafkaError(code, String(cString: rd_kafka_event_error_string(event))))
            }
            var count = 0
            guard let result = rd_kafka_event_CreateTopics_result(event),
                let topics = rd_kafka_CreateTopics_result_topics(result, &count), count == 1
            else { continue }
            let created = rd_kafka_topic_result_error(topics[0])
            guard created != RD_KAFKA_RESP_ERR_NO_ERROR, created != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS else {
                return
            }
            let words = rd_kafka_topic_result_error_string(topics[0]).map { String(cString: $0) }
            throw ErrorTable.brokerError(KafkaError(created, "creating \(topic): \(words ?? "")"))
        }
        throw ErrorTable.brokerError(KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, "creating \(topic)"))
    }

    /// Until metadata tells the topic's partitions.
    static func wait(for topic: String, _ client: KafkaClient, _ patience: Patience) throws(BrokerError) -> Int32 {
        while let slice = try patience.next() {
            if let count = try PartitionCounts.fetch(topic, client, patience) { return count }
            rd_kafka_poll(client.handle, slice)
        }
        throw ErrorTable.brokerError(KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, "waiting for \(topic) to exist"))
    }
}
