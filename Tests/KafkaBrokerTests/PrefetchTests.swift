import Broker
import KafkaTestSupport
import Primitives
import Records
import TestSupport
import Testing

@testable import KafkaBroker

/// How what one partition's reader does not take is kept from the others.
@Suite struct PrefetchTests {
    private let topic = TopicName("t")!
    private let name = ConsumerName("c")!

    /// In order, a partition with a lease gives nothing more, for as long as its client likes.
    @Test func partition_IsReadToItsEnd_WhileNobodyTakesFromTheOthers() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("t", partitions: 3)
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic]) { settings in
            settings.prefetchBytesMax = 32 << 10
            settings.consumersActiveMax = 1
        }
        let value = String(repeating: "x", count: 1_000)
        for partition in Int32(0)..<3 {
            try harness.produce(TopicPartition("t", partition), Array(repeating: value, count: 200))
        }
        try member.wait("assignment") { $0.assigned.count == 3 }
        // So that what is ahead of all three is there before anything is taken.
        try member.wait("news") { $0.available > 0 }
        for partition in Int32(0)..<3 {
            let place = TopicPartition("t", partition)
            let found = try member.readAll(harness, place)
            #expect(found == Array(0..<200))
        }
    }

    @Test func fetch_AnswersWithNothing_WhenItsLeaderIsStuckAndAnotherPartitionHasRecords() throws {
        let cluster = MockCluster(brokers: 2)
        cluster.createTopic("t", partitions: 2)
        let (near, far) = (TopicPartition("t", 0), TopicPartition("t", 1))
        cluster.setLeader(of: "t", partition: 0, to: 1)
        cluster.setLeader(of: "t", partition: 1, to: 2)
        cluster.setCoordinator("group", of: "c", to: 1)
        let (harness, member) = try MemberHarness.joined(cluster, name, [topic]) { $0.readTimeout = .seconds(120) }
        try harness.produce(near, ["a"])
        try harness.produce(far, ["b"])
        cluster.setRoundTrip(2, milliseconds: 600_000)
        // The library asks any broker for metadata: each time that it takes the stuck one costs it a socket time-out.
        try member.wait("assignment and records", within: .seconds(240)) { $0.assigned.count == 2 && $0.available > 0 }
        let result = try member.fetch(harness, far, from: 0)
        #expect(result.records.isEmpty && result.nextOffset == 0 && result.highWatermark > 0, "not known to be the end")
        #expect(try member.fetch(harness, near, from: 0).records.map(\.offset) == [0])
        cluster.setRoundTrip(2, milliseconds: 0)
        #expect(try member.readAll(harness, far) == [0])
    }
}
