import Broker
import CRdkafka
import CoreMetrics
import Logging
import Primitives

/// What a client tells its owner, on the thread that polls it, unless said otherwise.
protocol KafkaClientDelegate: AnyObject, Sendable {
    /// A delivery report; the message is only valid during the call, and its opaque is released by the callee.
    func delivered(_ message: UnsafePointer<rd_kafka_message_t>)
    /// An error that concerns the client as a whole: brokers down, authentication, fatal. Most pass by themselves.
    func failed(_ error: KafkaError)
    /// The group's assignment changed: `_ASSIGN_PARTITIONS` or `_REVOKE_PARTITIONS`; the callee assigns or unassigns.
    /// The list is only valid during the call.
    func rebalance(_ code: rd_kafka_resp_err_t, _ partitions: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>)
    /// The answer to a commit without a queue of its own.
    func committed(_ code: rd_kafka_resp_err_t, _ offsets: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?)
    /// A transactional producer wrote a whole request of this kind (Kafka's API key) to a connection: each copy of it,
    /// where librdkafka repeats one. On a thread of librdkafka's, before the answer is seen; never waits.
    func requestSent(_ apiKey: Int16)
}

extension KafkaClientDelegate {
    func delivered(_: UnsafePointer<rd_kafka_message_t>) {}
    func failed(_: KafkaError) {}
    func rebalance(_: rd_kafka_resp_err_t, _: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) {}
    func committed(_: rd_kafka_resp_err_t, _: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?) {}
    func requestSent(_: Int16) {}
}

/// Owns one `rd_kafka_t`: made in `init`, destroyed once by `close`, never by a poll thread.
///
/// Whoever polls (`rd_kafka_poll`, `rd_kafka_consumer_poll`, `rd_kafka_flush`) must have stopped before `close`.
// SAFETY: librdkafka's handle may be used from any thread; `closed` is behind a lock.
final class KafkaClient: @unchecked Sendable {
    /// Valid until `close`.
    let handle: OpaquePointer
    private let callbacks: Unmanaged<Callbacks>
    private let closed = Lock(false)
    private let isConsumer: Bool

    /// Clients whose close takes longer than its deadline and goes on by itself.
    private static let closing = Lock(0)
    private static let closingGauge = Gauge(label: "postrider_kafka_clients_closing")
    private static let notMade = Counter(label: "postrider_kafka_clients_failed_total")

    /// - Parameter delegate: held weakly.
    /// - Throws: process-fatal for a bad configuration; retriable when the machine lacks threads or files.
    init(
        _ configuration: ClientConfiguration, delegate: (any KafkaClientDelegate)? = nil,
        log: Logger = Logger(label: "postrider.kafka")
    ) throws(BrokerError) {
        let conf = try configuration.make()
        let callbacks = Unmanaged.passRetained(Callbacks(delegate, log))
        self.callbacks = callbacks
        rd_kafka_conf_set_opaque(conf, callbacks.toOpaque())
        rd_kafka_conf_set_log_cb(conf, Callbacks.log)
        rd_kafka_conf_set_error_cb(conf, Callbacks.error)
        isConsumer = configuration.role.isConsumer
        switch configuration.role {
        case .transactionalProducer:
            rd_kafka_conf_set_dr_msg_cb(conf, Callbacks.delivered)
            rd_kafka_conf_interceptor_add_on_new(conf, Callbacks.name, Callbacks.made, callbacks.toOpaque())
        case .idempotentProducer: rd_kafka_conf_set_dr_msg_cb(conf, Callbacks.delivered)
        case .groupConsumer:
            rd_kafka_conf_set_rebalance_cb(conf, Callbacks.rebalance)
            rd_kafka_conf_set_offset_commit_cb(conf, Callbacks.committed)
        case .reader, .admin: break
        }
        var reason = [CChar](repeating: 0, count: 512)
        guard
            let handle = rd_kafka_new(
                configuration.role.isConsumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, &reason, reason.count)
        else {
            rd_kafka_conf_destroy(conf)
            callbacks.release()
            Self.notMade.increment()
            throw .notMade(rd_kafka_last_error(), text(reason))
        }
        self.handle = handle
        if configuration.role.isConsumer { rd_kafka_poll_set_consumer(handle) }
    }

    /// Why the client turned fatal; nil while it has not.
    var fatalError: KafkaError? {
        var reason = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(handle, &reason, reason.count)
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        var error = KafkaError(code, text(reason))
        error.isFatal = true
        return error
    }

    /// Destroys the client on a thread of its own, and returns when that is done or at the deadline; then it goes on by
    /// itself, counted by `postrider_kafka_clients_closing`. More than once does nothing more. A consumer that should
    /// leave its group is closed with `rd_kafka_consumer_close` (or its queue) by its owner before.
    ///
    /// - Returns: whether it is gone.
    @discardableResult
    func close(within limit: Duration) -> Bool {
        let first = closed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        guard first else { return true }
        let done = Monitor(false)
        // SAFETY: the handle is used by nobody else from here on.
        nonisolated(unsafe) let handle = handle
        let callbacks = callbacks
        let isConsumer = isConsumer
        Self.countClosing(1)
        _ = WorkerThread(name: "kafka-close") {
            if !isConsumer {
                // What is queued belongs to the spool: nothing is waited for.
                rd_kafka_purge(handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
                rd_kafka_poll(handle, 0)
            }
            rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
            callbacks.release()
            Self.countClosing(-1)
            done.withLock { $0 = true }
            done.broadcast()
        }
        return done.wait(until: SystemClock().now() + limit) { $0 ? true : nil } ?? false
    }

    private static func countClosing(_ change: Int) {
        closingGauge.record(
            closing.withLock { count in
                count += change
                return count
            })
    }

    deinit { close(within: .zero) }
}

extension BrokerError {
    /// Why librdkafka made no client.
    static func notMade(_ code: rd_kafka_resp_err_t, _ reason: String) -> BrokerError {
        if code == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE { return ErrorTable.brokerError(KafkaError(code, reason)) }
        return BrokerError(
            .processFatal, code: "invalid_configuration", detail: "broker.kafka.properties: \(reason)")
    }
}

/// The other end of librdkafka's callbacks: each recovers itself, calls a method and returns.
private final class Callbacks: Sendable {
    private struct Weak: Sendable { weak var value: (any KafkaClientDelegate)? }

    private let delegate: Lock<Weak>
    private let logger: Logger

    init(_ delegate: (any KafkaClientDelegate)?, _ logger: Logger) {
        self.delegate = Lock(Weak(value: delegate))
        self.logger = logger
    }

    private var target: (any KafkaClientDelegate)? { delegate.withLock { $0.value } }

    private static func from(_ opaque: UnsafeMutableRawPointer?) -> Callbacks? {
        opaque.map { Unmanaged<Callbacks>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Called on librdkafka's own threads.
    static let log: @convention(c) (OpaquePointer?, Int32, UnsafePointer<CChar>?, UnsafePointer<CChar>?) -> Void = {
        handle, level, facility, message in
        guard let handle, let callbacks = from(rd_kafka_opaque(handle)), let message else { return }
        let level: Logger.Level =
            switch level {
            // One set of properties serves producers and consumers: those of the other kind mean nothing.
            case _ where facility.map { String(cString: $0) } == "CONFWARN": .debug
            case ...2: .critical
            case 3: .error
            case 4: .warning
            case 5: .notice
            case 6: .info
            default: .debug
            }
        callbacks.logger.log(
            level: level, "librdkafka",
            metadata: [
                "facility": "\(facility.map { String(cString: $0) } ?? "")", "line": "\(String(cString: message))",
            ])
    }

    static let error: @convention(c) (OpaquePointer?, Int32, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void =
        {
            handle, code, reason, opaque in
            guard let callbacks = from(opaque) else { return }
            var error = KafkaError(rd_kafka_resp_err_t(rawValue: code), reason.map { String(cString: $0) })
            error.isFatal = error.code == RD_KAFKA_RESP_ERR__FATAL
            callbacks.target?.failed(error)
        }

    /// Of interceptors.
    static let name = "postrider"

    /// The only time at which an interceptor of requests can be added.
    static let made:
        @convention(c) (
            OpaquePointer?, OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<CChar>?, Int
        ) -> rd_kafka_resp_err_t = { handle, _, opaque, _, _ in
            rd_kafka_interceptor_add_on_request_sent(handle, name, sent, opaque)
        }

    static let sent:
        @convention(c) (
            OpaquePointer?, Int32, UnsafePointer<CChar>?, Int32, Int16, Int16, Int32, Int, UnsafeMutableRawPointer?
        ) -> rd_kafka_resp_err_t = { _, _, _, _, apiKey, _, _, _, opaque in
            from(opaque)?.target?.requestSent(apiKey)
            return RD_KAFKA_RESP_ERR_NO_ERROR
        }

    static let delivered:
        @convention(c) (OpaquePointer?, UnsafePointer<rd_kafka_message_t>?, UnsafeMutableRawPointer?) -> Void = {
            _, message, opaque in
            if let message { from(opaque)?.target?.delivered(message) }
        }

    static let rebalance:
        @convention(c) (
            OpaquePointer?, rd_kafka_resp_err_t, UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?,
            UnsafeMutableRawPointer?
        ) -> Void = { _, code, partitions, opaque in
            if let partitions { from(opaque)?.target?.rebalance(code, partitions) }
        }

    static let committed:
        @convention(c) (
            OpaquePointer?, rd_kafka_resp_err_t, UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?,
            UnsafeMutableRawPointer?
        ) -> Void = { _, code, offsets, opaque in
            from(opaque)?.target?.committed(code, offsets)
        }
}
