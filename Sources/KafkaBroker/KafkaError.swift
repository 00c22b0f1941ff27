import Broker
import CRdkafka

/// An error of librdkafka, taken over: the C object is gone.
struct KafkaError: Error, Equatable, CustomStringConvertible {
    var code: rd_kafka_resp_err_t
    var text: String
    /// The client is of no more use.
    var isFatal = false
    /// The transaction must be aborted.
    var requiresAbort = false
    var isRetriable = false

    init(_ code: rd_kafka_resp_err_t, _ text: String? = nil) {
        self.code = code
        self.text = text ?? String(cString: rd_kafka_err2str(code))
    }

    /// Takes over and destroys `error`.
    init(consuming error: OpaquePointer) {
        code = rd_kafka_error_code(error)
        text = String(cString: rd_kafka_error_string(error))
        isFatal = rd_kafka_error_is_fatal(error) != 0
        requiresAbort = rd_kafka_error_txn_requires_abort(error) != 0
        isRetriable = rd_kafka_error_is_retriable(error) != 0
        rd_kafka_error_destroy(error)
    }

    /// As Kafka and librdkafka name it, without the prefix: `MSG_SIZE_TOO_LARGE`, `_TRANSPORT`.
    var name: String { String(cString: rd_kafka_err2name(code)) }

    var description: String { "\(name): \(text)" }
}

/// Throws what a call returned; nil is success. The C object is consumed.
func check(_ error: OpaquePointer?) throws(KafkaError) {
    if let error { throw KafkaError(consuming: error) }
}

/// Throws for any code but `NO_ERROR`.
func check(_ code: rd_kafka_resp_err_t) throws(KafkaError) {
    if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaError(code) }
}
