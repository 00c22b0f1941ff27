import TestSupport
import Gateway
import GatewayTestSupport
import JSON
import Primitives
import Testing

/// `PUT` and `DELETE /v1/topics/{topic}`, `POST /v1/topics/{topic}/purge`.
@Suite final class TopicChangeTests: GatewayTest {
    private func put(_ topic: String, _ body: String = "") throws -> Answer {
        try client.putJSON("/v1/topics/\(topic)", body)
    }

    private func delete(_ target: String) throws -> Answer { try client.request("DELETE", "/v1/topics/\(target)") }

    private func numbers(_ answer: Answer) throws -> [String: Int64?] {
        let settings = try answer.json()["settings"]
        return Dictionary(
            uniqueKeysWithValues: ["retention_ms", "retention_bytes", "record_bytes_max"].map {
                ($0, settings?[$0]?.int64)
            })
    }

    @Test func put_CreatesThenAlters_AndAnswersWhatHolds() throws {
        let week: Int64 = 7 * 24 * 3600 * 1000
        let plain = try put("plain")
        #expect(plain.status == 201)
        #expect(try plain.json()["name"]?.string == "plain")
        #expect(try plain.json()["partitions"]?.list.count == 4)
        #expect(try numbers(plain) == ["retention_ms": week, "retention_bytes": -1, "record_bytes_max": 65_536])

        let made = try put("orders", #"{"partitions":2,"retention_ms":-1,"record_bytes_max":100}"#)
        #expect(made.status == 201)
        #expect(try made.json()["partitions"]?.list.count == 2)
        #expect(try numbers(made) == ["retention_ms": -1, "retention_bytes": -1, "record_bytes_max": 100])

        let altered = try put("orders", #"{"retention_bytes":5000,"partitions":2}"#)
        #expect(altered.status == 200)
        #expect(try numbers(altered) == ["retention_ms": -1, "retention_bytes": 5000, "record_bytes_max": 100])
        for same in ["", "{}", #"{"retention_ms":null}"#] {
            let answer = try put("orders", same)
            #expect(answer.status == 200)
            #expect(answer.text == altered.text)
        }
        #expect(try client.request("GET", "/v1/topics/orders").text == altered.text)

        expectProblem(try put("orders", #"{"partitions":3}"#), 409, "partitions_differ", retryable: false)
        let differs = try put("orders", #"{"partitions":1,"retention_bytes":1}"#)
        expectProblem(differs, 409, "partitions_differ")
        #expect(try client.request("GET", "/v1/topics/orders").text == altered.text)

        expectProblem(
            try post("/v1/topics/orders", [], [UInt8](repeating: 120, count: 101)), 413, "record_too_large",
            outcome: "not_accepted")
        _ = try client.produce("orders", "fits")
    }

    @Test(arguments: [
        (#"{"partitions":0}"#, "/partitions"), (#"{"partitions":-1}"#, "/partitions"),
        (#"{"partitions":1.0}"#, "/partitions"), (#"{"partitions":"4"}"#, "/partitions"),
        (#"{"partitions":2147483648}"#, "/partitions"), (#"{"retention_ms":0}"#, "/retention_ms"),
        (#"{"retention_ms":-2}"#, "/retention_ms"), (#"{"retention_ms":9223372036854775808}"#, "/retention_ms"),
        (#"{"retention_bytes":true}"#, "/retention_bytes"), (#"{"record_bytes_max":0}"#, "/record_bytes_max"),
        (#"{"record_bytes_max":-1}"#, "/record_bytes_max"), (#"{"record_bytes_max":65537}"#, "/record_bytes_max"),
    ])
    func put_NamesFieldAndLimit_WhenAValueIsOutOfRange(body: String, pointer: String) throws {
        let answer = try put("orders", body)
        expectProblem(answer, 400, "invalid_field", retryable: false)
        let part = try answer.json()["errors"]?[0]
        #expect(part?["pointer"]?.string == pointer)
        #expect(part?["reason"]?.string?.contains("from 1 to ") == true)
        expectProblem(try client.request("GET", "/v1/topics/orders"), 404, "unknown_topic")
    }

    @Test func put_Refuses_WhatIsNoDefinition() throws {
        for (body, code) in [
            ("{", "malformed_json"), (" ", "malformed_json"), ("[]", "invalid_body"), ("4", "invalid_body"),
            (#"{"replicas":3}"#, "unknown_field"), (#"{"partitions":1,"partitions":2}"#, "malformed_json"),
        ] {
            expectProblem(try put("orders", body), 400, code, "\(body)")
        }
        // More than the broker's own limit, which it names.
        let many = try put("orders", #"{"partitions":1025}"#)
        expectProblem(many, 400, "invalid_field")
        #expect(try many.json()["detail"]?.string == "partitions 1025: allowed are 1 to 1024")
        expectProblem(try client.putJSON("/v1/topics/orders?bogus=1", ""), 400, "unknown_parameter")
        expectProblem(try put("a%20b"), 400, "invalid_topic")
        let large = try put("orders", String(repeating: " ", count: 4097))
        #expect(large.status == 413 && large.code == "body_too_large")
        expectProblem(try client.request("GET", "/v1/topics/orders"), 404, "unknown_topic")
    }

    @Test(arguments: ["__consumer_offsets", "_postrider_checkpoints"])
    func internalTopics_CannotBeWrittenMadeChangedOrDeleted(name: String) throws {
        expectProblem(try put(name), 422, "reserved_topic")
        expectProblem(try delete(name), 422, "reserved_topic")
        expectProblem(
            try client.postJSON("/v1/topics/\(name)/purge", #"{"offsets":[{"partition":0,"offset":0}]}"#), 422,
            "reserved_topic")
        expectProblem(try post("/v1/topics/\(name)"), 422, "reserved_topic", outcome: "not_accepted")
        expectProblem(try client.request("GET", "/v1/topics/\(name)"), 404, "unknown_topic")
    }

    @Test func concurrentPuts_CreateOnce() throws {
        let clients = try (0..<8).map { _ in try local.client() }
        for round in 0..<5 {
            for client in clients {
                try client.send("PUT", "/v1/topics/topic-\(round)", body: Array(#"{"partitions":3}"#.utf8))
            }
            let statuses = try clients.map { try $0.answer().status }.sorted()
            #expect(statuses == [200, 200, 200, 200, 200, 200, 200, 201])
        }
    }

    @Test func purge_Refuses_WhatDoesNotFitTheTopic() throws {
        _ = try client.settled(try client.produce("orders", "value", partition: 1))
        func purge(_ body: String, of topic: String = "orders") throws -> Answer {
            try client.postJSON("/v1/topics/\(topic)/purge", body)
        }
        for (item, code) in [
            (#"{"partition":1}"#, "invalid_field"), (#"{"offset":1}"#, "invalid_field"), ("1", "invalid_field"),
            (#"{"partition":-1,"offset":0}"#, "invalid_field"), (#"{"partition":1,"offset":-1}"#, "invalid_field"),
            (#"{"partition":1,"offset":"1"}"#, "invalid_field"),
            (#"{"partition":1,"offset":1,"topic":"orders"}"#, "unknown_field"),
            (#"{"partition":1,"offset":0},{"partition":1,"offset":1}"#, "invalid_field"), ("", "invalid_field"),
            (#"{"partition":1,"offset":2}"#, "offset_out_of_range"),
            (#"{"partition":1,"offset":9223372036854775807}"#, "offset_out_of_range"),
        ] {
            expectProblem(try purge(#"{"offsets":[\#(item)]}"#), 400, code, retryable: false, "\(item)")
        }
        for (body, code) in [("", "malformed_json"), ("{}", "invalid_field"), (#"{"all":1}"#, "unknown_field")] {
            expectProblem(try purge(body), 400, code, "\(body)")
        }
        let good = #"{"offsets":[{"partition":4,"offset":0}]}"#
        expectProblem(try purge(good), 404, "unknown_partition")
        expectProblem(try purge(good, of: "none"), 404, "unknown_topic")
        #expect(try client.read(1, as: "reader", from: "orders").count == 1)
    }
}

/// A record whose topic changed after it was accepted: promise 3. The lane is held back by a broker that is full, which
/// looks at the topic before it looks for room.
@Suite struct AcceptedThenChangedTests {
    private func full(in directory: TemporaryDirectory? = nil) throws -> LocalGateway {
        try LocalGateway(in: directory) { try $0.set("broker.embedded.bytes_max=1") }
    }

    private func state(_ client: HTTPClient, _ receipt: String) throws -> String? {
        try client.request("GET", "/v1/receipts/\(receipt)").json()["state"]?.string
    }

    @Test func record_Dies_WhenTheTopicsLimitIsLoweredBeneathIt_AndTheOthersAreDelivered() throws {
        let held = try full()
        let client = try held.client()
        try #require(try client.putJSON("/v1/topics/orders", "").status == 201)
        let before = try client.produce("orders", "small", partition: 0)
        let large = try client.produce("orders", String(repeating: "x", count: 1000), partition: 0)
        let after = try client.produce("orders", "small too", partition: 0)
        #expect(try state(client, large) == "accepted")
        try #require(try client.putJSON("/v1/topics/orders", #"{"record_bytes_max":500}"#).status == 200)
        held.stop()

        let free = try LocalGateway(in: held.directory)
        let reader = try free.client()
        let dead = try reader.settled(large)
        #expect(dead["state"]?.string == "dead")
        #expect(dead["reason"]?["code"]?.string == "record_too_large")
        #expect(dead["reason"]?["detail"]?.string == "1000 bytes, topic orders takes 500")
        let records = try reader.read(2, as: "reader", from: "orders")
        #expect(records.map { $0["value_text"]?.string } == ["small", "small too"])
        for receipt in [before, after] { #expect(try reader.settled(receipt)["state"]?.string == "delivered") }
    }

    @Test func delete_Refuses_WhileTheTopicHasABacklog_AlsoAfterARestart_AndForceLetsItDie() throws {
        let first = try full()
        let client = try first.client()
        for topic in ["orders", "empty"] { try #require(try client.putJSON("/v1/topics/\(topic)", "").status == 201) }
        let receipts = try (0..<3).map { try client.produce("orders", "\($0)") }
        expectProblem(try client.request("DELETE", "/v1/topics/orders"), 409, "topic_has_backlog", retryable: true)
        #expect(try client.request("DELETE", "/v1/topics/empty").status == 204)
        first.stop()

        let second = try full(in: first.directory)
        let again = try second.client()
        let counted = try eventually {
            try again.request("DELETE", "/v1/topics/orders").text.contains("3 of orders are waiting")
        }
        #expect(counted)
        expectProblem(try again.request("DELETE", "/v1/topics/orders"), 409, "topic_has_backlog", retryable: true)
        for receipt in receipts { #expect(try state(again, receipt) == "accepted") }

        #expect(try again.request("DELETE", "/v1/topics/orders?force=true").status == 204)
        for receipt in receipts {
            let dead = try again.settled(receipt)
            #expect(dead["state"]?.string == "dead")
            #expect(dead["reason"]?["code"]?.string == "topic_deleted")
        }
        expectProblem(try again.request("POST", "/v1/topics/orders"), 404, "unknown_topic", outcome: "not_accepted")
        // Nothing of the old topic stands in the way of a new one.
        #expect(try again.putJSON("/v1/topics/orders", "").status == 201)
        let gone = try eventually { try again.request("DELETE", "/v1/topics/orders").status == 204 }
        #expect(gone)
    }

    @Test func records_OfATopicThatExistsOnlyInTheSpool_GoToTheOneThatPutMakes() throws {
        let held = try full()
        let client = try held.client()
        let receipt = try client.produce("orders", "early", partition: 1)
        expectProblem(try client.request("GET", "/v1/topics/orders"), 404, "unknown_topic")
        expectProblem(try client.request("DELETE", "/v1/topics/orders"), 409, "topic_has_backlog")
        #expect(try client.putJSON("/v1/topics/orders", #"{"partitions":2}"#).status == 201)
        held.stop()
        let state = try LocalGateway(in: held.directory).client().settled(receipt)
        #expect(state["state"]?.string == "delivered")
        #expect(state["partition"]?.int64 == 1)
    }
}
