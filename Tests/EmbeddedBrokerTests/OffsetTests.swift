import Broker
import Primitives
import Records
import Testing
import TestSupport

@testable import EmbeddedBroker

private let first = TopicPartition(topic: orders, partition: 0)
private let second = TopicPartition(topic: orders, partition: 1)
private let third = TopicPartition(topic: payments, partition: 0)

@Suite struct OffsetTests {
    struct Bad: Sendable, CustomTestStringConvertible {
        var testDescription: String { code }
        var partition: TopicPartition
        var offset: CommittedOffset
        var code: String
    }

    static let bad = [
        Bad(
            partition: TopicPartition(topic: TopicName("none")!, partition: 0), offset: CommittedOffset(offset: 1),
            code: "unknown_topic"),
        Bad(
            partition: TopicPartition(topic: orders, partition: 4), offset: CommittedOffset(offset: 1),
            code: "unknown_partition"),
        Bad(partition: second, offset: CommittedOffset(offset: -1), code: "invalid_offset"),
        Bad(
            partition: second, offset: CommittedOffset(offset: 1, metadata: String(repeating: "m", count: 3585)),
            code: "offset_metadata_too_large"),
    ]

    @Test(arguments: bad)
    func commit_StoresNothing_WhenOneOfItsOffsetsIsBad(bad: Bad) throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let offsets = [first: CommittedOffset(offset: 9), bad.partition: bad.offset]
        try expectRefusal(bad.code) { try harness.commit(billing, offsets) }
        #expect(try harness.committed(billing).isEmpty)
    }

    @Test func commits_AreDurable_AndKeepTheOtherPartitions() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let metadata = String(repeating: "m", count: OffsetStoreLimits.metadataBytesMax)
        try harness.commit(billing, [first: CommittedOffset(offset: 1), second: CommittedOffset(offset: 2)])
        try harness.commit(billing, [first: CommittedOffset(offset: 3, metadata: metadata)])
        try harness.reopen()
        let committed = try harness.committed(billing)
        #expect(
            committed == [first: CommittedOffset(offset: 3, metadata: metadata), second: CommittedOffset(offset: 2)])
        #expect(try harness.committed(ConsumerName("other")!).isEmpty)
    }

    @Test func define_ReplacesDefinitionAndOffsetsTogether() throws {
        let harness = try BrokerHarness()
        for topic in [orders, payments] { _ = try harness.create(topic) }
        func define(
            _ bytes: ByteSlice, _ offsets: [TopicPartition: CommittedOffset], replacing: Bool
        ) throws {
            try answer {
                harness.broker.define(
                    ConsumerDefinitionBytes(name: billing, bytes: bytes), offsets: offsets, replacing: replacing,
                    completion: $0)
            }
        }
        try define([1], [first: CommittedOffset(offset: 1), third: CommittedOffset(offset: 3)], replacing: false)
        try define([2], [second: CommittedOffset(offset: 2)], replacing: false)
        #expect(try harness.committed(billing).count == 3)
        // Too large: neither is changed.
        let large = ByteSlice(repeating: 0, count: harness.broker.settings.definitionBytesMax + 1)
        try expectRefusal("definition_too_large") { try define(large, [:], replacing: true) }
        #expect(try harness.committed(billing).count == 3)
        try define([3], [second: CommittedOffset(offset: 7)], replacing: true)
        #expect(
            try harness.committed(billing) == [first: CommittedOffset(offset: 1), second: CommittedOffset(offset: 7)])
        try harness.reopen()
        #expect(try harness.broker.definitions().map(\.bytes) == [[3]])
        try answer { harness.broker.forget(consumer: billing, completion: $0) }
        #expect(try harness.broker.definitions().isEmpty)
        #expect(try harness.committed(billing).isEmpty)
    }

    @Test func consumersMax_RefusesNewOnesOnly() throws {
        let harness = try BrokerHarness { $0.consumersMax = 1 }
        func define(_ name: String) throws {
            try answer {
                harness.broker.define(
                    ConsumerDefinitionBytes(name: ConsumerName(name)!, bytes: [1]), offsets: [:], replacing: false,
                    completion: $0)
            }
        }
        try define("one")
        try define("one")
        try expectRefusal("too_many_consumers") { try define("two") }
    }

    @Test func commits_AreGroupedIntoOneTransaction_AndRefusedPastTheLimit() throws {
        let harness = try BrokerHarness { $0.jobsQueuedMax = 20 }
        _ = try harness.create(orders)
        let group = HeldGroup(harness.broker)
        let results = Monitor<[String]>([])
        for offset in 1...25 {
            harness.broker.commit(consumer: billing, offsets: [first: CommittedOffset(offset: Int64(offset))]) {
                result in
                results.withLock { results in
                    if case .failure(let error) = result { results.append(error.code) } else { results.append("done") }
                }
                results.broadcast()
            }
        }
        group.release(afterQueued: 25)
        let all = results.wait(until: patienceEnd()) { $0.count == 25 ? $0 : nil }
        #expect(all == Array(repeating: "done", count: 20) + Array(repeating: "broker_busy", count: 5))
        #expect(try harness.committed(billing)[first]?.offset == 20)
    }
}
