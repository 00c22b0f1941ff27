import Broker
import CRdkafka

/// How many partitions topics have, from the cluster's own answer.
enum PartitionCounts {
    /// Asks the cluster now. Blocks; creates nothing.
    ///
    /// - Returns: from 1; nil: the cluster says that there is no such topic.
    /// - Throws: retriable, when it does not say.
    static func fetch(_ topic: String, _ client: KafkaClient, _ patience: Patience) throws(BrokerError) -> Int32? {
        guard let handle = rd_kafka_topic_new(client.handle, topic, nil) else {
            throw ErrorTable.brokerError(KafkaError(rd_kafka_last_error(), topic))
        }
        defer { rd_kafka_topic_destroy(handle) }
        var last = KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, "metadata of \(topic)")
        while let slice = try patience.next(Patience.requestSlice) {
            var answer: UnsafePointer<rd_kafka_metadata>?
            let code = rd_kafka_metadata(client.handle, 0, handle, &answer, slice)
            guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let answer else {
                last = KafkaError(code, "metadata of \(topic): \(KafkaError(code).text)")
                guard ErrorTable.entry(for: code).meaning == .retriable else { break }
                continue
            }
            defer { rd_kafka_metadata_destroy(answer) }
            guard answer.pointee.topic_cnt == 1, let found = answer.pointee.topics else { continue }
            switch found.pointee.err {
            case RD_KAFKA_RESP_ERR_NO_ERROR where found.pointee.partition_cnt > 0: return found.pointee.partition_cnt
            case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART: return nil
            case let code:
                throw ErrorTable.brokerError(
                    KafkaError(
                        code == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE : code,
                        "metadata of \(topic): \(KafkaError(code).text)"))
            }
        }
        throw ErrorTable.brokerError(last)
    }
}
