import Broker
import KafkaTestSupport
import Primitives
import Records
import Testing
import TestSupport

@testable import KafkaBroker

/// What the mock cannot do (`MockLimits`): atomicity, fencing, time-outs of transactions, refusals of single topics.
@Suite(.needsRealCluster) struct SinkRealClusterTests {
    private let bootstrapServers = RealKafka.bootstrapServers ?? ""

    /// With a topic of checkpoints of its own: other tests' open transactions are not waited for.
    private func settings(_ guarantee: Guarantee = .exactlyOnce) -> KafkaBrokerSettings {
        var settings = SinkHarness.settings(bootstrapServers, guarantee)
        settings.socketTimeout = .seconds(5)
        settings.transactionTimeout = .seconds(15)
        settings.adminTimeout = .seconds(20)
        settings.checkpointTopic = "test-checkpoints-\(UInt64.random(in: .min ... .max))"
        return settings
    }

    private func topic(_ configuration: [String: String] = [:]) -> TopicName {
        SinkHarness.name(RealKafka.makeTopic("test-sink", partitions: 2, configuration: configuration))
    }

    /// The first one makes the topic of checkpoints, and a broker that has not heard of it yet would refuse a
    /// hand-over, which lanes repeat.
    private func open(_ harness: SinkHarness) throws {
        try harness.open()
        RealKafka.waitUntilKnown(harness.settings.checkpointTopic)
    }

    /// - Parameter count: that come at last: Kafka writes that a transaction is committed after it has said so.
    private func read(_ topic: TopicName, committed: Bool = true, atLeast count: Int = 0) -> [LogReader.Entry] {
        var entries: [LogReader.Entry] = []
        _ = eventually {
            entries = LogReader.read(topic.text, partitions: 2, at: bootstrapServers, committed: committed)
            return entries.count >= count
        }
        return entries
    }

    @Test(arguments: [Guarantee.exactlyOnce, .atLeastOnce])
    func batch_IsReadWithItsDeliveries_AndTheCheckpointFound(_ guarantee: Guarantee) throws {
        let topic = topic()
        let harness = SinkHarness(settings(guarantee), lane: 5)
        try open(harness)
        #expect(harness.previous == nil)
        let batch = harness.records(500, topic: topic)
        let deliveries = try harness.hand(batch)
        let entries = read(topic, atLeast: batch.count)
        #expect(entries.count == batch.count)
        for (outgoing, delivery) in zip(batch, deliveries) {
            let entry = entries.first {
                $0.partition == delivery.partition.partition && $0.offset == delivery.offset
            }
            #expect(entry?.header("postrider-id") == "\(harness.spool.short)-\(outgoing.lsn)")
            #expect(entry?.timestampMs == delivery.timestampMs)
        }
        try open(harness)
        #expect(harness.previous == harness.checkpoint(batch[499].lsn))
    }

    @Test func topicOfCheckpoints_IsCompacted_WhenItIsMade() throws {
        let settings = settings()
        let harness = SinkHarness(settings)
        try open(harness)
        let client = try KafkaClient(ClientConfiguration(settings: settings, role: .admin))
        defer { client.close(within: .seconds(5)) }
        let topic = try OwnTopic(named: settings.checkpointTopic, settings).name
        let count = try client.partitions(of: topic, Patience(.seconds(10), Interruption()))
        #expect(count == CheckpointTopic.partitions)
        let admin = AdminClient(client: client, clock: SystemClock())
        let found = try admin.configurations(
            of: [topic], at: nil, until: SystemClock().now() + .seconds(10))
        let configuration = try #require(try found[topic]?.get())
        for name in ["cleanup.policy", "unclean.leader.election.enable"] {
            #expect(configuration.values[name] == CheckpointTopic.configuration[name], "\(name)")
        }
    }

    @Test func batch_IsInvisible_WhenItWasNotCommitted() throws {
        let topic = topic()
        let harness = SinkHarness(settings())
        try open(harness)
        let batch = harness.records(10, topic: topic)
        let refusal = BrokerError(.retriable, code: "as_told", detail: "")
        #expect(throws: refusal) { try harness.hand(batch) { (_) throws(BrokerError) in throw refusal } }
        #expect(read(topic).isEmpty)
        // It was there: only nobody may read it.
        #expect(read(topic, committed: false).count == batch.count)
        try open(harness)
        #expect(harness.previous == nil)
        try harness.hand(batch)
        #expect(read(topic, atLeast: batch.count).count == batch.count)
    }

    @Test func olderSink_IsFenced_WhenAnotherOfItsLaneIsOpened() throws {
        let topic = topic()
        let harness = SinkHarness(settings())
        try open(harness)
        try harness.hand(harness.records(1, topic: topic))
        let second = try harness.sinks.openSink(spool: harness.spool, lane: harness.lane)
        defer { second.sink.close() }
        #expect(second.previous?.lsn == LSN(epoch: 1, sequence: 1))
        let error = #expect(throws: BrokerError.self) { try harness.hand(harness.records(1, topic: topic)) }
        #expect(error?.class == .fenced)
        #expect(read(topic, atLeast: 1).count == 1)
    }

    @Test func handOver_IsTimedOut_WhenTheTransactionTakesTooLong() throws {
        let topic = topic()
        var settings = settings()
        settings.socketTimeout = .seconds(1)
        settings.transactionTimeout = .seconds(1)
        let harness = SinkHarness(settings)
        try open(harness)
        let batch = harness.records(3, topic: topic)
        // The broker looks for transactions that are over every 10 s.
        let error = #expect(throws: BrokerError.self) {
            try harness.hand(batch) { (_) throws(BrokerError) in
                _ = Monitor(false).wait(until: SystemClock().now() + .seconds(12)) { $0 ? true : nil }
            }
        }
        #expect(error?.class == .fenced || error?.class == .sinkFatal, "\(error?.description ?? "")")
        #expect(
            [BrokerError.transactionTimedOutCode, "commit_uncertain"].contains(error?.code),
            "\(error?.description ?? "")")
        let delivered = harness.handUntilDelivered(batch)
        #expect(delivered)
        #expect(read(topic, atLeast: batch.count).count == batch.count)
    }

    @Test func checkpoint_IsWaitedFor_WhileSomebodyElsesTransactionHidesIt() throws {
        let topic = topic()
        let harness = SinkHarness(settings())
        try open(harness)
        // Lies before our checkpoint, and is not decided.
        let other = RealKafka.OpenTransaction(topic: harness.settings.checkpointTopic, partition: 0)
        try harness.hand(harness.records(1, topic: topic))
        harness.close()
        let isOpen = Lock(true)
        let commit = WorkerThread(name: "other") {
            _ = Monitor(false).wait(until: SystemClock().now() + .seconds(2)) { $0 ? true : nil }
            isOpen.withLock { $0 = false }
            other.commit()
        }
        try open(harness)
        let wasOpen = isOpen.withLock { $0 }
        commit.join()
        #expect(!wasOpen)
        #expect(harness.previous?.lsn == LSN(epoch: 1, sequence: 1))
    }

    @Test func deletedTopic_IsMissing_UntilItIsThereAgain() throws {
        let topic = topic()
        let harness = SinkHarness(settings())
        try open(harness)
        try harness.hand(harness.records(1, topic: topic))
        RealKafka.delete(topic.text)
        try open(harness)
        let batch = harness.records(4, topic: topic)
        let error = #expect(throws: BrokerError.self) { try harness.hand(batch) }
        #expect(error?.code == BrokerError.topicMissingCode)
        #expect(error?.class == .retriable)
        RealKafka.create(topic.text, partitions: 2)
        let delivered = harness.handUntilDelivered(batch)
        #expect(delivered, "\(harness.errors)")
        #expect(read(topic, atLeast: batch.count).count == batch.count)
    }

    @Test func largeRecord_IsRefused_WhenTheTopicTakesLess() throws {
        let topic = topic(["max.message.bytes": "2000"])
        let harness = SinkHarness(settings())
        try open(harness)
        let value = [UInt8](repeating: 7, count: 5000)[...]
        let large = harness.record(Record(key: nil, value: value, timestampMs: 1_700_000_000_000), topic: topic)
        let error = #expect(throws: BrokerError.self) { try harness.hand([large]) }
        #expect(error?.class == .recordFatal)
        #expect(error?.code == "record_too_large")
        #expect(read(topic).isEmpty)
    }

    /// Kafka refuses a batch for its size; the one that knows the limit sends smaller ones.
    @Test func smallRecords_AreTaken_WhenTogetherTheyAreOverTheTopicsLimit() throws {
        let topic = topic(["max.message.bytes": "10000"])
        let harness = SinkHarness(settings(), maxMessageBytes: 10_000)
        let batch = (0..<50).map { _ in
            harness.record(
                Record(key: [1], value: [UInt8](repeating: 7, count: 1000)[...], timestampMs: 1_700_000_000_000),
                topic: topic)
        }
        let delivered = harness.handUntilDelivered(batch)
        #expect(delivered)
        #expect(harness.errors.map(\.class) == [.sinkFatal])
        #expect(read(topic, atLeast: batch.count).count == batch.count)
    }

    @Test func timestamp_IsRefused_WhenItIsOutsideWhatTheTopicTakes() throws {
        let topic = topic(["message.timestamp.after.max.ms": "1000"])
        let harness = SinkHarness(settings())
        try open(harness)
        let now = SystemClock().wallMilliseconds()
        let ahead = harness.record(Record(key: nil, value: [1], timestampMs: now + 7_200_000), topic: topic)
        let error = #expect(throws: BrokerError.self) { try harness.hand([ahead]) }
        #expect(error?.class == .recordFatal)
        #expect(error?.code == BrokerError.invalidTimestampCode)
    }
}
