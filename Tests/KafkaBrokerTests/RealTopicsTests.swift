import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import Testing
import TestSupport

@testable import KafkaBroker

/// What the mock cluster cannot do, on a real one (`POSTRIDER_TEST_KAFKA`).
@Suite(.needsRealCluster) struct RealTopicsTests {
    private let harness: TopicsHarness
    private let topic = TopicName("postrider-test-topics-\(String(UInt64.random(in: 0...UInt64.max), radix: 36))")!

    init() throws { harness = try Self.open() }

    private static func open(_ configure: (inout KafkaBrokerSettings) -> Void = { _ in }) throws -> TopicsHarness {
        try TopicsHarness(try #require(RealKafka.bootstrapServers)) { settings in
            settings.socketTimeout = .seconds(5)
            settings.metadataRefresh = .seconds(3600)
            configure(&settings)
        }
    }

    /// For those who go to all brokers at once.
    private func make(_ settings: TopicSettings) throws -> Bool {
        let isNew = try harness.create(topic, settings)
        RealKafka.waitUntilKnown(topic.text)
        return isNew
    }

    private func known(_ knowledge: TopicKnowledge) -> KnownTopic? {
        if case .known(let known) = knowledge { known } else { nil }
    }

    @Test func topic_IsMadeChangedAndDeleted_AndIntakeKnowsAtOnce() throws {
        let asked = TopicSettings(partitions: 3, retentionMs: 3_600_000, retentionBytes: -1, recordBytesMax: 5_000)
        #expect(try harness.create(topic, asked))
        let first = try #require(known(harness.topics.knowledge(of: topic)))
        #expect(first.partitions == 3)
        #expect(first.messageBytesMax == 6_024)
        #expect(!(try harness.create(topic, TopicSettings(partitions: 9))))
        let isListed = try eventually { try harness.list().contains(topic) }
        #expect(isListed)

        // Its leaders tell where they begin and end once they know that they lead.
        let isLed = try eventually { try harness.describe(topic)?.partitions.map(\.highWatermark) == [0, 0, 0] }
        #expect(isLed)
        let described = try #require(try harness.describe(topic))
        #expect(described.partitions.map(\.partition) == [0, 1, 2])
        #expect(described.partitions.allSatisfy { $0.leader != nil && !$0.inSyncReplicas.isEmpty })
        #expect(described.partitions.allSatisfy { $0.lowWatermark == 0 && $0.highWatermark == 0 })
        var settings = asked
        settings.partitions = nil
        #expect(described.settings == settings)

        #expect(try harness.configure(topic, TopicSettings(recordBytesMax: 7_000)))
        settings.recordBytesMax = 7_000
        #expect(known(harness.topics.knowledge(of: topic))?.messageBytesMax == 8_024)
        // By each broker in its own time.
        let isTold = try eventually { try harness.describe(topic)?.settings == settings }
        #expect(isTold)

        #expect(try harness.delete(topic))
        #expect(harness.topics.knowledge(of: topic) == .missing)
        // Of brokers, too, each forgets it in its own time, and another one may be asked each time.
        let isGone = try eventually { try harness.describe(topic) == nil }
        #expect(isGone)
        #expect(!(try harness.delete(topic)))
        let isUnchanged = try eventually { try !harness.configure(topic, TopicSettings(recordBytesMax: 7_000)) }
        #expect(isUnchanged)
        let isMissing = try eventually { try harness.verify(topic) == .missing }
        #expect(isMissing)
    }

    @Test func refusals_AreToldInTheApisWords() throws {
        #expect(failure { try harness.create(topic, TopicSettings(retentionMs: -7)) }?.code == "invalid_topic_settings")
        let wide = try Self.open { $0.replicationFactor = 99 }
        #expect(failure { try wide.create(topic) }?.code == "broker_refused")
        #expect(failure { try harness.purge(topic, [0: 0]) }?.code == "unknown_topic")
        #expect(failure { try harness.offsets(topic, atOrAfterMs: 0) }?.code == "unknown_topic")
        #expect(try harness.verify(topic) == .missing)
    }

    @Test func topic_OfAnotherTool_IsKnownOnceItIsVerified_AndItsEndToo() throws {
        #expect(harness.topics.knowledge(of: topic) == .unverified)
        #expect(try harness.verify(topic) == .missing)
        RealKafka.create(
            topic.text, partitions: 2,
            configuration: ["max.message.bytes": "7777"])
        // An answer is good for a second.
        let isKnown = try eventually { known(try harness.verify(topic))?.partitions == 2 }
        #expect(isKnown)
        let now = try #require(known(harness.topics.knowledge(of: topic)))
        #expect(now.messageBytesMax == 7_777)
        RealKafka.delete(topic.text)
        let isMissing = try eventually { try harness.verify(topic) == .missing }
        #expect(isMissing)
    }

    @Test func verification_MakesTheTopic_WhereProducingMay() throws {
        let maker = try Self.open { settings in
            settings.createTopics = true
            settings.partitionsDefault = 5
        }
        #expect(known(try maker.verify(topic))?.partitions == 5)
        #expect(try maker.delete(topic))
    }

    @Test func topic_IsNotMadeAgain_WhenSomebodyDeletedIt() throws {
        let maker = try Self.open { settings in
            settings.createTopics = true
            settings.metadataRefresh = .milliseconds(300)
        }
        #expect(known(try maker.verify(topic)) != nil)
        #expect(try harness.delete(topic))
        // A round sees that it is gone, and asks for it by name.
        let isGone = eventually { known(maker.topics.knowledge(of: topic)) == nil }
        #expect(isGone)
        let isUnlisted = try eventually { try !harness.list().contains(topic) }
        #expect(isUnlisted)
    }

    @Test func purge_MovesLowWatermarks_AndRefusesWhatDoesNotFit() throws {
        #expect(try make(TopicSettings(partitions: 2)))
        let producer = try Producer(topic)
        for _ in 0..<5 { try producer.send(partition: 1, value: 10) }
        #expect(try harness.purge(topic, [0: 0, 1: 3]) == [0: 0, 1: 3])
        let partitions = try harness.describe(topic)?.partitions
        #expect(partitions?.map(\.lowWatermark) == [0, 3])
        #expect(partitions?.map(\.highWatermark) == [0, 5])
        #expect(failure { try harness.purge(topic, [0: 0, 1: 6]) }?.code == "offset_out_of_range")
        #expect(failure { try harness.purge(topic, [2: 0]) }?.code == "unknown_partition")
        #expect(try harness.purge(topic, [1: 1])[1] == 3)
        #expect(try harness.delete(topic))
    }

    @Test func offsets_AreTheFirstAtOrAfterATime_OrTheEnd() throws {
        #expect(try make(TopicSettings(partitions: 2)))
        let producer = try Producer(topic)
        let start: Int64 = 1_700_000_000_000
        for second in 0..<3 { try producer.send(partition: 0, value: 10, timestampMs: start + Int64(second) * 1_000) }
        let expected: [(time: Int64, offset: Int64)] = [
            (-1, 0), (0, 0), (start, 0), (start + 1, 1), (start + 2_000, 2), (start + 2_001, 3),
        ]
        for (time, offset) in expected {
            #expect(try harness.offsets(topic, atOrAfterMs: time) == [0: offset, 1: 0], "\(time)")
        }
        #expect(try harness.delete(topic))
    }

    @Test func topicOfCheckpoints_IsWarnedAbout_WhenItIsNotCompacted() throws {
        #expect(try make(TopicSettings(partitions: 8)))
        let other = try Self.open { settings in
            settings.checkpointTopic = topic.text
            settings.metadataRefresh = .milliseconds(300)
        }
        let isTold = eventually {
            other.topics.health.ownTopicWarnings.contains { $0.hasPrefix("\(topic): cleanup.policy delete") }
        }
        #expect(isTold)
        #expect(try other.describe(topic)?.warnings.contains { $0.hasPrefix("cleanup.policy delete") } == true)
        #expect(try harness.delete(topic))
    }

    /// To the byte: what intake counts is what Kafka compares with `max.message.bytes`.
    @Test func size_IsThatWhichKafkaCounts() throws {
        #expect(try make(TopicSettings(partitions: 1, recordBytesMax: 5_000)))
        let limit = try #require(known(harness.topics.knowledge(of: topic))?.messageBytesMax)
        let empty = Record(key: nil, value: Array(repeating: 120, count: 5_000)[...], timestampMs: 0)
        let most = 5_000 + limit - RecordBatchSize.bytes(of: empty)
        let producer = try Producer(topic)
        try producer.send(partition: 0, value: most)
        #expect(try harness.describe(topic)?.partitions.first?.highWatermark == 1)
        try producer.send(partition: 0, value: most + 1)
        #expect(try harness.describe(topic)?.partitions.first?.highWatermark == 1)
        #expect(try harness.delete(topic))
    }
}

/// Sends single records with the longest `postrider-id`, each in a batch of its own.
private final class Producer {
    private let client: KafkaClient
    private let topic: TopicName

    init(_ topic: TopicName) throws {
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = try #require(RealKafka.bootstrapServers)
        client = try KafkaClient(ClientConfiguration(settings: settings, role: .idempotentProducer))
        self.topic = topic
    }

    deinit { client.close(within: .seconds(5)) }

    /// - Parameter value: its bytes.
    func send(partition: Int32, value: Int, timestampMs: Int64 = 0) throws {
        let headers = rd_kafka_headers_new(1)
        let identity = String(repeating: "i", count: 57)
        try check(rd_kafka_header_add(headers, "postrider-id", -1, identity, 57))
        let bytes = [UInt8](repeating: 120, count: value)
        try check(
            pr_produce_by_name(
                client.handle, topic.text, partition, nil, 0, bytes, bytes.count, timestampMs, headers, nil))
        try check(rd_kafka_flush(client.handle, 20_000))
    }
}
