import CRdkafka

/// What an independent reader finds in a topic: librdkafka's consumer, without a line of Postrider's.
public enum LogReader {
    public struct Entry: Equatable, Sendable {
        public var partition: Int32
        public var offset: Int64
        public var key: [UInt8]?
        public var value: [UInt8]?
        public var headers: [Header]
        public var timestampMs: Int64

        public var text: String? { value.map { String(decoding: $0, as: UTF8.self) } }

        public func header(_ name: String) -> String? {
            headers.first { $0.name == name }?.value.map { String(decoding: $0, as: UTF8.self) }
        }
    }

    public struct Header: Equatable, Sendable {
        public var name: String
        public var value: [UInt8]?

        public init(name: String, value: [UInt8]?) {
            self.name = name
            self.value = value
        }
    }

    /// Everything in these partitions, which begin at 0, up to their ends; by partition and offset.
    ///
    /// - Parameter seconds: for all of it; what was read by then is returned.
    public static func read(
        _ topic: String, partitions: Int32, at bootstrapServers: String, committed: Bool = true, seconds: Int = 20
    ) -> [Entry] {
        guard let client = consumer(bootstrapServers, committed) else { preconditionFailure("no consumer") }
        defer {
            rd_kafka_consumer_close(client)
            rd_kafka_destroy(client)
        }
        let list = rd_kafka_topic_partition_list_new(partitions)
        for partition in 0..<partitions {
            // By number: librdkafka asks for the beginning half a second later than that.
            rd_kafka_topic_partition_list_add(list, topic, partition)?.pointee.offset = 0
        }
        rd_kafka_assign(client, list)
        rd_kafka_topic_partition_list_destroy(list)
        var entries: [Entry] = []
        var ended: Set<Int32> = []
        let deadline = ContinuousClock.now + .seconds(seconds)
        while ended.count < Int(partitions), ContinuousClock.now < deadline {
            guard let message = rd_kafka_consumer_poll(client, 100) else { continue }
            switch message.pointee.err {
            case RD_KAFKA_RESP_ERR_NO_ERROR: entries.append(entry(message))
            case RD_KAFKA_RESP_ERR__PARTITION_EOF: ended.insert(message.pointee.partition)
            default: break
            }
            rd_kafka_message_destroy(message)
        }
        return entries.sorted { ($0.partition, $0.offset) < ($1.partition, $1.offset) }
    }

    private static func consumer(_ bootstrapServers: String, _ committed: Bool) -> OpaquePointer? {
        let conf = rd_kafka_conf_new()
        for (name, value) in [
            "bootstrap.servers": bootstrapServers, "group.id": "log-reader", "enable.partition.eof": "true",
            "enable.auto.commit": "false", "isolation.level": committed ? "read_committed" : "read_uncommitted",
            "fetch.wait.max.ms": "20", "log_level": "0",
        ] {
            rd_kafka_conf_set(conf, name, value, nil, 0)
        }
        guard let client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, nil, 0) else { return nil }
        rd_kafka_poll_set_consumer(client)
        return client
    }

    private static func entry(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> Entry {
        var headers: [Header] = []
        var list: OpaquePointer?
        if rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR {
            var index = 0
            var name: UnsafePointer<CChar>?
            var value: UnsafeRawPointer?
            var count = 0
            while rd_kafka_header_get_all(list, index, &name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR {
                headers.append(Header(name: name.map { String(cString: $0) } ?? "", value: bytes(value, count)))
                index += 1
            }
        }
        return Entry(
            partition: message.pointee.partition, offset: message.pointee.offset,
            key: bytes(message.pointee.key, message.pointee.key_len),
            value: bytes(message.pointee.payload, message.pointee.len), headers: headers,
            timestampMs: rd_kafka_message_timestamp(message, nil))
    }

    private static func bytes(_ pointer: UnsafeRawPointer?, _ count: Int) -> [UInt8]? {
        pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) }
    }
}
