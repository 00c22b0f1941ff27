import Broker
import CRdkafka
import Glibc
import Primitives
import Records

extension KafkaClient {
    /// Where a partition begins and ends, for readers of committed records unless the client is a producer. Blocks, for
    /// at most `limit` and the metadata request that follows a failure; less where failures come at once.
    ///
    /// (`rd_kafka_query_watermark_offsets` keeps no deadline once its requests are queued for a leader that is gone,
    /// and never learns of the new one.)
    ///
    /// - Parameter interruption: looked at between tries.
    /// - Throws: `unknown_topic` and `unknown_partition` when fresh metadata say so, else by `ErrorTable`.
    func watermarks(
        of place: TopicPartition, within limit: Duration, _ interruption: Interruption = Interruption()
    ) throws(BrokerError) -> (low: Int64, high: Int64) {
        let deadline = SystemClock().now() + limit
        var pause = Backoff(initial: .milliseconds(20), cap: .milliseconds(500))
        var tries = Self.watermarkTries
        while true {
            tries -= 1
            // A try that hangs on a leader that is gone leaves time for one at the next.
            let part = min(deadline - SystemClock().now(), limit / 2)
            do throws(KafkaError) {
                let low = try offset(of: place, at: Self.beginning, within: part)
                return (low, max(low, try offset(of: place, at: Self.end, within: part)))
            } catch {
                if interruption.isSet { throw .interrupted }
                // Also tells the client of a leader that has moved.
                try confirm(place, within: max(.milliseconds(100), min(part, deadline - SystemClock().now())))
                let isPassing = ErrorTable.entry(for: error.code).meaning == .retriable
                let next = pause.nextDelay()
                guard isPassing, tries > 0, SystemClock().now() + next < deadline else {
                    throw ErrorTable.brokerError(error)
                }
                usleep(UInt32(next.wholeMilliseconds) * 1_000)
            }
        }
    }

    /// With their pauses 2 to 4 s: the brokers of a topic that was just made need some time to know of it.
    private static let watermarkTries = 12
    /// What ListOffsets takes in place of a time.
    private static let (end, beginning): (Int64, Int64) = (-1, -2)

    private func offset(of place: TopicPartition, at time: Int64, within limit: Duration) throws(KafkaError) -> Int64 {
        let list = TopicPartitionList()
        list.add(place, offset: time)
        try check(list.withPointer { rd_kafka_offsets_for_times(handle, $0, limit.timeoutMs) })
        guard let found = list.elements.first else { throw KafkaError(RD_KAFKA_RESP_ERR__BAD_MSG) }
        try check(found.error)
        guard found.offset >= 0 else { throw KafkaError(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) }
        return found.offset
    }

    /// Fetches the topic's metadata. Blocks.
    ///
    /// - Throws: `unknown_topic` or `unknown_partition` when they say so; anything else is not an error here.
    func confirm(_ place: TopicPartition, within limit: Duration) throws(BrokerError) {
        guard let topic = rd_kafka_topic_new(handle, place.topic.text, nil) else { return }
        defer { rd_kafka_topic_destroy(topic) }
        var found: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(handle, 0, topic, &found, Int32(limit.wholeMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata = found else { return }
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
