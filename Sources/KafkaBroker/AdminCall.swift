import Broker
import CRdkafka
import Primitives

extension KafkaClient {
    /// The library tells of its own time-out.
    private static let grace = Duration.seconds(1)

    /// Makes one administrative call and waits for its event. Blocks, `limit` and a little more at most; any thread.
    ///
    /// - Parameters:
    ///   - broker: whom to ask; nil: the controller, or whoever the call is for.
    ///   - interruption: ends the wait soon; what was asked may be done all the same.
    ///   - start: sends the call.
    ///   - answer: looks at its event, which is only valid during the call.
    func administer(
        _ operation: rd_kafka_admin_op_t, at broker: Int32? = nil, within limit: Duration,
        interruption: Interruption = Interruption(),
        _ start: (_ options: OpaquePointer?, _ queue: OpaquePointer?) -> Void,
        answer: (_ event: OpaquePointer) throws(KafkaError) -> Void
    ) throws(KafkaError) {
        guard limit > .zero else { throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT) }
        let options = rd_kafka_AdminOptions_new(handle, operation)
        defer { rd_kafka_AdminOptions_destroy(options) }
        var reason = [CChar](repeating: 0, count: 512)
        try check(rd_kafka_AdminOptions_set_request_timeout(options, limit.timeoutMs, &reason, reason.count))
        if let broker { try check(rd_kafka_AdminOptions_set_broker(options, broker, &reason, reason.count)) }
        switch operation {
        case RD_KAFKA_ADMIN_OP_CREATETOPICS, RD_KAFKA_ADMIN_OP_DELETETOPICS, RD_KAFKA_ADMIN_OP_DELETERECORDS:
            // Most of it: the answer needs time, too.
            let work = (limit * 3 / 4).timeoutMs
            try check(rd_kafka_AdminOptions_set_operation_timeout(options, work, &reason, reason.count))
        default: break
        }
        let queue = rd_kafka_queue_new(handle)
        defer { rd_kafka_queue_destroy(queue) }
        start(options, queue)
        let event = try event(queue, Patience(limit + Self.grace, interruption))
        defer { rd_kafka_event_destroy(event) }
        let code = rd_kafka_event_error(event)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError(code, rd_kafka_event_error_string(event).map { String(cString: $0) })
        }
        try answer(event)
    }

    private func event(_ queue: OpaquePointer?, _ patience: Patience) throws(KafkaError) -> OpaquePointer {
        do throws(BrokerError) {
            while let slice = try patience.next() {
                if let event = rd_kafka_queue_poll(queue, slice) { return event }
            }
        } catch {
            throw KafkaError(RD_KAFKA_RESP_ERR__INTR, error.detail)
        }
        throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
    }
}
