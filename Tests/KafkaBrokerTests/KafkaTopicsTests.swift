import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import TestSupport
import Testing

@testable import KafkaBroker

private let orders = TopicName("orders")!
private let others = (0..<5).map { TopicName("other-\($0)")! }

/// Over the mock cluster.
@Suite struct KafkaTopicsTests {
    private func partitions(_ knowledge: TopicKnowledge) -> Int32? {
        if case .known(let known) = knowledge { known.partitions } else { nil }
    }

    @Test func topic_IsKnown_OnceItWasVerified() throws {
        let cluster = MockCluster()
        cluster.createTopic("orders", partitions: 7)
        let harness = try TopicsHarness(cluster.bootstrapServers) { $0.metadataRefresh = .seconds(3600) }
        #expect(partitions(try harness.verify(orders)) == 7)
        #expect(partitions(harness.topics.knowledge(of: orders)) == 7)
        let health = harness.topics.health
        #expect(health.isReachable == true)
        #expect(health.brokers == 3)
        #expect(health.clusterID != nil)
    }

    @Test func topics_OfTheCluster_AreKnownWithoutAsking() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders", partitions: 2)
        let harness = try TopicsHarness(cluster.bootstrapServers) { $0.metadataRefresh = .milliseconds(50) }
        let known = eventually { partitions(harness.topics.knowledge(of: orders)) == 2 }
        #expect(known)
        cluster.createTopic("other-0", partitions: 3)
        let seen = eventually { partitions(harness.topics.knowledge(of: others[0])) == 3 }
        #expect(seen)
        #expect(try harness.list() == [orders, others[0]])
    }

    @Test func topic_ThatIsGone_IsMissing() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders")
        let harness = try TopicsHarness(cluster.bootstrapServers) { $0.metadataRefresh = .seconds(3600) }
        #expect(partitions(try harness.verify(orders)) == 4)
        cluster.setError(of: "orders", to: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART.rawValue)
        let isMissing = try eventually { try harness.verify(orders) == .missing }
        #expect(isMissing)
        #expect(try harness.describe(orders) == nil)
    }

    /// What may not be looked at any more was there, and its permission may come back.
    @Test func topic_StaysKnown_WhenItMayNotBeSeenAnyMore() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders")
        cluster.createTopic("other-0")
        cluster.setError(of: "other-0", to: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED.rawValue)
        let harness = try TopicsHarness(cluster.bootstrapServers) { $0.metadataRefresh = .milliseconds(50) }
        #expect(partitions(try harness.verify(orders)) == 4)
        #expect(try harness.verify(others[0]) == .unverified)
        cluster.setError(of: "orders", to: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED.rawValue)
        let isDenied = eventually { failure { try harness.describe(orders) }?.code == "broker_denied" }
        #expect(isDenied)
        // Until rounds and questions have seen it.
        for _ in 0..<3 {
            cluster.createTopic("round", partitions: 1)
            #expect(partitions(try harness.verify(orders)) == 4)
        }
    }

    @Test func knownTopics_AreAcceptedFromDisk_WhileKafkaIsAway() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders", partitions: 7)
        let first = try TopicsHarness(cluster.bootstrapServers)
        #expect(partitions(try first.verify(orders)) == 7)
        first.close()
        cluster.setDown(1)

        let second = try TopicsHarness(cluster.bootstrapServers, after: first)
        #expect(partitions(second.topics.knowledge(of: orders)) == 7)
        #expect(partitions(try second.verify(orders)) == 7)
        #expect(second.topics.knowledge(of: others[0]) == .unverified)
        #expect(try second.verify(others[0]) == .unverified)
        #expect(second.topics.health.isReachable == false)
        #expect(second.topics.health.lastError != nil)
        cluster.setUp(1)
        let isBack = eventually { second.topics.health.isReachable == true }
        #expect(isBack)
        #expect(partitions(try second.verify(others[0])) != nil)
    }

    @Test func damagedFile_IsLeftAside() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders", partitions: 7)
        let first = try TopicsHarness(cluster.bootstrapServers)
        #expect(partitions(try first.verify(orders)) == 7)
        first.close()
        first.fileSystem.overwrite("/data/\(TopicFile.name)") { $0[30] ^= 1 }
        cluster.setDown(1)
        let second = try TopicsHarness(cluster.bootstrapServers, after: first)
        #expect(second.topics.knowledge(of: orders) == .unverified)
    }

    @Test func whatWasKnown_IsForgotten_WhenTheClusterIsAnother() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders", partitions: 7)
        let first = try TopicsHarness(cluster.bootstrapServers)
        #expect(partitions(try first.verify(orders)) == 7)
        first.close()
        let other = MockCluster(brokers: 2)
        let second = try TopicsHarness(other.bootstrapServers, after: first) { $0.metadataRefresh = .seconds(3600) }
        let isForgotten = eventually { second.topics.knowledge(of: orders) == .unverified }
        #expect(isForgotten)
        // Its id is its address in memory, so the first one must not be gone before.
        withExtendedLifetime(cluster) {}
    }

    /// Nobody waits longer than for one question, however many are asked.
    @Test func questions_AreAnsweredTogether_WhenTheClusterHangs() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders")
        let harness = try TopicsHarness(cluster.bootstrapServers) { settings in
            settings.socketTimeout = .milliseconds(300)
            settings.verificationsMax = 40
            settings.probeInterval = .seconds(3600)
            settings.metadataRefresh = .seconds(3600)
        }
        let isUp = eventually { harness.topics.health.isReachable == true }
        #expect(isUp)
        cluster.setRoundTrip(1, milliseconds: 5_000)
        let answers = Monitor<[TopicKnowledge]>([])
        for round in 0..<20 {
            for topic in others {
                harness.topics.verify(topic) { knowledge in
                    answers.withLock { $0.append(knowledge) }
                    answers.broadcast()
                }
            }
            // More than may wait are told at once.
            if round == 19 { #expect(answers.withLock { $0.count } >= 60) }
        }
        let all = answers.wait(until: patienceEnd()) { $0.count == 100 ? $0 : nil }
        #expect(all.map(Set.init) == [.unverified])
        #expect(harness.topics.health.isReachable == false)
    }

    @Test func calls_FailAsRetriable_WhenNoBrokerAnswers_AndAreBounded() throws {
        let harness = try TopicsHarness("127.0.0.1:1") { settings in
            settings.adminTimeout = .milliseconds(300)
            settings.adminCallsMax = 4
        }
        #expect(failure { try harness.describe(orders) }?.class == .retriable)
        #expect(failure { try harness.list() }?.class == .retriable)
        #expect(failure { try harness.create(orders) }?.class == .retriable)
        #expect(failure { try harness.purge(orders, [0: 1]) }?.class == .retriable)
        #expect(failure { try harness.delete(orders) }?.class == .retriable)
        #expect(failure { try harness.offsets(orders, atOrAfterMs: 0) }?.class == .retriable)
        let codes = Monitor<[String]>([])
        for _ in 0..<12 {
            harness.topics.describe(orders) { result in
                if case .failure(let error) = result { codes.withLock { $0.append(error.code) } }
                codes.broadcast()
            }
        }
        let all = codes.wait(until: patienceEnd()) { $0.count == 12 ? $0 : nil }
        #expect(all?.contains("broker_busy") == true)
        harness.close()
        #expect(failure { try harness.list() }?.code == "broker_closed")
    }

    @Test func topic_IsDescribed_WithLeadersReplicasAndWatermarks() throws {
        let cluster = MockCluster()
        cluster.createTopic("orders", partitions: 2)
        cluster.setLeader(of: "orders", partition: 1, to: 3)
        let harness = try TopicsHarness(cluster.bootstrapServers)
        let client = try producer(cluster.bootstrapServers)
        defer { client.close(within: .seconds(5)) }
        for _ in 0..<3 { try send(client, partition: 1, "value") }
        let found = try harness.describe(orders)
        #expect(found?.partitions.map(\.highWatermark) == [0, 3])
        #expect(found?.partitions.map(\.lowWatermark) == [0, 0])
        #expect(found?.partitions.last?.leader == 3)
        #expect(found?.partitions.allSatisfy { $0.replicas.sorted() == [1, 2, 3] } == true)
        #expect(try harness.describe(TopicName("orders")!) == found)
    }

    @Test func offsets_AreTold_OfTheFirstRecordAtOrAfterATime() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("orders", partitions: 1)
        let harness = try TopicsHarness(cluster.bootstrapServers)
        #expect(try harness.offsets(orders, atOrAfterMs: 0) == [0: 0])
    }

    private func producer(_ bootstrapServers: String) throws -> KafkaClient {
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = bootstrapServers
        return try KafkaClient(ClientConfiguration(settings: settings, role: .idempotentProducer))
    }

    private func send(_ client: KafkaClient, partition: Int32, _ value: String) throws {
        let bytes = Array(value.utf8)
        try check(pr_produce_by_name(client.handle, "orders", partition, nil, 0, bytes, bytes.count, 0, nil, nil))
        try check(rd_kafka_flush(client.handle, 10_000))
    }
}
