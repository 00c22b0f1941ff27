import Gateway
import GatewayTestSupport
import JSON
import KafkaTestSupport
import Primitives
import Records
import Testing
import TestSupport

/// Rights that are withdrawn and given back, as clients of a gateway see it. Broker 1 of the mock cluster refuses,
/// broker 2 does not.
@Suite struct KafkaDenialTests {
    /// Kafka's codes.
    private static let (topicDenied, groupDenied): (Int32, Int32) = (29, 30)

    private let gateway: TestGateway
    private let cluster: MockCluster
    private var client: HTTPClient { gateway.client }

    init() throws {
        let instance = try BrokerInstance(.mock, brokers: 2)
        // A transaction's checkpoint is at the other broker, and the mock would show that of an aborted one.
        gateway = try TestGateway(instance) { try $0.set("broker.kafka.guarantee=at-least-once") }
        cluster = try #require(instance.mock)
        for partition in 0..<Int32(8) { cluster.setLeader(of: instance.checkpointTopic, partition: partition, to: 2) }
        cluster.setLeader(of: instance.consumersTopic, partition: 0, to: 2)
    }

    /// A topic of this lane whose partition is led by this broker.
    private func topic(lane: UInt8, leader: Int32) throws -> String {
        let text = try #require(
            (0..<64).map { "t\($0)" }.first { text in
                TopicName(gateway.name(text)).map { Records.lane(of: $0, lanes: 2) } == lane
            })
        let topic = try gateway.topic(text, partitions: 1)
        cluster.setLeader(of: topic, partition: 0, to: leader)
        return topic
    }

    private func deliver(_ topic: String, _ value: String) throws -> Answer {
        try client.request("POST", "/v1/topics/\(topic)", [("Prefer", "wait=60")], body: Array(value.utf8))
    }

    @Test func topicsRecords_AreAcceptedAndDeliveredOnce_WhenTheRightToWriteComesBack() throws {
        let (denied, other) = (try topic(lane: 0, leader: 1), try topic(lane: 1, leader: 2))
        #expect(try deliver(denied, "0").status == 200)
        #expect(try deliver(other, "0").status == 200)
        cluster.deny(.produce, Self.topicDenied, exceptAt: 2)
        let receipts = try (1...10).map { try client.produce(denied, "\($0)") }
        let lane = try eventually {
            let lanes = try client.request("GET", "/readyz?require=forwarding").json()["forwarding"]?["lanes"]
            return lanes?[0]?["lane"]?.int64 == 0 && lanes?[0]?["tries"]?.int64 ?? 0 >= 2
                && lanes?[0]?["error"]?.string == "topic_authorization_failed"
        }
        let status = try client.request("GET", "/readyz?require=forwarding").text
        #expect(lane, "\(status)")
        #expect(try client.request("GET", "/readyz").status == 200)
        #expect(try deliver(other, "1").status == 200, "its lane goes on")
        #expect(try client.request("GET", "/v1/receipts/\(receipts[0])").json()["state"]?.string == "accepted")
        cluster.allow(.produce)
        for receipt in receipts { #expect(try client.settled(receipt)["state"]?.string == "delivered") }
        let read = try client.request("GET", "/v1/topics/\(denied)/partitions/0/records?max=1000").json()
        #expect(read["records"]?.list.map { $0["value"]?.int64 } == (0...10).map { $0 })
        #expect(try client.request("GET", "/v1/status").json()["dead_letters"]?.int64 == 0)
        #expect(gateway.local.ended.withLock { $0 } == [])
    }

    struct Denial: CustomTestStringConvertible, Sendable {
        var kind: RequestKind
        var code: Int32
        var testDescription: String { "\(kind) \(code)" }
    }

    /// Two consumers whose groups are at different brokers.
    private func consumers(_ topics: [String]) throws -> [String] {
        try zip(["denied", "other"], topics).enumerated().map { index, pair in
            let consumer = gateway.name(pair.0)
            cluster.setCoordinator("group", of: consumer, to: Int32(index + 1))
            let answer = try client.putJSON("/v1/consumers/\(consumer)", #"{"topics":["\#(pair.1)"]}"#)
            try #require(answer.status == 201, "\(answer.text)")
            return consumer
        }
    }

    private func poll(_ consumer: String, wait: Int) throws -> Answer {
        try client.request("POST", "/v1/consumers/\(consumer)/poll?wait=\(wait)&client=me")
    }

    private func acknowledge(_ consumer: String, _ poll: Answer) throws -> Answer {
        let token = try #require(try poll.json()["ack"]?.string, "\(poll.text)")
        return try client.postJSON("/v1/consumers/\(consumer)/acks", #"{"ack":"\#(token)"}"#)
    }

    @Test(arguments: [
        Denial(kind: .joinGroup, code: groupDenied), Denial(kind: .offsetFetch, code: groupDenied),
        Denial(kind: .fetch, code: topicDenied),
    ])
    func consumersRecords_Come_WhenTheRightToReadComesBack(_ denial: Denial) throws {
        let topics = [try topic(lane: 0, leader: 1), try topic(lane: 1, leader: 2)]
        let consumers = try consumers(topics)
        for topic in topics {
            for number in 0..<4 { try client.produce(topic, "\(number)") }
            #expect(try deliver(topic, "4").status == 200)
        }
        cluster.deny(denial.kind, denial.code, exceptAt: 2)
        let waiting = try gateway.local.client()
        try waiting.send("POST", "/v1/consumers/\(consumers[0])/poll?wait=60&client=me")
        let others = try poll(consumers[1], wait: 15)
        #expect(try others.json()["records"]?.list.isEmpty == false, "\(others.text)")
        #expect(try acknowledge(consumers[1], others).status == 200)
        #expect(waiting.isSilent(for: .milliseconds(100)), "nothing came, and its wait is not over")
        cluster.allow(denial.kind)
        var answer = try waiting.answer()
        var read: [Int64?] = []
        let isAll = try eventually {
            // What was refused may still be told.
            if answer.status == 200, try answer.json()["ack"]?.string != nil {
                let records = try answer.json()["records"]?.list ?? []
                #expect(records.allSatisfy { $0["delivery"]?["attempt"]?.int64 == 1 })
                read += records.map { $0["value"]?.int64 }
                let ack = try acknowledge(consumers[0], answer)
                #expect(ack.status == 200, "\(ack.text)")
            }
            if read.count >= 5 { return true }
            answer = try poll(consumers[0], wait: 5)
            return false
        }
        #expect(isAll)
        #expect(read == [0, 1, 2, 3, 4])
    }

    @Test func acknowledgement_Is503_AndSucceeds_WhenTheRightToCommitComesBack() throws {
        let topics = [try topic(lane: 0, leader: 2), try topic(lane: 1, leader: 2)]
        let consumers = try consumers(topics)
        for topic in topics { #expect(try deliver(topic, "0").status == 200) }
        let polls = try consumers.map { try poll($0, wait: 15) }
        cluster.deny(.offsetCommit, Self.groupDenied, exceptAt: 2)
        let refused = try acknowledge(consumers[0], polls[0])
        #expect(refused.status == 503, "\(refused.text)")
        #expect(try refused.json()["retryable"]?.bool == true)
        #expect(try acknowledge(consumers[1], polls[1]).status == 200)
        cluster.allow(.offsetCommit)
        var last: Answer?
        let isDone = try eventually {
            last = try acknowledge(consumers[0], polls[0])
            return last?.status == 200
        }
        #expect(isDone, "\(last?.text ?? "")")
        #expect(
            GroupOffsets.committed(consumers[0], topics[0], partitions: 1, at: cluster.bootstrapServers)[0]?.offset == 1
        )
    }
}
