import Broker
import CRdkafka
import Primitives
import Records

/// Offsets of groups without being a member: they can be changed only while a group has no members. Each call blocks,
/// at most `adminTimeout`. Any thread may call.
struct GroupAdmin: Sendable {
    let client: KafkaClient
    let settings: KafkaBrokerSettings
    let interruption: Interruption

    /// - Parameter interruption: ends calls that wait, soon.
    init(settings: KafkaBrokerSettings, interruption: Interruption) throws(BrokerError) {
        self.settings = settings
        self.interruption = interruption
        client = try KafkaClient(ClientConfiguration(settings: settings, role: .admin))
    }

    private func group(_ consumer: ConsumerName) -> String { settings.groupPrefix + consumer.text }

    /// - Parameter partitions: nil: all that the group has.
    func committed(
        _ consumer: ConsumerName, of partitions: [TopicPartition]?
    ) throws(BrokerError) -> [TopicPartition: CommittedOffset] {
        if let partitions, partitions.isEmpty { return [:] }
        let list = partitions.map { TopicPartitionList($0) }
        let group = group(consumer)
        var call =
            list.map { $0.withPointer { rd_kafka_ListConsumerGroupOffsets_new(group, $0) } }
            ?? rd_kafka_ListConsumerGroupOffsets_new(group, nil)
        defer { rd_kafka_ListConsumerGroupOffsets_destroy(call) }
        var found: [TopicPartition: CommittedOffset] = [:]
        try perform(RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, of: consumer) { options, queue in
            rd_kafka_ListConsumerGroupOffsets(client.handle, &call, 1, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            let groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
                rd_kafka_event_ListConsumerGroupOffsets_result(event), &count)
            for element in try Self.elements(of: groups, count) where element.offset >= 0 {
                found[element.partition] = CommittedOffset(offset: element.offset, metadata: element.metadata)
            }
        }
        return found
    }

    /// All of them, or it is unknown which.
    ///
    /// - Throws: `consumer_active_elsewhere` when the group has members.
    func commit(
        _ consumer: ConsumerName, _ offsets: [TopicPartition: CommittedOffset]
    ) throws(BrokerError) {
        if offsets.isEmpty { return }
        let list = TopicPartitionList(capacity: offsets.count)
        for (place, value) in offsets { list.add(place, offset: value.offset, metadata: value.metadata) }
        var call = list.withPointer { rd_kafka_AlterConsumerGroupOffsets_new(group(consumer), $0) }
        defer { rd_kafka_AlterConsumerGroupOffsets_destroy(call) }
        try perform(RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, of: consumer) { options, queue in
            rd_kafka_AlterConsumerGroupOffsets(client.handle, &call, 1, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            _ = try Self.elements(
                of: rd_kafka_AlterConsumerGroupOffsets_result_groups(
                    rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count), count)
        }
    }

    /// Forgets the group's offsets of these partitions (KIP-496).
    func delete(_ consumer: ConsumerName, offsetsOf partitions: [TopicPartition]) throws(BrokerError) {
        if partitions.isEmpty { return }
        let list = TopicPartitionList(partitions)
        var call = list.withPointer { rd_kafka_DeleteConsumerGroupOffsets_new(group(consumer), $0) }
        defer { rd_kafka_DeleteConsumerGroupOffsets_destroy(call) }
        try perform(RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS, of: consumer) { options, queue in
            rd_kafka_DeleteConsumerGroupOffsets(client.handle, &call, 1, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            _ = try Self.elements(
                of: rd_kafka_DeleteConsumerGroupOffsets_result_groups(
                    rd_kafka_event_DeleteConsumerGroupOffsets_result(event), &count), count)
        }
    }

    /// Forgets the group with all of its offsets; that there is none is success.
    func delete(_ consumer: ConsumerName) throws(BrokerError) {
        var call = rd_kafka_DeleteGroup_new(group(consumer))
        defer { rd_kafka_DeleteGroup_destroy(call) }
        try perform(RD_KAFKA_ADMIN_OP_DELETEGROUPS, of: consumer) { options, queue in
            rd_kafka_DeleteGroups(client.handle, &call, 1, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            let groups = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count)
            do throws(KafkaError) {
                _ = try Self.elements(of: groups, count)
            } catch {
                if error.code != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND { throw error }
            }
        }
    }

    private static func elements(
        of groups: UnsafeMutablePointer<OpaquePointer?>?, _ count: Int
    ) throws(KafkaError) -> [TopicPartitionList.Element] {
        var found: [TopicPartitionList.Element] = []
        for group in UnsafeBufferPointer(start: groups, count: count) {
            if let error = rd_kafka_group_result_error(group) {
                throw KafkaError(rd_kafka_error_code(error), String(cString: rd_kafka_error_string(error)))
            }
            guard let partitions = rd_kafka_group_result_partitions(group) else { continue }
            for element in TopicPartitionList.elements(of: partitions) {
                try check(element.error)
                found.append(element)
            }
        }
        return found
    }

    private func perform(
        _ operation: rd_kafka_admin_op_t, of consumer: ConsumerName,
        _ start: (_ options: OpaquePointer?, _ queue: OpaquePointer?) -> Void,
        answer: (_ event: OpaquePointer) throws(KafkaError) -> Void
    ) throws(BrokerError) {
        // What the client heard of its brokers since.
        rd_kafka_poll(client.handle, 0)
        do throws(KafkaError) {
            try client.administer(
                operation, within: settings.adminTimeout, interruption: interruption, start, answer: answer)
        } catch {
            switch error.code {
            case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP,
                RD_KAFKA_RESP_ERR_GROUP_SUBSCRIBED_TO_TOPIC:
                throw .activeElsewhere(consumer, error.description)
            default: throw .commit(error, of: consumer)
            }
        }
    }
}
