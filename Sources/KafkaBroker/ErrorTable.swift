import Broker
import CRdkafka

/// What each error of Kafka and librdkafka means for a hand-over: one table. A code that is not in it is retriable, and
/// raises an alarm: nothing is dropped because of an error that nobody knew.
enum ErrorTable {
    struct Entry {
        var code: rd_kafka_resp_err_t
        var meaning: BrokerError.Class
        /// Stable, snake_case: a metric label and a log field.
        var label: String
        /// Somebody must look: it does not pass by itself.
        var alarm: Bool
    }

    static func entry(for code: rd_kafka_resp_err_t) -> Entry {
        byCode[code.rawValue]
            ?? Entry(code: code, meaning: .retriable, label: "unexpected_\(code.rawValue)", alarm: true)
    }

    static func brokerError(_ error: KafkaError) -> BrokerError {
        let entry = entry(for: error.code)
        // A client that turned fatal over a transient error is of no use all the same.
        let meaning = error.isFatal && entry.meaning == .retriable ? .sinkFatal : entry.meaning
        ErrorMetrics.count(entry, meaning)
        return BrokerError(meaning, code: entry.label, detail: error.description, alarm: entry.alarm)
    }

    /// Of a transactional call: what is neither fatal nor abortable nor retriable left the producer in a state that
    /// nobody knows.
    static func transactionError(_ error: KafkaError) -> BrokerError {
        var error = error
        if !error.requiresAbort, !error.isRetriable { error.isFatal = true }
        return brokerError(error)
    }

    private static let byCode = Dictionary(
        entries.map { ($0.code.rawValue, $0) }, uniquingKeysWith: { first, _ in first })

    static let entries: [Entry] = transient + needsSomebody + record + producer + fencing + configuration

    private static func group(
        _ meaning: BrokerError.Class, alarm: Bool = false, _ codes: [(rd_kafka_resp_err_t, String)]
    ) -> [Entry] {
        codes.map { Entry(code: $0.0, meaning: meaning, label: $0.1, alarm: alarm) }
    }

    /// They pass by themselves.
    private static let transient = group(
        .retriable,
        [
            (RD_KAFKA_RESP_ERR__TRANSPORT, "broker_unreachable"),
            (RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "brokers_down"),
            (RD_KAFKA_RESP_ERR__RESOLVE, "broker_unresolvable"),
            (RD_KAFKA_RESP_ERR__TIMED_OUT, "timed_out"),
            (RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, "timed_out"),
            (RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, "timed_out"),
            (RD_KAFKA_RESP_ERR__WAIT_COORD, "coordinator_unavailable"),
            (RD_KAFKA_RESP_ERR__WAIT_CACHE, "metadata_unavailable"),
            (RD_KAFKA_RESP_ERR__QUEUE_FULL, "queue_full"),
            (RD_KAFKA_RESP_ERR__RETRY, "retry"),
            (RD_KAFKA_RESP_ERR__INTR, "interrupted"),
            (RD_KAFKA_RESP_ERR__CONFLICT, "concurrent_call"),
            (RD_KAFKA_RESP_ERR__IN_PROGRESS, "concurrent_call"),
            (RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS, "concurrent_call"),
            (RD_KAFKA_RESP_ERR__NODE_UPDATE, "broker_moved"),
            (RD_KAFKA_RESP_ERR__UNKNOWN_BROKER, "broker_moved"),
            (RD_KAFKA_RESP_ERR__OUTDATED, "concurrent_call"),
            (RD_KAFKA_RESP_ERR__ISR_INSUFF, "not_enough_replicas"),
            (RD_KAFKA_RESP_ERR__BAD_COMPRESSION, "malformed_answer"),
            (RD_KAFKA_RESP_ERR__BAD_MSG, "malformed_answer"),
            (RD_KAFKA_RESP_ERR__UNDERFLOW, "malformed_answer"),
            (RD_KAFKA_RESP_ERR_INVALID_MSG, "corrupt_message"),
            (RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, "leader_not_available"),
            (RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, "leader_moved"),
            (RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, "timed_out"),
            (RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, "broker_not_available"),
            (RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, "replica_not_available"),
            (RD_KAFKA_RESP_ERR_STALE_CTRL_EPOCH, "controller_moved"),
            (RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, "broker_unreachable"),
            (RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, "coordinator_unavailable"),
            (RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, "coordinator_unavailable"),
            (RD_KAFKA_RESP_ERR_NOT_COORDINATOR, "coordinator_moved"),
            (RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, "not_enough_replicas"),
            (RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, "not_enough_replicas"),
            (RD_KAFKA_RESP_ERR_NOT_CONTROLLER, "controller_moved"),
            (RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, "concurrent_transactions"),
            (RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, "broker_disk"),
            (RD_KAFKA_RESP_ERR_REASSIGNMENT_IN_PROGRESS, "reassignment"),
            (RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, "leader_moved"),
            (RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH, "leader_moved"),
            (RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND, "leader_not_available"),
            (RD_KAFKA_RESP_ERR_STALE_BROKER_EPOCH, "broker_moved"),
            (RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, "leader_moved"),
            (RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE, "leader_not_available"),
            (RD_KAFKA_RESP_ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE, "leader_not_available"),
            (RD_KAFKA_RESP_ERR_FETCH_SESSION_ID_NOT_FOUND, "fetch_session"),
            (RD_KAFKA_RESP_ERR_INVALID_FETCH_SESSION_EPOCH, "fetch_session"),
            (RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, "unstable_offsets"),
            (RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, "throttled"),
            // Of the checkpoint's partition: compaction moved its beginning meanwhile.
            (RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, "offset_out_of_range"),
            (RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, "offset_out_of_range"),
            (RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "topic_missing"),
            (RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, "topic_missing"),
            (RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "topic_missing"),
        ])

    /// Tried for ever all the same: what was withdrawn may be given back.
    private static let needsSomebody = group(
        .retriable, alarm: true,
        [
            (RD_KAFKA_RESP_ERR_UNKNOWN, "unknown_server_error"),
            (RD_KAFKA_RESP_ERR__FAIL, "library_failure"),
            (RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "no_system_resource"),
            (RD_KAFKA_RESP_ERR__FS, "file_system"),
            (RD_KAFKA_RESP_ERR__SSL, "tls_failed"),
            (RD_KAFKA_RESP_ERR__AUTHENTICATION, "authentication_failed"),
            (RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, "authentication_failed"),
            (RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, "authentication_failed"),
            (RD_KAFKA_RESP_ERR_UNACCEPTABLE_CREDENTIAL, "authentication_failed"),
            (RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_EXPIRED, "authentication_failed"),
            (RD_KAFKA_RESP_ERR_PRINCIPAL_DESERIALIZATION_FAILURE, "authentication_failed"),
            (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "topic_authorization_failed"),
            (RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "group_authorization_failed"),
            (RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "cluster_authorization_failed"),
            (RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactional_id_authorization_failed"),
            (RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED, "authentication_failed"),
            (RD_KAFKA_RESP_ERR_LOG_DIR_NOT_FOUND, "broker_disk"),
            (RD_KAFKA_RESP_ERR_POLICY_VIOLATION, "policy_violation"),
            (RD_KAFKA_RESP_ERR_INVALID_REQUEST, "invalid_request"),
            (RD_KAFKA_RESP_ERR_INVALID_CONFIG, "invalid_topic_configuration"),
            (RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, "invalid_partitions"),
            (RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, "invalid_replication_factor"),
            (RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT, "invalid_replication_factor"),
        ])

    /// Of this very record, when it was refused alone.
    private static let record = group(
        .recordFatal,
        [
            (RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "record_too_large"),
            (RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, "record_too_large"),
            (RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, "record_too_large"),
            (RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, "invalid_timestamp"),
            (RD_KAFKA_RESP_ERR_INVALID_RECORD, "invalid_record"),
            (RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "invalid_topic"),
        ])

    /// The producer is of no more use.
    private static let producer = group(
        .sinkFatal,
        [
            (RD_KAFKA_RESP_ERR__FATAL, "producer_failed"),
            (RD_KAFKA_RESP_ERR__STATE, "producer_state"),
            (RD_KAFKA_RESP_ERR__DESTROY, "producer_closed"),
            (RD_KAFKA_RESP_ERR__PURGE_QUEUE, "producer_purged"),
            (RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, "producer_purged"),
            (RD_KAFKA_RESP_ERR__INCONSISTENT, "producer_inconsistent"),
            (RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE, "producer_inconsistent"),
            (RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "out_of_order_sequence"),
            (RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER, "duplicate_sequence"),
            (RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, "transaction_state"),
            (RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, "producer_id_expired"),
            (RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, "producer_id_expired"),
            (RD_KAFKA_RESP_ERR_OPERATION_NOT_ATTEMPTED, "transaction_aborted"),
            (RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED, "coordinator_moved"),
            // KIP-890; newer than the constants of librdkafka 2.0.2.
            (rd_kafka_resp_err_t(rawValue: 120), "transaction_aborted"),
        ])

    /// Another producer took the transactional id, or the broker gave up on ours.
    private static let fencing = group(
        .fenced,
        [
            (RD_KAFKA_RESP_ERR__FENCED, "producer_fenced"),
            (RD_KAFKA_RESP_ERR_PRODUCER_FENCED, "producer_fenced"),
            (RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, "producer_fenced"),
        ])

    /// No retry helps: settings or cluster must change.
    private static let configuration = group(
        .processFatal, alarm: true,
        [
            (RD_KAFKA_RESP_ERR__INVALID_ARG, "invalid_configuration"),
            (RD_KAFKA_RESP_ERR__NOT_CONFIGURED, "invalid_configuration"),
            (RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED, "unsupported_by_library"),
            (RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, "unsupported_by_cluster"),
            (RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, "unsupported_by_cluster"),
            (RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, "unsupported_by_cluster"),
            (RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, "unsupported_sasl_mechanism"),
            (RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, "unsupported_compression"),
            (RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, "invalid_transaction_timeout"),
            (RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, "invalid_configuration"),
            (RD_KAFKA_RESP_ERR_SECURITY_DISABLED, "security_disabled"),
        ])
}
