import Broker
import CRdkafka
import CoreMetrics
import Records

/// What reading and committing refuse by name.
extension BrokerError {
    static func leftGroup(_ consumer: ConsumerName) -> BrokerError {
        BrokerError(.retriable, code: "subscription_closed", detail: "\(consumer) left its group")
    }

    static func notAssigned(_ partition: TopicPartition, _ consumer: ConsumerName) -> BrokerError {
        BrokerError(
            .retriable, code: "partition_not_assigned",
            detail: "\(partition) is not, or not any more, assigned to this member of \(consumer)'s group")
    }

    static func noRecordsInTime(_ partition: TopicPartition) -> BrokerError {
        BrokerError(.retriable, code: "timed_out", detail: "the cluster did not answer a fetch of \(partition) in time")
    }

    static func beyondEnd(_ partition: TopicPartition, _ position: Int64, end: Int64) -> BrokerError {
        BrokerError(
            .retriable, code: "offset_beyond_end",
            detail: "\(partition): to be read from \(position), ends at \(end): "
                + "it lost records or was made anew; seek the consumer")
    }

    /// - Parameter reading: what does not exist is the request's fault, as it is on every broker.
    static func unknownTopic(reading partition: TopicPartition) -> BrokerError {
        BrokerError(.recordFatal, code: "unknown_topic", detail: "there is no topic \(partition.topic)")
    }

    static func unknownPartition(_ partition: TopicPartition, count: Int32) -> BrokerError {
        BrokerError(
            .recordFatal, code: "unknown_partition",
            detail: "\(partition): the topic has partitions 0 to \(count - 1)")
    }

    static func tooMany(_ code: String, _ limit: Int) -> BrokerError {
        BrokerError(.retriable, code: code, detail: "the limit is \(limit)")
    }

    /// Live members, of another gateway or program, keep a group's offsets from being changed from outside.
    static func activeElsewhere(_ consumer: ConsumerName, _ detail: String) -> BrokerError {
        BrokerError(
            .retriable, code: "consumer_active_elsewhere",
            detail: "the group of \(consumer) has live members elsewhere: \(detail)")
    }

    /// Why offsets were not committed. Whatever it is, repeating it later may help.
    static func commit(_ error: KafkaError, of consumer: ConsumerName) -> BrokerError {
        switch error.code {
        case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
            RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
            BrokerError(.retriable, code: "group_rebalancing", detail: "\(consumer): \(error)")
        default:
            BrokerError(
                .retriable, code: ErrorTable.entry(for: error.code).label, detail: "\(consumer): \(error)")
        }
    }
}

/// Of reading; without names, since there may be hundreds of consumers.
enum SourceMetrics {
    static let live = Gauge(label: "postrider_kafka_consumers_live")
    static let refusedConsumers = Counter(label: "postrider_kafka_consumers_refused_total")
    /// Partitions that wait because nobody takes what is fetched of them.
    static let pauses = Counter(label: "postrider_kafka_consumer_pauses_total")
    static let refusedCalls = Counter(label: "postrider_kafka_consumer_calls_refused_total")
    static let refusedReads = Counter(label: "postrider_kafka_reads_refused_total")
    static let refusedWatches = Counter(label: "postrider_kafka_watches_refused_total")
}
