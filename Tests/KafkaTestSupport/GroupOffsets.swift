import CRdkafka

/// A group's offsets as any Kafka client sees them: librdkafka's calls, without a line of Postrider's.
public enum GroupOffsets {
    public struct Value: Equatable, Sendable {
        public var offset: Int64
        public var metadata: String

        public init(offset: Int64, metadata: String = "") {
            self.offset = offset
            self.metadata = metadata
        }
    }

    /// By partition, of those that have one. (`rd_kafka_committed`.)
    ///
    /// - Precondition: the cluster answers within 20 s.
    public static func committed(
        _ group: String, _ topic: String, partitions: Int32, at bootstrapServers: String
    ) -> [Int32: Value] {
        with(group, bootstrapServers) { client in
            let list = rd_kafka_topic_partition_list_new(partitions)
            defer { rd_kafka_topic_partition_list_destroy(list) }
            rd_kafka_topic_partition_list_add_range(list, topic, 0, partitions - 1)
            let code = rd_kafka_committed(client, list, 20_000)
            precondition(code == RD_KAFKA_RESP_ERR_NO_ERROR, String(cString: rd_kafka_err2name(code)))
            var found: [Int32: Value] = [:]
            for element in UnsafeBufferPointer(start: list?.pointee.elems, count: Int(list?.pointee.cnt ?? 0))
            where element.offset >= 0 {
                let metadata = UnsafeRawBufferPointer(start: element.metadata, count: element.metadata_size)
                found[element.partition] = Value(
                    offset: element.offset, metadata: String(decoding: metadata, as: UTF8.self))
            }
            return found
        }
    }

    /// Commits as a client that is no member. (`rd_kafka_commit`.)
    ///
    /// - Precondition: the group has no members, and the cluster answers.
    public static func commit(
        _ group: String, _ topic: String, partition: Int32, offset: Int64, at bootstrapServers: String
    ) {
        with(group, bootstrapServers) { client in
            let list = rd_kafka_topic_partition_list_new(1)
            defer { rd_kafka_topic_partition_list_destroy(list) }
            rd_kafka_topic_partition_list_add(list, topic, partition)?.pointee.offset = offset
            let code = rd_kafka_commit(client, list, 0)
            precondition(code == RD_KAFKA_RESP_ERR_NO_ERROR, String(cString: rd_kafka_err2name(code)))
        }
    }

    private static func with<Result>(
        _ group: String, _ bootstrapServers: String, _ body: (OpaquePointer) -> Result
    ) -> Result {
        let conf = rd_kafka_conf_new()
        for (name, value) in [
            "bootstrap.servers": bootstrapServers, "group.id": group, "enable.auto.commit": "false", "log_level": "0",
        ] {
            rd_kafka_conf_set(conf, name, value, nil, 0)
        }
        guard let client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, nil, 0) else { preconditionFailure("no consumer") }
        defer { rd_kafka_destroy(client) }
        return body(client)
    }
}
