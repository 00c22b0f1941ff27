import Broker
import Records
import Testing

@testable import KafkaBroker

@Suite struct TopicConfigurationTests {
    private static let forEver = String(Int64.max)
    private static let (before, after, either, type) = (
        "message.timestamp.before.max.ms", "message.timestamp.after.max.ms", "message.timestamp.difference.max.ms",
        "message.timestamp.type"
    )

    @Test(arguments: [
        // Kafka 4.0 as it comes.
        ([before: forEver, after: "3600000", type: "CreateTime"], TimestampBounds(beforeMs: nil, afterMs: 3_600_000)),
        // 3.6 to 3.9 as they come, and with the older setting.
        ([before: forEver, after: forEver, either: forEver], nil),
        ([before: forEver, after: forEver, either: "5000"], TimestampBounds(beforeMs: 5_000, afterMs: 5_000)),
        ([before: "9000", after: forEver, either: "5000"], TimestampBounds(beforeMs: 9_000, afterMs: 5_000)),
        // Before 3.6.
        ([either: "5000"], TimestampBounds(beforeMs: 5_000, afterMs: 5_000)),
        ([either: forEver], nil),
        // The broker sets it.
        ([before: "1", after: "1", type: "LogAppendTime"], nil),
        ([:], nil),
    ])
    func timestampBounds_AreThoseOfTheBroker(values: [String: String], bounds: TimestampBounds?) {
        #expect(TopicConfiguration(values).limits.timestampBounds == bounds)
    }

    @Test func settings_AreShownAsTheyWereAskedFor() {
        let asked = TopicSettings(retentionMs: 60_000, retentionBytes: -1, recordBytesMax: 5_000)
        let changes = TopicConfiguration.changes(asked)
        #expect(
            changes == ["retention.ms": "60000", "retention.bytes": "-1", "max.message.bytes": "6024"])
        #expect(TopicConfiguration(changes).settings == asked)
        #expect(TopicConfiguration.changes(TopicSettings(partitions: 3)).isEmpty)
        #expect(TopicConfiguration(["retention.ms": "-2"]).settings.retentionMs == TopicSettings.unlimited)
        #expect(TopicConfiguration(["max.message.bytes": "10"]).settings.recordBytesMax == 1)
    }

    private static func partitions(replicas: Int32, leaders: [Int32?]) -> [KafkaMetadata.Partition] {
        leaders.enumerated().map { number, leader in
            .init(
                partition: Int32(number), leader: leader, replicas: Array(1...replicas),
                inSyncReplicas: Array(1...replicas))
        }
    }

    private static let safe = [
        "min.insync.replicas": "2", "unclean.leader.election.enable": "false", "cleanup.policy": "delete",
    ]

    @Test func safeTopic_HasNoWarning() {
        let partitions = Self.partitions(replicas: 3, leaders: [1, 2])
        #expect(TopicConfiguration.warnings(partitions, TopicConfiguration(Self.safe)).isEmpty)
    }

    @Test(arguments: [
        ("min.insync.replicas", "1", "min.insync.replicas 1"),
        ("unclean.leader.election.enable", "true", "unclean.leader.election.enable"),
        ("cleanup.policy", "delete, compact", "cleanup.policy compact"),
    ])
    func setting_IsWarnedAbout_WhenItCanLoseRecords(name: String, value: String, warning: String) {
        let partitions = Self.partitions(replicas: 3, leaders: [1])
        var values = Self.safe
        values[name] = value
        let warnings = TopicConfiguration.warnings(partitions, TopicConfiguration(values))
        #expect(warnings.count == 1)
        #expect(warnings.first?.hasPrefix(warning) == true)
    }

    @Test(arguments: [("delete", 1), ("compact,delete", 1), ("compact", 0)])
    func topicOfPostridersOwn_IsWarnedAbout_UnlessItIsCompactedOnly(policy: String, count: Int) {
        var values = Self.safe
        values["cleanup.policy"] = policy
        let warnings = OwnTopic.warnings(
            Self.partitions(replicas: 3, leaders: [1]), TopicConfiguration(values), replicas: 3)
        #expect(warnings.count == count)
        #expect(warnings.allSatisfy { $0.hasPrefix("cleanup.policy \(policy)") })
    }

    @Test func topicOfPostridersOwn_IsWarnedAbout_WhenItHasFewerReplicasThanAskedFor() {
        var values = Self.safe
        values["cleanup.policy"] = "compact"
        let partitions = Self.partitions(replicas: 3, leaders: [1])
        let warnings = OwnTopic.warnings(partitions, TopicConfiguration(values), replicas: 5)
        #expect(warnings.count == 1 && warnings.first?.contains("3, under the 5") == true)
        #expect(OwnTopic.warnings(partitions, TopicConfiguration(values), replicas: nil).isEmpty)
    }

    @Test func topicOfPostridersOwn_IsKnownByItsName() {
        var settings = KafkaBrokerSettings()
        settings.checkpointTopic = "_postrider_c"
        #expect(OwnTopic(TopicName("_postrider_c")!, settings)?.partitions == 8)
        #expect(OwnTopic(TopicName("_postrider_consumers")!, settings)?.partitions == 1)
        #expect(OwnTopic(TopicName("_postrider_checkpoints")!, settings) == nil)
        let error = #expect(throws: BrokerError.self) { _ = try OwnTopic(named: "no topic", settings) }
        #expect(error?.class == .processFatal)
    }

    @Test func partitions_AreWarnedAbout_WhenReplicasOrLeadersLack() {
        let warnings = TopicConfiguration.warnings(
            Self.partitions(replicas: 2, leaders: Array(repeating: nil, count: 12)), TopicConfiguration(Self.safe))
        #expect(warnings.count == 2)
        #expect(warnings.first?.hasPrefix("replication factor 2") == true)
        #expect(warnings.last?.contains("0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more") == true)
        let unread = TopicConfiguration.warnings(Self.partitions(replicas: 3, leaders: [1]), nil)
        #expect(unread.count == 1)
    }
}
