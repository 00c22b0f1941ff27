import Broker
import CRdkafka
import Primitives
import Records

extension KafkaClient {
    /// Where a partition begins and ends for readers of committed records, asked of the cluster. Blocks.
    ///
    /// - Throws: `unknown_topic` and `unknown_partition` when fresh metadata say so, else by `ErrorTable`.
    func watermarks(of place: TopicPartition, within limit: Duration) throws(BrokerError) -> (low: Int64, high: Int64) {
        let timeoutMs = Int32(limit.wholeMilliseconds)
        var (low, high): (Int64, Int64) = (0, 0)
        do throws(KafkaError) {
            try check(
                rd_kafka_query_watermark_offsets(
                    handle, place.topic.text, place.partition, &low, &high, timeoutMs))
            return (low, high)
        } catch {
            switch error.code {
            case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
                try confirm(place, timeoutMs)
            default: break
            }
            throw ErrorTable.brokerError(error)
        }
    }

    private func confirm(_ place: TopicPartition, _ timeoutMs: Int32) throws(BrokerError) {
        guard let topic = rd_kafka_topic_new(handle, place.topic.text, nil) else { return }
        defer { rd_kafka_topic_destroy(topic) }
        var found: UnsafePointer<rd_kafka_metadata>?
        guard rd_kafka_metadata(handle, 0, topic, &found, timeoutMs) == RD_KAFKA_RESP_ERR_NO_ERROR,
            let metadata = found
        else { return }
        defer { rd_kafka_metadata_destroy(metadata) }
        let topics = UnsafeBufferPointer(start: metadata.pointee.topics, count: Int(metadata.pointee.topic_cnt))
        guard let description = topics.first else { return }
        switch description.err {
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
            throw .unknownTopic(reading: place)
        case RD_KAFKA_RESP_ERR_NO_ERROR where place.partition >= description.partition_cnt:
            throw .unknownPartition(place, count: description.partition_cnt)
        default: break
        }
    }
}
