import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import Testing
import TestSupport

@testable import KafkaBroker

/// Reads and watches without a group, at a mock cluster.
@Suite struct ReadingTests {
    private let place = TopicPartition("t")

    private func values(_ count: Int) -> [String] { (0..<count).map { "v\($0)" } }

    @Test func fetch_GivesRecordsAndWatermarks() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 2)
        let harness = try SourceHarness(cluster)
        try harness.produce(place, values(10))
        let all = try harness.read(place, from: 0)
        #expect(all.records.map { String(decoding: $0.record.value ?? [], as: UTF8.self) } == values(10))
        #expect(all.nextOffset == 10 && all.lowWatermark == 0 && all.highWatermark == 10)
        #expect(try harness.read(place, from: 3, max: 4).records.map(\.offset) == [3, 4, 5, 6])
        let part = FetchRequest(partition: place, offset: 2, endOffset: 5, recordsMax: 100, bytesMax: 1 << 20)
        let cut = try harness.answer { harness.source.fetch(part, completion: $0) }
        #expect(cut.records.map(\.offset) == [2, 3, 4] && cut.nextOffset == 5)
        let marks = try harness.read(place, from: .max)
        #expect(marks.records.isEmpty && marks.highWatermark == 10)
        #expect(try harness.read(place, from: 10).records.isEmpty)
        let none = FetchRequest(partition: TopicPartition("t", 7), offset: 0, recordsMax: 1, bytesMax: 1)
        #expect(try harness.refusal { harness.source.fetch(none, completion: $0) } == "unknown_partition")
    }

    /// What a read meets is told as retriable, and does not disturb the next one.
    @Test func fetch_GivesEverything_AfterErrorsThatPass() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 1)
        let harness = try SourceHarness(cluster)
        try harness.produce(place, values(5))
        let errors: [(RequestKind, rd_kafka_resp_err_t)] = [
            (.fetch, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION), (.fetch, RD_KAFKA_RESP_ERR_UNKNOWN),
            (.fetch, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR), (.fetch, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE),
            (.listOffsets, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
            (.listOffsets, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
            (.metadata, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
        ]
        for (kind, code) in errors {
            cluster.pushErrors(kind, [code.rawValue, code.rawValue])
            #expect(try read(harness, until: 5) == [0, 1, 2, 3, 4], "\(kind) \(code)")
        }
    }

    /// librdkafka looks for the coordinator of the group that it wants a name of; reading goes on without.
    @Test func fetch_NeedsNoRightToAGroup() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 1)
        let denied = RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED.rawValue
        cluster.pushErrors(.findCoordinator, Array(repeating: denied, count: 10_000))
        let harness = try SourceHarness(cluster)
        try harness.produce(place, values(5))
        #expect(try read(harness, until: 5) == [0, 1, 2, 3, 4])
        #expect(try harness.offsets.definitions().isEmpty)
    }

    private func read(_ harness: SourceHarness, until count: Int) throws -> [Int64] {
        try eventually("\(count) records") { () -> [Int64]? in
            let found = try harness.read(place, from: 0).records.map(\.offset)
            return found.count < count ? nil : found
        }
    }

    @Test func fetch_GoesOn_WhenTheLeaderMoves() throws {
        let cluster = MockCluster(brokers: 3)
        cluster.createTopic("t", partitions: 1)
        cluster.setLeader(of: "t", partition: 0, to: 1)
        let harness = try SourceHarness(cluster)
        try harness.produce(place, values(3))
        #expect(try harness.read(place, from: 0).records.count == 3)
        cluster.setLeader(of: "t", partition: 0, to: 2)
        cluster.setDown(1)
        #expect(try read(harness, until: 3) == [0, 1, 2])
    }

    @Test func watch_IsTold_WhenARecordComes_AndNotBefore() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 2)
        let harness = try SourceHarness(cluster)
        try harness.produce(place, values(3))
        let told = Monitor<[String]>([])
        func watch(_ name: String, _ place: TopicPartition, from offset: Int64) throws -> (any PartitionWatch)? {
            try harness.source.watch(place, from: offset) {
                told.withLock { $0.append(name) }
                told.broadcast()
            }
        }
        func wait(for name: String) -> Bool {
            told.wait(until: patienceEnd()) { $0.contains(name) ? true : nil } ?? false
        }
        _ = try watch("later", place, from: 3)
        _ = try watch("other", TopicPartition("t", 1), from: 0)
        let cancelled = try watch("cancelled", place, from: 3)
        _ = try watch("now", place, from: 1)
        #expect(wait(for: "now"))
        cancelled?.cancel()
        #expect(!told.withLock { $0.contains("later") })
        try harness.produce(place, ["more"])
        #expect(wait(for: "later"))
        // The same again, from where it stands.
        _ = try watch("again", place, from: 4)
        try harness.produce(place, ["more"])
        #expect(wait(for: "again"))
        let names = told.withLock { $0 }
        #expect(!names.contains("other") && !names.contains("cancelled"))
    }

    @Test func watch_IsRefused_OverTheLimit() throws {
        let cluster = MockCluster(brokers: 1)
        let harness = try SourceHarness(cluster) { $0.watchesMax = 1 }
        let first = try harness.source.watch(place, from: 0) {}
        let error = #expect(throws: BrokerError.self) { _ = try harness.source.watch(place, from: 0) {} }
        #expect(error?.code == "too_many_watches" && error?.class == .retriable)
        first?.cancel()
        #expect(throws: Never.self) { _ = try harness.source.watch(place, from: 0) {} }
    }
}
