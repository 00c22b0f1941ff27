import Broker
import CRdkafka
import Primitives
import Records

/// Writes definitions: acknowledged by all in-sync replicas, in the order of the calls. Any thread may call; each call
/// blocks until its acknowledgement, at most `adminTimeout`.
final class DefinitionsWriter: KafkaClientDelegate {
    private final class Write: Sendable {
        let code = Monitor<rd_kafka_resp_err_t?>(nil)
    }

    private let settings: KafkaBrokerSettings
    private let follower: DefinitionsFollower
    private let interruption: Interruption
    private let client = Lock<KafkaClient?>(nil)
    /// The topic is there.
    private let isEnsured = Lock(false)
    private let clock = SystemClock()

    init(settings: KafkaBrokerSettings, follower: DefinitionsFollower, interruption: Interruption) {
        self.settings = settings
        self.follower = follower
        self.interruption = interruption
    }

    /// - Parameter bytes: nil: forgotten.
    /// - Throws: retriable; the write may come later all the same, behind nothing that was written after it.
    func write(_ name: ConsumerName, _ bytes: ByteSlice?) throws(BrokerError) {
        let client = try client.withLock { client throws(BrokerError) in
            if let client { return client }
            var settings = settings
            settings.producerQueueBytes = Self.queueBytes
            settings.properties["linger.ms"] = "0"
            let new = try KafkaClient(
                ClientConfiguration(settings: settings, role: .idempotentProducer), delegate: self)
            client = new
            return new
        }
        if let error = client.fatalError {
            // Closed when the last call that waits for its acknowledgement has let go of it.
            self.client.withLock { if $0 === client { $0 = nil } }
            throw BrokerError(.retriable, code: "definitions_producer_failed", detail: error.description)
        }
        if !isEnsured.withLock({ $0 }) {
            try follower.topic.ensure(client, settings, interruption, follower.log)
            isEnsured.withLock { $0 = true }
        }
        let write = Write()
        defer { withExtendedLifetime(client) {} }
        do throws(KafkaError) {
            try follower.write(name) { writer throws(KafkaError) in
                try check(produce(client, name, bytes, writer, write))
            }
            let deadline = clock.now() + settings.adminTimeout
            while clock.now() < deadline, !interruption.isSet {
                rd_kafka_poll(client.handle, Self.pollMs)
                if let code = write.code.withLock({ $0 }) { return try check(code) }
            }
            throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
        } catch {
            throw BrokerError(
                .retriable, code: ErrorTable.entry(for: error.code).label,
                detail: "writing to \(settings.consumersTopic): \(error)")
        }
    }

    private static let queueBytes = 16 << 20
    /// Another thread's call may hear of this one's acknowledgement.
    private static let pollMs: Int32 = 20

    private func produce(
        _ client: KafkaClient, _ name: ConsumerName, _ bytes: ByteSlice?, _ writer: DefinitionsTopic.Writer,
        _ write: Write
    ) -> rd_kafka_resp_err_t {
        let headers = rd_kafka_headers_new(1)
        let mark = writer.bytes
        rd_kafka_header_add(headers, DefinitionsTopic.writerHeader, -1, mark, mark.count)
        let opaque = Unmanaged.passRetained(write)
        let key = Array(name.text.utf8)
        let code = bytes.map { Array($0) }.withBytes { value, count in
            pr_produce_by_name(
                client.handle, settings.consumersTopic, DefinitionsTopic.partition, key, key.count, value, count,
                clock.wallMilliseconds(), headers, opaque.toOpaque())
        }
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            rd_kafka_headers_destroy(headers)
            opaque.release()
        }
        return code
    }

    func delivered(_ message: UnsafePointer<rd_kafka_message_t>) {
        guard let opaque = message.pointee._private else { return }
        let write = Unmanaged<Write>.fromOpaque(opaque).takeRetainedValue()
        let code = message.pointee.err
        write.code.withLock { $0 = code }
    }

    /// Whoever writes has stopped.
    func stop() { client.withLock { $0 }?.close(within: settings.closeTimeout) }
}

extension Optional<[UInt8]> {
    /// Null for none: a tombstone.
    fileprivate func withBytes<Result>(_ body: (UnsafeRawPointer?, Int) -> Result) -> Result {
        guard let self else { return body(nil, 0) }
        // An empty array may have no address, and no address is a tombstone.
        return (self + [0]).withUnsafeBytes { body($0.baseAddress, self.count) }
    }
}
