import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import Testing
import TestSupport

@testable import KafkaBroker

/// What the mock cluster cannot do: transactions that abort, purges, groups that guard their offsets.
@Suite(.needsRealCluster) struct RealSourceTests {
    private let harness: SourceHarness
    private let place: TopicPartition
    private let name: ConsumerName

    init() throws {
        harness = try SourceHarness(RealKafka.bootstrapServers ?? "") { settings in
            settings.consumersTopic = "_postrider_consumers_test_\(UInt64.random(in: 0...UInt64.max))"
        }
        place = TopicPartition("source-\(UInt64.random(in: 0...UInt64.max))")
        name = ConsumerName("group-\(UInt64.random(in: 0...UInt64.max))")!
        RealKafka.create(place.topic.text, partitions: 2)
    }

    /// One transaction with these values, at its end committed or aborted.
    private func transact(_ values: [String], commits: Bool) throws {
        let client = try KafkaClient(
            ClientConfiguration(
                settings: harness.settings, role: .transactionalProducer(id: "source-tests-\(place.topic)")))
        defer { client.close(within: .seconds(5)) }
        try check(rd_kafka_init_transactions(client.handle, 20_000))
        try check(rd_kafka_begin_transaction(client.handle))
        for value in values {
            let bytes = Array(value.utf8)
            try check(
                pr_produce_by_name(
                    client.handle, place.topic.text, place.partition, nil, 0, bytes, bytes.count, 0, nil, nil))
        }
        try check(rd_kafka_flush(client.handle, 20_000))
        if commits {
            try check(rd_kafka_commit_transaction(client.handle, 20_000))
        } else {
            try check(rd_kafka_abort_transaction(client.handle, 20_000))
        }
    }

    private func purge(below offset: Int64) throws {
        let client = try KafkaClient(ClientConfiguration(settings: harness.settings, role: .admin))
        defer { client.close(within: .seconds(5)) }
        let lows = try AdminClient(client: client, clock: SystemClock())
            .deleteRecords(
                place.topic, below: [place.partition: offset], until: SystemClock().now() + .seconds(20))
        _ = try lows[place.partition]?.get()
    }

    private func joined() throws -> MemberHarness {
        let member = MemberHarness()
        try member.join(harness, name, [place.topic])
        try member.wait("assignment") { $0.assigned.count == 2 }
        return member
    }

    @Test func reading_PassesAbortedRecordsAndMarkers_AndEndsBehindThem() throws {
        try transact(["a", "b"], commits: true)
        try transact(["x", "y"], commits: false)
        try transact(["c"], commits: true)
        // 0 1 a b, 2 marker, 3 4 x y, 5 marker, 6 c, 7 marker.
        // (The last marker comes after the commit's answer.)
        let read = try eventually("all of it") { () -> FetchResult? in
            let read = try harness.read(place, from: 0)
            return read.nextOffset == 8 ? read : nil
        }
        #expect(read.records.map(\.offset) == [0, 1, 6] && read.highWatermark == 8)
        let member = try joined()
        #expect(try member.readAll(harness, place) == [0, 1, 6])
        let end = try member.fetch(harness, place, from: 7)
        #expect(end.records.isEmpty && end.nextOffset == 8 && end.highWatermark == 8)
        let empty = FetchRequest(
            partition: TopicPartition("no-\(place.topic)"), offset: 0, recordsMax: 1, bytesMax: 1)
        #expect(try harness.refusal { harness.source.fetch(empty, completion: $0) } == "unknown_topic")
    }

    @Test func watch_IsTold_WhenATransactionCommits() throws {
        let told = Monitor(false)
        _ = try harness.source.watch(place, from: 0) {
            told.withLock { $0 = true }
            told.broadcast()
        }
        try transact(["a"], commits: true)
        #expect(told.wait(until: patienceEnd()) { $0 ? true : nil } == true)
    }

    @Test func purgedRecords_AreSkipped_AndTheFetchSaysSo() throws {
        try harness.produce(place, (0..<10).map { "v\($0)" })
        try harness.commit(name, place, 2)
        try purge(below: 5)
        let member = try joined()
        _ = try harness.committed(name, [place])
        let found = try eventually("what is left") { () -> FetchResult? in
            let found = try member.fetch(harness, place, from: 2)
            return found.records.isEmpty ? nil : found
        }
        #expect(found.lowWatermark == 5 && found.records.map(\.offset) == [5, 6, 7, 8, 9])
    }

    @Test func offsets_AreGuarded_WhileTheGroupHasMembers_AndGoWithTheConsumer() throws {
        try harness.commit(name, place, 1, metadata: "before anybody joined")
        let member = try joined()
        let all: [TopicPartition: CommittedOffset] = try harness.answer {
            harness.offsets.committed(consumer: name, of: [place], completion: $0)
        }
        #expect(all == [place: CommittedOffset(offset: 1, metadata: "before anybody joined")])
        // Another gateway.
        let other = try SourceHarness(RealKafka.bootstrapServers ?? "") {
            $0.consumersTopic = harness.settings.consumersTopic
        }
        #expect(
            try other.refusal { (done: @escaping @Sendable (Result<Void, BrokerError>) -> Void) in
                other.offsets.commit(consumer: name, offsets: [place: CommittedOffset(offset: 9)], completion: done)
            } == "consumer_active_elsewhere")
        #expect(
            try other.refusal { other.offsets.forget(consumer: name, completion: $0) } == "consumer_active_elsewhere")
        try harness.commit(name, place, 3, metadata: "m")
        #expect(try other.committed(name, [place]) == [place: 3], "as every Kafka tool sees it")
        member.close()
        try harness.answer { harness.offsets.forget(consumer: name, completion: $0) }
        #expect(try other.committed(name, [place]) == [:])
    }

    @Test func replacing_DeletesTheOffsetsOfOtherTopics() throws {
        let kept = TopicPartition(topic: place.topic, partition: 1)
        let gone = TopicPartition("gone-\(place.topic)")
        RealKafka.create(gone.topic.text, partitions: 1)
        try harness.commit(name, gone, 0)
        let definition = ConsumerDefinitionBytes(name: name, bytes: [1])
        try harness.answerOnceReady {
            harness.offsets.define(
                definition, offsets: [kept: CommittedOffset(offset: 0)], replacing: true, completion: $0)
        }
        #expect(try harness.committed(name, [kept, gone]) == [kept: 0])
        #expect(try harness.offsets.definitions().map(\.name) == [name])
    }

    @Test func secondMember_TakesPartitions_AndTheFirstMayNotCommitThem() throws {
        let first = try joined()
        _ = try harness.committed(name, [place, TopicPartition(topic: place.topic, partition: 1)])
        let other = try SourceHarness(RealKafka.bootstrapServers ?? "") {
            $0.consumersTopic = harness.settings.consumersTopic
        }
        let second = MemberHarness()
        try second.join(other, name, [place.topic])
        try second.wait("its share") { $0.assigned.count == 1 }
        try first.wait("what is left") { $0.assigned.count == 1 }
        let lost = try #require(second.state.withLock { $0.assigned.first })
        #expect(
            try harness.refusal { (done: @escaping @Sendable (Result<Void, BrokerError>) -> Void) in
                harness.offsets.commit(consumer: name, offsets: [lost: CommittedOffset(offset: 0)], completion: done)
            } == "partition_not_assigned")
    }
}
