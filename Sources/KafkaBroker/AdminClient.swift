import Broker
import CRdkafka
import Primitives
import Records

/// Kafka's administrative calls, one at a time for each caller: each blocks until its answer or its deadline. Any
/// thread may call.
struct AdminClient: Sendable {
    let client: KafkaClient
    let clock: any TimeSource

    // MARK: - Configuration

    /// Resources of one DescribeConfigs request.
    static let describedMax = 100

    /// What Kafka says of topics' configuration, by topic; a topic that is not there, or not ours to read, has its
    /// error.
    ///
    /// - Parameters:
    ///   - names: of the settings to read.
    ///   - broker: any knows; nil: the controller.
    func configurations(
        of topics: [TopicName], names: [String] = TopicConfiguration.names, at broker: Int32? = nil,
        until deadline: MonotonicInstant
    ) throws(KafkaError) -> [TopicName: Result<TopicConfiguration, KafkaError>] {
        var found: [TopicName: Result<TopicConfiguration, KafkaError>] = [:]
        try entries(of: topics, names: names, at: broker, until: deadline) { topic, result in
            found[topic] = result.map { entries in
                TopicConfiguration(
                    Dictionary(entries.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first }))
            }
        }
        return found
    }

    private struct ConfigurationEntry {
        var name: String
        var value: String
        var isOfTopic: Bool
    }

    /// - Parameter names: of the settings to read; empty: all.
    private func entries(
        of topics: [TopicName], names: [String], at broker: Int32?, until deadline: MonotonicInstant,
        _ body: (TopicName, Result<[ConfigurationEntry], KafkaError>) -> Void
    ) throws(KafkaError) {
        var resources: [OpaquePointer?] = topics.map { rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, $0.text) }
        defer { rd_kafka_ConfigResource_destroy_array(&resources, resources.count) }
        for resource in resources {
            for name in names { try check(rd_kafka_ConfigResource_set_config(resource, name, "")) }
        }
        try call(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, at: broker, until: deadline) { options, queue in
            rd_kafka_DescribeConfigs(client.handle, &resources, resources.count, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            let described = rd_kafka_DescribeConfigs_result_resources(
                rd_kafka_event_DescribeConfigs_result(event), &count)
            for resource in UnsafeBufferPointer(start: described, count: count) {
                guard let resource, let topic = TopicName(String(cString: rd_kafka_ConfigResource_name(resource)))
                else { continue }
                body(topic, Self.entries(of: resource))
            }
        }
    }

    private static func entries(of resource: OpaquePointer) -> Result<[ConfigurationEntry], KafkaError> {
        if let error = Self.error(of: resource) { return .failure(error) }
        var count = 0
        let entries = rd_kafka_ConfigResource_configs(resource, &count)
        return .success(
            UnsafeBufferPointer(start: entries, count: count).compactMap { entry in
                // One without a value is sensitive: no topic has such.
                guard let entry, let value = rd_kafka_ConfigEntry_value(entry) else { return nil }
                return ConfigurationEntry(
                    name: String(cString: rd_kafka_ConfigEntry_name(entry)), value: String(cString: value),
                    isOfTopic: rd_kafka_ConfigEntry_source(entry) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG)
            })
    }

    private static func error(of resource: OpaquePointer) -> KafkaError? {
        let code = rd_kafka_ConfigResource_error(resource)
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        return KafkaError(code, rd_kafka_ConfigResource_error_string(resource).map { String(cString: $0) })
    }

    /// Changes settings of one topic and keeps the others that are its own.
    ///
    /// librdkafka before 2.2 has no IncrementalAlterConfigs (KIP-339), and AlterConfigs replaces all that a topic has
    /// of its own: so it is read, changed and written. A change that somebody else makes between the two is undone.
    func configure(
        _ topic: TopicName, _ changes: [String: String], until deadline: MonotonicInstant
    ) throws(KafkaError) {
        var own: [String: String] = [:]
        var failure: KafkaError?
        try entries(of: [topic], names: [], at: nil, until: deadline) { _, result in
            switch result {
            case .success(let entries): for entry in entries where entry.isOfTopic { own[entry.name] = entry.value }
            case .failure(let error): failure = error
            }
        }
        if let failure { throw failure }
        let wanted = own.merging(changes) { _, new in new }
        if wanted == own { return }
        let resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.text)
        var resources = [resource]
        defer { rd_kafka_ConfigResource_destroy_array(&resources, resources.count) }
        for (name, value) in wanted.sorted(by: { $0.key < $1.key }) {
            try check(rd_kafka_ConfigResource_set_config(resource, name, value))
        }
        try call(RD_KAFKA_ADMIN_OP_ALTERCONFIGS, until: deadline) { options, queue in
            rd_kafka_AlterConfigs(client.handle, &resources, resources.count, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            let altered = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count)
            for resource in UnsafeBufferPointer(start: altered, count: count) {
                if let resource, let error = Self.error(of: resource) { throw error }
            }
        }
    }

    // MARK: - Topics

    /// What a topic is created with; −1: the cluster's default (KIP-464).
    struct NewTopic {
        var partitions: Int32 = -1
        var replicationFactor: Int16 = -1
        var configuration: [String: String] = [:]
    }

    /// - Throws: `TOPIC_ALREADY_EXISTS` and what else Kafka says of it.
    func create(_ topic: TopicName, _ new: NewTopic, until deadline: MonotonicInstant) throws(KafkaError) {
        var reason = [CChar](repeating: 0, count: 512)
        let made = rd_kafka_NewTopic_new(
            topic.text, new.partitions, Int32(new.replicationFactor), &reason, reason.count)
        guard made != nil else { throw KafkaError(RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, text(reason)) }
        var topics = [made]
        defer { rd_kafka_NewTopic_destroy_array(&topics, topics.count) }
        for (name, value) in new.configuration.sorted(by: { $0.key < $1.key }) {
            try check(rd_kafka_NewTopic_set_config(made, name, value))
        }
        try call(RD_KAFKA_ADMIN_OP_CREATETOPICS, until: deadline) { options, queue in
            rd_kafka_CreateTopics(client.handle, &topics, topics.count, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            try Self.checkTopics(
                rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count), count)
        }
    }

    /// - Throws: `UNKNOWN_TOPIC_OR_PART` and what else Kafka says of it.
    func delete(_ topic: TopicName, until deadline: MonotonicInstant) throws(KafkaError) {
        var topics = [rd_kafka_DeleteTopic_new(topic.text)]
        defer { rd_kafka_DeleteTopic_destroy_array(&topics, topics.count) }
        try call(RD_KAFKA_ADMIN_OP_DELETETOPICS, until: deadline) { options, queue in
            rd_kafka_DeleteTopics(client.handle, &topics, topics.count, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            try Self.checkTopics(
                rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count), count)
        }
    }

    private static func checkTopics(_ results: UnsafeMutablePointer<OpaquePointer?>?, _ count: Int) throws(KafkaError) {
        for result in UnsafeBufferPointer(start: results, count: count) {
            let code = rd_kafka_topic_result_error(result)
            guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { continue }
            throw KafkaError(code, rd_kafka_topic_result_error_string(result).map { String(cString: $0) })
        }
    }

    /// Removes the records below these offsets (KIP-107).
    ///
    /// - Returns: the low watermark, or the error, of each of the partitions.
    func deleteRecords(
        _ topic: TopicName, below offsets: [Int32: Int64], until deadline: MonotonicInstant
    ) throws(KafkaError) -> [Int32: Result<Int64, KafkaError>] {
        let list = TopicPartitionList(topic, offsets)
        var records = [list.withPointer { rd_kafka_DeleteRecords_new($0) }]
        defer { rd_kafka_DeleteRecords_destroy_array(&records, records.count) }
        var lows: [Int32: Result<Int64, KafkaError>] = [:]
        try call(RD_KAFKA_ADMIN_OP_DELETERECORDS, until: deadline) { options, queue in
            rd_kafka_DeleteRecords(client.handle, &records, records.count, options, queue)
        } answer: { event throws(KafkaError) in
            let result = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event))
            if let result { lows = TopicPartitionList.offsets(in: result) }
        }
        return lows
    }

    // MARK: - Offsets

    /// What ListOffsets takes in place of a time.
    static let (endTime, beginningTime): (Int64, Int64) = (-1, -2)

    /// Asks the leader of each partition for the first offset at or after a time in ms, `endTime` or `beginningTime`,
    /// for readers of committed records. (`rd_kafka_offsets_for_times` hands the time on as it is.)
    ///
    /// - Returns: the offset, −1 where there is none, or the error, of each of the partitions.
    func offsets(
        of topic: TopicName, _ partitions: [Int32], at time: Int64, until deadline: MonotonicInstant
    ) throws(KafkaError) -> [Int32: Result<Int64, KafkaError>] {
        if partitions.isEmpty { return [:] }
        let list = TopicPartitionList(
            topic, Dictionary(partitions.map { ($0, time) }, uniquingKeysWith: { first, _ in first }))
        let timeoutMs = left(deadline).timeoutMs
        try check(list.withPointer { rd_kafka_offsets_for_times(client.handle, $0, timeoutMs) })
        return list.withPointer { TopicPartitionList.offsets(in: $0) }
    }

    // MARK: - Calls

    private func left(_ deadline: MonotonicInstant) -> Duration { deadline - clock.now() }

    private func call(
        _ operation: rd_kafka_admin_op_t, at broker: Int32? = nil, until deadline: MonotonicInstant,
        _ start: (_ options: OpaquePointer?, _ queue: OpaquePointer?) -> Void,
        answer: (_ event: OpaquePointer) throws(KafkaError) -> Void
    ) throws(KafkaError) {
        try client.administer(operation, at: broker, within: left(deadline), start, answer: answer)
    }
}

extension TopicPartitionList {
    fileprivate convenience init(_ topic: TopicName, _ offsets: [Int32: Int64]) {
        self.init(capacity: offsets.count)
        for (partition, offset) in offsets.sorted(by: { $0.key < $1.key }) {
            add(TopicPartition(topic: topic, partition: partition), offset: offset)
        }
    }

    /// By partition, of one topic.
    fileprivate static func offsets(
        in list: UnsafePointer<rd_kafka_topic_partition_list_t>
    ) -> [Int32: Result<Int64, KafkaError>] {
        var found: [Int32: Result<Int64, KafkaError>] = [:]
        for element in elements(of: list) {
            found[element.partition.partition] =
                element.error == RD_KAFKA_RESP_ERR_NO_ERROR
                ? .success(element.offset) : .failure(KafkaError(element.error))
        }
        return found
    }
}
