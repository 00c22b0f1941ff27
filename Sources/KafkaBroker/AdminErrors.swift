import Broker
import CRdkafka
import Records

// What Kafka's refusals of administrative calls mean, in the words that the API knows. What is not among them means
// what it does anywhere (`ErrorTable`).

extension BrokerError {
    init(topic: TopicName, _ error: KafkaError) {
        let code: String
        switch error.code {
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC: code = "unknown_topic"
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: code = "unknown_partition"
        case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: code = "offset_out_of_range"
        case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS: code = "invalid_partitions"
        case RD_KAFKA_RESP_ERR_INVALID_CONFIG: code = "invalid_topic_settings"
        case RD_KAFKA_RESP_ERR_POLICY_VIOLATION, RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR,
            RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT, RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED,
            RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, RD_KAFKA_RESP_ERR_INVALID_REQUEST:
            code = "broker_refused"
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
            // What was withdrawn may be given back.
            self.init(.retriable, code: "broker_denied", detail: "\(topic): \(error)")
            return
        case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
            // Of this call; the others go on.
            code = "broker_refused"
        default:
            self = ErrorTable.brokerError(error)
            return
        }
        self.init(.recordFatal, code: code, detail: "\(topic): \(error)")
    }

    static func adminBusy(_ waiting: Int) -> BrokerError {
        BrokerError(.retriable, code: "broker_busy", detail: "\(waiting) administrative calls are waiting")
    }

    static let adminClosed = BrokerError(.retriable, code: "broker_closed", detail: "the gateway is stopping")

    static func unknownTopic(_ topic: TopicName) -> BrokerError {
        BrokerError(.recordFatal, code: "unknown_topic", detail: "there is no topic \(topic)")
    }
}
