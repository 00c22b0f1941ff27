import Broker
import CRdkafka
import Primitives
import Records

/// Writes definitions: acknowledged by all in-sync replicas, in the order of the calls. Any thread may call; each call
/// blocks until its acknowledgement, at most `adminTimeout`.
final class DefinitionsWriter: KafkaClientDelegate {
    /// Writes by the number that is their opaque.
    private struct Reports {
        /// Somebody waits for them.
        var awaited: Set<UInt64> = []
        var codes: [UInt64: rd_kafka_resp_err_t] = [:]
    }

    private let settings: KafkaBrokerSettings
    private let follower: DefinitionsFollower
    private let interruption: Interruption
    private let client = Lock<KafkaClient?>(nil)
    /// The topic is there.
    private let isEnsured = Lock(false)
    private let reports = Lock(Reports())
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
        var number: UInt64 = 0
        defer {
            reports.withLock { reports in
                reports.awaited.remove(number)
                reports.codes[number] = nil
            }
            withExtendedLifetime(client) {}
        }
        do throws(KafkaError) {
            try follower.write(name) { writer throws(KafkaError) in
                number = writer.number
                reports.withLock { _ = $0.awaited.insert(writer.number) }
                try check(produce(client, name, bytes, writer))
            }
            let deadline = clock.now() + settings.adminTimeout
            while clock.now() < deadline, !interruption.isSet {
                rd_kafka_poll(client.handle, Self.pollMs)
                if let code = reports.withLock({ $0.codes[number] }) { return try check(code) }
            }
            throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
        } catch {
            // Somebody may have deleted it.
            isEnsured.withLock { $0 = false }
            throw BrokerError(
                .retriable, code: ErrorTable.entry(for: error.code).label,
                detail: "writing to \(settings.consumersTopic): \(error)")
        }
    }

    private static let queueBytes = 16 << 20
    /// Another thread's call may hear of this one's acknowledgement.
    private static let pollMs: Int32 = 20

    private func produce(
        _ client: KafkaClient, _ name: ConsumerName, _ bytes: ByteSlice?, _ writer: DefinitionsTopic.Writer
    ) -> rd_kafka_resp_err_t {
        let headers = rd_kafka_headers_new(1)
        let mark = writer.bytes
        rd_kafka_header_add(headers, DefinitionsTopic.writerHeader, -1, mark, mark.count)
        let key = Array(name.text.utf8)
        let code = withPointer(bytes) { value, count in
            pr_produce_by_name(
                client.handle, settings.consumersTopic, DefinitionsTopic.partition, key, key.count, value, count,
                clock.wallMilliseconds(), headers, UnsafeMutableRawPointer(bitPattern: UInt(writer.number)))
        }
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { rd_kafka_headers_destroy(headers) }
        return code
    }

    func delivered(_ message: UnsafePointer<rd_kafka_message_t>) {
        let number = UInt64(UInt(bitPattern: message.pointee._private))
        let code = message.pointee.err
        reports.withLock { reports in
            if reports.awaited.contains(number) { reports.codes[number] = code }
        }
    }

    /// Whoever writes has stopped.
    func stop() { client.withLock { $0 }?.close(within: settings.closeTimeout) }
}
