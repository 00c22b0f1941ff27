import Gateway
import GatewayTestSupport
import JSON
import KafkaTestSupport
import Primitives
import Testing

/// What Kafka's own tools see of a consumer, in both kinds of cluster.
@Suite struct GroupOffsetTests {
    private static let prefix = "eu."

    private func gateway(_ broker: TestBroker) throws -> TestGateway {
        try TestGateway(broker) { try $0.set("broker.kafka.group_prefix=\(Self.prefix)") }
    }

    /// Of partition 0 of a topic of four, told by a client that knows nothing of Postrider.
    private func seen(_ gateway: TestGateway, _ consumer: String, _ topic: String) throws -> GroupOffsets.Value? {
        let servers = try #require(gateway.instance.bootstrapServers)
        return GroupOffsets.committed(Self.prefix + consumer, topic, partitions: 4, at: servers)[0]
    }

    @Test(arguments: [TestBroker.mock, .real])
    func committedOffset_IsTheGroups_AfterEveryAnswer(_ broker: TestBroker) throws {
        let gateway = try gateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let offsets = try gateway.fill(topic, ["a", "b", "c", "d"])
        try gateway.define(consumer, topic)
        #expect(try seen(gateway, consumer, topic)?.offset == offsets[0], "before the 201")
        let delivered = ids(try gateway.poll(consumer, "client=me&\(TestGateway.patience)"))
        try #require(delivered.count == 4)
        #expect(try seen(gateway, consumer, topic)?.offset == offsets[0], "a poll commits nothing")
        func acknowledge(_ id: String) throws -> Int64? {
            let answer = try gateway.settle(consumer, #"{"deliveries":["\#(id)"]}"#)
            #expect(answer.status == 200, "\(answer.text)")
            return try answer.json()["committed"]?[0]?["offset"]?.int64
        }
        #expect(try acknowledge(delivered[0]) == offsets[1])
        let first = try #require(try seen(gateway, consumer, topic))
        #expect(first.offset == offsets[1])
        // Behind a gap: the offset stays, and its metadata says what was acknowledged.
        #expect(try acknowledge(delivered[2]) == offsets[1])
        let second = try #require(try seen(gateway, consumer, topic))
        #expect(second.offset == offsets[1] && second.metadata != first.metadata && second.metadata.utf8.count < 3_584)
        #expect(try acknowledge(delivered[1]) == offsets[3])
        #expect(try seen(gateway, consumer, topic)?.offset == offsets[3])
        #expect(try gateway.committed(consumer) == offsets[3])
    }

    /// A group that somebody else began is gone on with.
    @Test(arguments: [TestBroker.mock, .real])
    func offsetsOfAnotherClient_AreWhereTheConsumerBegins(_ broker: TestBroker) throws {
        let gateway = try gateway(broker)
        let (topic, consumer) = (try gateway.topic(), gateway.name("c"))
        let offsets = try gateway.fill(topic, ["a", "b"])
        GroupOffsets.commit(
            Self.prefix + consumer, topic, partition: 0, offset: offsets[1],
            at: try #require(gateway.instance.bootstrapServers))
        try gateway.define(consumer, topic)
        #expect(try gateway.committed(consumer) == offsets[1])
        let poll = try gateway.poll(consumer)
        #expect(values(poll) == ["b"])
        try gateway.acknowledgeAll(consumer, poll)
        #expect(try seen(gateway, consumer, topic)?.offset == gateway.committed(consumer))
    }
}
