import Broker
import CRdkafka
import Testing

@testable import KafkaBroker

@Suite struct ErrorTableTests {
    private struct Expected {
        var meaning: BrokerError.Class
        var alarm: Bool
        /// As Kafka and librdkafka name them.
        var names: String
    }

    /// Every code of the library, by what a hand-over does about it.
    private static let expected = [
        // They pass by themselves.
        Expected(
            meaning: .retriable, alarm: false,
            names: """
                _BAD_MSG _BAD_COMPRESSION _TRANSPORT _RESOLVE _MSG_TIMED_OUT _UNKNOWN_PARTITION _UNKNOWN_TOPIC
                _ALL_BROKERS_DOWN _TIMED_OUT _QUEUE_FULL _ISR_INSUFF _NODE_UPDATE _WAIT_COORD _IN_PROGRESS
                _PREV_IN_PROGRESS _CONFLICT _OUTDATED _TIMED_OUT_QUEUE _WAIT_CACHE _INTR _UNDERFLOW _RETRY
                _UNKNOWN_BROKER _AUTO_OFFSET_RESET OFFSET_OUT_OF_RANGE INVALID_MSG UNKNOWN_TOPIC_OR_PART
                LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE
                REPLICA_NOT_AVAILABLE STALE_CTRL_EPOCH NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS
                COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND
                NOT_CONTROLLER CONCURRENT_TRANSACTIONS KAFKA_STORAGE_ERROR REASSIGNMENT_IN_PROGRESS
                FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND FENCED_LEADER_EPOCH
                UNKNOWN_LEADER_EPOCH STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE PREFERRED_LEADER_NOT_AVAILABLE
                ELIGIBLE_LEADERS_NOT_AVAILABLE UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED
                """),
        // Somebody must look; tried for ever all the same.
        Expected(
            meaning: .retriable, alarm: true,
            names: """
                _FAIL _CRIT_SYS_RESOURCE _FS _SSL _AUTHENTICATION UNKNOWN TOPIC_AUTHORIZATION_FAILED
                GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED ILLEGAL_SASL_STATE INVALID_PARTITIONS
                INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG INVALID_REQUEST
                POLICY_VIOLATION TRANSACTIONAL_ID_AUTHORIZATION_FAILED LOG_DIR_NOT_FOUND SASL_AUTHENTICATION_FAILED
                DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_EXPIRED UNACCEPTABLE_CREDENTIAL
                PRINCIPAL_DESERIALIZATION_FAILURE
                """),
        // Of the record, when it was refused alone.
        Expected(
            meaning: .recordFatal, alarm: false,
            names: """
                INVALID_MSG_SIZE MSG_SIZE_TOO_LARGE TOPIC_EXCEPTION RECORD_LIST_TOO_LARGE INVALID_TIMESTAMP
                INVALID_RECORD
                """),
        // Another producer.
        Expected(
            meaning: .sinkFatal, alarm: false,
            names: """
                _DESTROY _STATE _PURGE_QUEUE _PURGE_INFLIGHT _FATAL _INCONSISTENT _GAPLESS_GUARANTEE
                OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER INVALID_TXN_STATE INVALID_PRODUCER_ID_MAPPING
                TRANSACTION_COORDINATOR_FENCED OPERATION_NOT_ATTEMPTED UNKNOWN_PRODUCER_ID
                """),
        // Another producer took the transactional id, or the broker gave up on ours.
        Expected(
            meaning: .fenced, alarm: false,
            names: """
                _FENCED INVALID_PRODUCER_EPOCH PRODUCER_FENCED
                """),
        // No retry helps.
        Expected(
            meaning: .processFatal, alarm: true,
            names: """
                _INVALID_ARG _NOT_IMPLEMENTED _UNSUPPORTED_FEATURE _NOT_CONFIGURED INVALID_REQUIRED_ACKS
                UNSUPPORTED_SASL_MECHANISM UNSUPPORTED_VERSION UNSUPPORTED_FOR_MESSAGE_FORMAT
                INVALID_TRANSACTION_TIMEOUT SECURITY_DISABLED UNSUPPORTED_COMPRESSION_TYPE
                """),
        // Of groups, tokens and the library itself: nobody knows what they would mean here, so nothing is dropped.
        Expected(
            meaning: .retriable, alarm: true,
            names: """
                _BEGIN _PARTITION_EOF _UNKNOWN_GROUP _EXISTING_SUBSCRIPTION _ASSIGN_PARTITIONS _REVOKE_PARTITIONS
                _UNKNOWN_PROTOCOL _NO_OFFSET _KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION
                _VALUE_DESERIALIZATION _PARTIAL _READ_ONLY _NOENT _INVALID_TYPE _MAX_POLL_EXCEEDED _APPLICATION
                _ASSIGNMENT_LOST _NOOP _END NO_ERROR OFFSET_METADATA_TOO_LARGE ILLEGAL_GENERATION
                INCONSISTENT_GROUP_PROTOCOL INVALID_GROUP_ID UNKNOWN_MEMBER_ID INVALID_SESSION_TIMEOUT
                REBALANCE_IN_PROGRESS INVALID_COMMIT_OFFSET_SIZE TOPIC_ALREADY_EXISTS DELEGATION_TOKEN_AUTH_DISABLED
                DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
                INVALID_PRINCIPAL_TYPE NON_EMPTY_GROUP GROUP_ID_NOT_FOUND TOPIC_DELETION_DISABLED MEMBER_ID_REQUIRED
                GROUP_MAX_SIZE_REACHED FENCED_INSTANCE_ID ELECTION_NOT_NEEDED NO_REASSIGNMENT_IN_PROGRESS
                GROUP_SUBSCRIBED_TO_TOPIC RESOURCE_NOT_FOUND DUPLICATE_RESOURCE INCONSISTENT_VOTER_SET
                INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED
                """),
    ]

    @Test func code_MeansWhatIsExpected_EachOfTheLibrary() {
        var meanings: [Substring: Expected] = [:]
        for expected in Self.expected {
            for name in expected.names.split(whereSeparator: { $0 == " " || $0 == "\n" }) { meanings[name] = expected }
        }
        var descriptions: UnsafePointer<rd_kafka_err_desc>?
        var count = 0
        rd_kafka_get_err_descs(&descriptions, &count)
        var seen = 0
        for description in UnsafeBufferPointer(start: descriptions, count: count) {
            guard let name = description.name.map({ String(cString: $0) }) else { continue }
            seen += 1
            let entry = ErrorTable.entry(for: description.code)
            // A code that nobody has thought about is one of a newer library: decide, then add it here.
            guard let expected = meanings[name[...]] else {
                Issue.record("\(name) (\(description.code.rawValue)) is not in the list of this test")
                continue
            }
            #expect(entry.meaning == expected.meaning, "\(name)")
            #expect(entry.alarm == expected.alarm, "\(name)")
        }
        #expect(seen > 150)
    }

    @Test func code_StandsOnce() {
        let codes = ErrorTable.entries.map(\.code.rawValue)
        #expect(Set(codes).count == codes.count)
    }

    @Test func unknownCode_IsRetriableWithAnAlarm() {
        let error = ErrorTable.brokerError(KafkaError(rd_kafka_resp_err_t(rawValue: 9999)))
        #expect(error.class == .retriable)
        #expect(error.alarm)
    }

    @Test func transientError_EndsTheSink_WhenTheClientTurnedFatal() {
        var error = KafkaError(RD_KAFKA_RESP_ERR__TRANSPORT)
        #expect(ErrorTable.brokerError(error).class == .retriable)
        error.isFatal = true
        #expect(ErrorTable.brokerError(error).class == .sinkFatal)
    }

    /// librdkafka: fatal, then abortable, then retriable, else fatal.
    @Test func transactionalCall_EndsTheSink_WhenItSaysNothingElse() {
        var error = KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
        #expect(ErrorTable.transactionError(error).class == .sinkFatal)
        error.isRetriable = true
        #expect(ErrorTable.transactionError(error).class == .retriable)
        error.isRetriable = false
        error.requiresAbort = true
        #expect(ErrorTable.transactionError(error).class == .retriable)
    }
}
