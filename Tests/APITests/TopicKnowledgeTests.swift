import Broker
import GatewayTestSupport
import JSON
import Primitives
import Records
import Testing

/// What intake does by what is known of a topic, with a broker that knows better than what is remembered.
@Suite struct TopicKnowledgeTests {
    private let topics = FakeTopics()
    private let gateway: FakeGateway
    private let client: HTTPClient
    private static let four = TopicKnowledge.known(KnownTopic(partitions: 4, recordBytesMax: 1 << 20))

    init() throws {
        gateway = try FakeGateway(topics: topics)
        client = try gateway.client()
    }

    private func post(_ target: String, _ body: String = "value", _ headers: [(String, String)] = []) throws -> Answer {
        try client.request("POST", "/v1/topics/\(target)", headers, body: Array(body.utf8))
    }

    @Test func record_IsAccepted_WhenTheTopicIsSeenOnlyNow() throws {
        topics.set("orders", Self.four)
        #expect(try post("orders").status == 202)
        #expect(try post("orders", "value", [("Prefer", "wait=60")]).status == 200)
        #expect(try client.postJSON("/v1/topics/orders/records", #"{"records":[{"value":1}]}"#).status == 202)
        topics.remember("orders", Self.four)
        let asked = topics.asked
        #expect(asked == 3)
        #expect(try post("orders").status == 202)
        #expect(topics.asked == asked)
    }

    @Test func record_IsRefused_WhenTheBrokerDoesNotKnowTheTopic() throws {
        topics.set("orders", .missing)
        expectProblem(try post("orders"), 404, "unknown_topic", outcome: "not_accepted", retryable: false)
        topics.set("orders", .unverified)
        expectProblem(try post("orders"), 503, "topic_unverified", outcome: "not_accepted", retryable: true)
        #expect(try post("orders").header("Retry-After") == "5")
        let asked = topics.asked
        topics.remember("orders", .missing)
        expectProblem(try post("orders"), 404, "unknown_topic", outcome: "not_accepted")
        #expect(topics.asked == asked)
    }

    /// Requests wait for the broker, and none of the server's threads does.
    @Test func otherRequests_GoOn_WhileABrokerIsAsked() throws {
        topics.hold()
        topics.set("orders", Self.four)
        topics.remember("payments", Self.four)
        let waiting = try (0..<8).map { _ in try gateway.client() }
        for client in waiting { try client.send("POST", "/v1/topics/orders", [], body: Array("value".utf8)) }
        #expect(topics.waitForHeld(8))
        for _ in 0..<8 { #expect(try post("payments").status == 202) }
        topics.release()
        for client in waiting { #expect(try client.answer().status == 202) }
    }

    @Test func partition_IsChecked_AgainstWhatTheBrokerSaysNow() throws {
        topics.remember("orders", Self.four)
        topics.set("orders", .known(KnownTopic(partitions: 8, recordBytesMax: 1 << 20)))
        #expect(try post("orders?partition=7").status == 202)
        expectProblem(try post("orders?partition=8"), 400, "invalid_parameter", outcome: "not_accepted")
        let batch = #"{"records":[{"value":1,"partition":7},{"value":2,"partition":3}]}"#
        #expect(try client.postJSON("/v1/topics/orders/records", batch).status == 202)
        let bad = #"{"records":[{"value":1,"partition":3},{"value":2,"partition":8}]}"#
        let refused = try client.postJSON("/v1/topics/orders/records", bad)
        expectProblem(refused, 400, "invalid_records", outcome: "not_accepted")
        #expect(try refused.json()["errors"]?[0]?["pointer"]?.string == "/records/1/partition")
        topics.set("orders", .missing)
        expectProblem(try post("orders?partition=4"), 404, "unknown_topic", outcome: "not_accepted")
    }

    @Test func question_IsNotAsked_ForWhatNoTopicAllows() throws {
        topics.remember("orders", Self.four)
        let batch = "/v1/topics/orders/records"
        expectProblem(try client.postJSON(batch, #"{"records":[{}]}"#), 400, "invalid_records", outcome: "not_accepted")
        expectProblem(
            try client.postJSON(batch, #"{"records":[{"value":1,"partition":-1}]}"#), 400, "invalid_records",
            outcome: "not_accepted")
        expectProblem(
            try post("orders", "value", [("Postrider-Header-postrider-id", "x")]), 422, "reserved_header",
            outcome: "not_accepted")
        #expect(topics.asked == 0)
    }

    @Test func record_IsRefusedByName_WhenTheTopicsBatchLimitIsPassed() throws {
        let limit = 1_000
        let known = TopicKnowledge.known(KnownTopic(partitions: 4, recordBytesMax: 1, messageBytesMax: limit))
        topics.remember("orders", known)
        topics.set("orders", known)
        let record = Record(key: nil, value: Array(repeating: 120, count: 500)[...], timestampMs: 0)
        let overhead = RecordBatchSize.bytes(of: record) - 500
        let fits = String(repeating: "x", count: limit - overhead)
        #expect(try post("orders", fits).status == 202)
        let refused = try post("orders", fits + "x")
        expectProblem(refused, 413, "record_too_large", outcome: "not_accepted", retryable: false)
        for part in ["orders takes 1000", "max.message.bytes", "takes 1001 bytes"] {
            #expect(refused.text.contains(part), "\(part)")
        }
        let batch = try client.postJSON(
            "/v1/topics/orders/records", #"{"records":[{"value":1},{"value_text":"\#(fits)x"}]}"#)
        expectProblem(batch, 413, "record_too_large", outcome: "not_accepted")
        #expect(try batch.json()["errors"]?[0]?["pointer"]?.string == "/records/1")
        // Raised a moment ago.
        topics.set("orders", .known(KnownTopic(partitions: 4, recordBytesMax: 1, messageBytesMax: limit + 1)))
        #expect(try post("orders", fits + "x").status == 202)
    }

    @Test func timestamp_IsRefused_WhenItIsTooFarFromNow_AndItsClientSetIt() throws {
        let bounds = TimestampBounds(beforeMs: 60_000, afterMs: 3_600_000)
        let known = TopicKnowledge.known(
            KnownTopic(partitions: 4, recordBytesMax: 1 << 20, timestampBounds: bounds))
        topics.remember("orders", known)
        topics.set("orders", known)
        let now = SystemClock().wallMilliseconds()
        func send(_ timestamp: Int64) throws -> Answer {
            try client.postJSON(
                "/v1/topics/orders/records", #"{"records":[{"value":1},{"value":2,"timestamp":\#(timestamp)}]}"#)
        }
        for (timestamp, setting) in [
            (now + 4_000_000, "message.timestamp.after.max.ms"), (now - 120_000, "message.timestamp.before.max.ms"),
            (0, "message.timestamp.before.max.ms"), (Int64.max, "message.timestamp.after.max.ms"),
        ] {
            let refused = try send(timestamp)
            expectProblem(refused, 422, "invalid_timestamp", outcome: "not_accepted", retryable: false)
            #expect(refused.text.contains(setting))
            #expect(try refused.json()["errors"]?[0]?["pointer"]?.string == "/records/1/timestamp")
        }
        #expect(try send(now + 1_000_000).status == 202)
        #expect(try send(now - 10_000).status == 202)
        #expect(try post("orders").status == 202)
        let free = TopicKnowledge.known(KnownTopic(partitions: 4, recordBytesMax: 1 << 20))
        topics.set("orders", free)
        #expect(try send(0).status == 202)
    }

    @Test func redelivery_AsksTheBroker_AboutATopicItDoesNotRemember() throws {
        topics.set("orders", Self.four)
        let receipt = try client.produce("orders", FakeGateway.mark)
        #expect(try client.settled(receipt)["state"]?.string == "dead")
        gateway.refuse(false)
        topics.set("orders", .unverified)
        let target = "/v1/dead-letters/\(receipt)/redeliver"
        expectProblem(try client.request("POST", target), 503, "topic_unverified", outcome: "not_accepted")
        topics.set("orders", .missing)
        expectProblem(try client.request("POST", target), 404, "unknown_topic", outcome: "not_accepted")
        topics.set("orders", .known(KnownTopic(partitions: 1, recordBytesMax: 1)))
        expectProblem(try client.request("POST", target), 413, "record_too_large", outcome: "not_accepted")
        topics.set("orders", Self.four)
        #expect(try client.request("POST", target).status == 202)
    }

    @Test func denial_IsToldAsSuch() throws {
        topics.refuseCalls(BrokerError(.retriable, code: "broker_denied", detail: "orders: TOPIC_AUTHORIZATION_FAILED"))
        for answer in [
            try client.request("GET", "/v1/topics"), try client.request("GET", "/v1/topics/orders"),
            try client.putJSON("/v1/topics/orders", ""), try client.request("DELETE", "/v1/topics/orders"),
            try client.postJSON("/v1/topics/orders/purge", #"{"offsets":[{"partition":0,"offset":0}]}"#),
        ] {
            expectProblem(answer, 503, "broker_denied", retryable: true)
        }
    }
}
