import GatewayTestSupport
import JSON
import Primitives
import Testing

/// `/v1/consumers`: define, list, describe, forget, seek.
@Suite final class ConsumerTests: GatewayTest {
    private func fill(_ topic: String, _ count: Int, partition: Int = 0) throws {
        for number in 0..<count {
            let receipt = try client.produce(topic, "\(number)", partition: partition)
            if number == count - 1 { _ = try client.settled(receipt) }
        }
    }

    @Test func define_CreatesUpdatesAndRefusesOtherTopics() throws {
        try fill("orders", 1)
        try fill("payments", 1)
        let body = #"{"topics":["orders"],"from":"earliest","mode":"ordered","ack_deadline_ms":5000,"max_in_flight":7}"#
        let created = try client.putJSON("/v1/consumers/c", body)
        #expect(created.status == 201)
        #expect(created.header("Cache-Control") == "no-store")
        #expect(
            created.text
                == #"{"name":"c","topics":["orders"],"from":"earliest","mode":"ordered","ack_deadline_ms":5000,"#
                + #""max_in_flight":7}"#)
        #expect(try client.putJSON("/v1/consumers/c", body).status == 200)
        let other = #"{"topics":["payments"]}"#
        expectProblem(try client.putJSON("/v1/consumers/c", other), 409, "consumer_conflict", retryable: false)
        #expect(try client.putJSON("/v1/consumers/c?replace=true", other).status == 200)
        let description = try client.request("GET", "/v1/consumers/c").json()
        #expect(description["topics"]?.strings == ["payments"])
        #expect(description["partitions"]?.list.count == 4)
    }

    @Test func define_RefusalsNameTheField() throws {
        try fill("orders", 1)
        let cases: [(body: String, status: Int, code: String, word: String)] = [
            ("{", 400, "malformed_json", ""), ("[]", 400, "invalid_body", "body"),
            ("{}", 400, "invalid_parameter", "topics"), (#"{"topics":"orders"}"#, 400, "invalid_parameter", "topics"),
            (#"{"topics":[]}"#, 400, "invalid_field", "topics"),
            (#"{"topics":["a b"]}"#, 400, "invalid_topic", "topics"),
            (#"{"topics":["orders","orders"]}"#, 400, "invalid_field", "topics"),
            (#"{"topics":["orders"],"bogus":1}"#, 400, "unknown_field", "bogus"),
            (#"{"topics":["orders"],"mode":"round"}"#, 400, "invalid_parameter", "mode"),
            (#"{"topics":["orders"],"from":"yesterday"}"#, 400, "invalid_parameter", "from"),
            (#"{"topics":["orders"],"from":7}"#, 400, "invalid_parameter", "from"),
            (#"{"topics":["orders"],"ack_deadline_ms":999}"#, 400, "invalid_field", "ack_deadline_ms"),
            (#"{"topics":["orders"],"ack_deadline_ms":1.5}"#, 400, "invalid_parameter", "ack_deadline_ms"),
            (#"{"topics":["orders"],"max_in_flight":0}"#, 400, "invalid_parameter", "max_in_flight"),
            (#"{"topics":["orders"],"max_in_flight":100001}"#, 400, "invalid_field", "max_in_flight"),
            (#"{"topics":["orders"],"max_deliveries":0}"#, 400, "invalid_parameter", "max_deliveries"),
            (#"{"topics":["orders"],"max_deliveries":1.5}"#, 400, "invalid_parameter", "max_deliveries"),
            (#"{"topics":["orders"],"dead_letter_topic":"a b"}"#, 400, "invalid_topic", "dead_letter_topic"),
            (
                #"{"topics":["orders"],"max_deliveries":3,"dead_letter_topic":"orders"}"#, 400, "invalid_field",
                "dead_letter_topic"
            ),
        ]
        for (body, status, code, word) in cases {
            let answer = try client.putJSON("/v1/consumers/c", body)
            expectProblem(answer, status, code, retryable: false, "\(body)")
            #expect(try answer.json()["detail"]?.string?.contains(word) == true, "\(body)")
        }
        let good = #"{"topics":["orders"]}"#
        expectProblem(try client.putJSON("/v1/consumers/a%20b", good), 400, "invalid_consumer")
        expectProblem(try client.putJSON("/v1/consumers/c?replace=maybe", good), 400, "invalid_parameter")
        expectProblem(try client.putJSON("/v1/consumers/c?bogus", good), 400, "unknown_parameter")
        expectProblem(try client.request("GET", "/v1/consumers/c"), 404, "unknown_consumer", retryable: false)
    }

    @Test func from_DecidesWhereANewConsumerBegins() throws {
        let old =
            #"{"records":[{"value":0,"partition":0,"timestamp":"2020-01-01T00:00:00Z"},"#
            + #"{"value":1,"partition":0,"timestamp":"2021-01-01T00:00:00Z"}]}"#
        let answer = try batch("orders", old)
        _ = try client.settled(try #require(try answer.json()["receipts"]?[1]?.string))
        for (name, from, committed) in [
            ("e", "earliest", 0), ("l", "latest", 2), ("t", "2020-06-01T00:00:00+02:00", 1),
        ] {
            let body = #"{"topics":["orders"],"from":"\#(from)"}"#
            #expect(try client.putJSON("/v1/consumers/\(name)", body).status == 201)
            let partition = try client.request("GET", "/v1/consumers/\(name)").json()["partitions"]?[0]
            #expect(partition?["committed"]?.int64 == Int64(committed), "\(from)")
            #expect(partition?["end"]?.int64 == 2)
            #expect(partition?["lag"]?.int64 == Int64(2 - committed))
        }
    }

    @Test func list_Pages_AndDeleteForgets() throws {
        try fill("orders", 1)
        for name in ["b", "a", "c"] { _ = try client.putJSON("/v1/consumers/\(name)", #"{"topics":["orders"]}"#) }
        let first = try client.request("GET", "/v1/consumers?limit=2")
        #expect(first.text == #"{"consumers":[{"name":"a"},{"name":"b"}],"next":"b"}"#)
        #expect(first.header("Cache-Control") == "no-store")
        #expect(try client.request("GET", "/v1/consumers?page_token=b").text == #"{"consumers":[{"name":"c"}]}"#)
        let deleted = try client.request("DELETE", "/v1/consumers/b")
        #expect(deleted.status == 204)
        #expect(deleted.body.isEmpty)
        expectProblem(try client.request("DELETE", "/v1/consumers/b"), 404, "unknown_consumer")
        expectProblem(try client.request("POST", "/v1/consumers/b/poll"), 404, "unknown_consumer")
        #expect(try client.request("GET", "/v1/consumers").text == #"{"consumers":[{"name":"a"},{"name":"c"}]}"#)
    }

    @Test func deletion_AnswersThePollsThatWait() throws {
        try fill("orders", 1)
        _ = try client.read(1, as: "c", from: "orders")
        let poller = try local.client()
        try poller.send("POST", "/v1/consumers/c/poll?wait=30")
        #expect(try eventually { try client.request("GET", "/v1/consumers/c").json()["polls_waiting"]?.int64 == 1 })
        #expect(try client.request("DELETE", "/v1/consumers/c").status == 204)
        expectProblem(try poller.answer(within: .seconds(5)), 404, "unknown_consumer", retryable: false)
        // Not a trace: defined anew it begins at the beginning.
        #expect(try client.read(1, as: "c", from: "orders").count == 1)
    }

    @Test func replacement_AnswersThePollsThatWait() throws {
        try fill("orders", 1)
        try fill("payments", 1)
        _ = try client.read(1, as: "c", from: "orders")
        let poller = try local.client()
        try poller.send("POST", "/v1/consumers/c/poll?wait=30")
        #expect(try eventually { try client.request("GET", "/v1/consumers/c").json()["polls_waiting"]?.int64 == 1 })
        #expect(try client.putJSON("/v1/consumers/c?replace=true", #"{"topics":["payments"]}"#).status == 200)
        expectProblem(try poller.answer(within: .seconds(5)), 503, "stopping", retryable: true)
    }

    @Test func seek_MovesTheCommittedOffset() throws {
        try fill("orders", 3)
        _ = try client.read(3, as: "c", from: "orders")
        let back = try client.postJSON(
            "/v1/consumers/c/seek", #"{"offsets":[{"topic":"orders","partition":0,"offset":1}]}"#)
        #expect(back.text == #"{"committed":[{"topic":"orders","partition":0,"offset":1}]}"#)
        #expect(back.header("Cache-Control") == "no-store")
        #expect(try client.read(2, as: "c", from: "orders").map { $0["offset"]?.int64 } == [1, 2])
        let first = try client.postJSON("/v1/consumers/c/seek", #"{"to":"earliest"}"#).json()
        #expect(first["committed"]?.list.map { $0["offset"]?.int64 } == [0, 0, 0, 0])
        let last = try client.postJSON("/v1/consumers/c/seek", #"{"to":"latest"}"#).json()
        #expect(last["committed"]?[0]?["offset"]?.int64 == 3)
        let time = try client.postJSON("/v1/consumers/c/seek", #"{"to":"2020-01-01T00:00:00Z"}"#).json()
        #expect(time["committed"]?[0]?["offset"]?.int64 == 0)
    }

    @Test func seek_RefusalsNameTheReason() throws {
        try fill("orders", 1)
        _ = try client.putJSON("/v1/consumers/c", #"{"topics":["orders"]}"#)
        let cases: [(body: String, code: String)] = [
            ("{}", "invalid_body"), (#"{"to":"earliest","offsets":[]}"#, "invalid_body"),
            (#"{"to":"soon"}"#, "invalid_parameter"), (#"{"offsets":[]}"#, "invalid_field"),
            (#"{"offsets":[7]}"#, "invalid_parameter"), (#"{"offsets":{}}"#, "invalid_parameter"),
            (#"{"offsets":[{"topic":"orders","partition":0,"offset":-1}]}"#, "invalid_parameter"),
            (#"{"offsets":[{"topic":"orders","partition":9,"offset":0}]}"#, "invalid_field"),
            (#"{"offsets":[{"topic":"other","partition":0,"offset":0}]}"#, "invalid_field"),
            (
                #"{"offsets":[{"topic":"orders","partition":0,"offset":0},"#
                    + #"{"topic":"orders","partition":0,"offset":1}]}"#, "invalid_parameter"
            ),
            (#"{"bogus":1}"#, "unknown_field"),
        ]
        for (body, code) in cases {
            expectProblem(
                try client.postJSON("/v1/consumers/c/seek", body), 400, code, retryable: false, "\(body)")
        }
        expectProblem(
            try client.postJSON("/v1/consumers/none/seek", #"{"to":"latest"}"#), 404, "unknown_consumer")
    }

    // MARK: Nacks, extensions, shared mode, dead letters

    private func poll(_ query: String) throws -> JSONValue {
        let answer = try client.request("POST", "/v1/consumers/c/poll?\(query)")
        #expect(answer.status == 200)
        return try answer.json()
    }

    private func ids(_ poll: JSONValue) -> [String] {
        (poll["records"]?.list ?? []).compactMap { $0["delivery"]?["id"]?.string }
    }

    @Test func sharedMode_SpreadsAPartition_AndNacksAndExtensionsAnswerLikeAcks() throws {
        try fill("orders", 3)
        let defined = try client.putJSON("/v1/consumers/c", #"{"topics":["orders"],"mode":"shared"}"#)
        #expect(defined.status == 201)
        #expect(try defined.json()["mode"]?.string == "shared")
        let (a, b) = (try poll("max=1&client=a&wait=5"), try poll("max=2&client=b&wait=5"))
        #expect(ids(a).count == 1 && ids(b).count == 2)
        let extended = try client.postJSON(
            "/v1/consumers/c/extensions", #"{"ack":"\#(b["ack"]?.string ?? "")","deadline_ms":60000}"#)
        #expect(extended.status == 200 && extended.header("Cache-Control") == "no-store")
        #expect(extended.text == #"{"committed":[{"topic":"orders","partition":0,"offset":0}]}"#)
        let nacked = try client.postJSON(
            "/v1/consumers/c/nacks", #"{"deliveries":["\#(ids(a)[0])"],"delay_ms":0,"reason":"try again"}"#)
        #expect(nacked.status == 200 && nacked.header("Cache-Control") == "no-store")
        #expect(nacked.text == #"{"committed":[{"topic":"orders","partition":0,"offset":0}]}"#)
        let again = try poll("client=a&wait=5")
        #expect(again["records"]?[0]?["delivery"]?["attempt"]?.int64 == 2)
        let lost = try client.postJSON(
            "/v1/consumers/c/nacks", #"{"deliveries":["\#(ids(a)[0])","\#(ids(again)[0])"]}"#)
        expectProblem(lost, 409, "leases_lost", retryable: false)
        #expect(try lost.json()["results"]?.strings == ["lease_lost", "returned"])
    }

    @Test func nacksAndExtensions_RefusalsNameTheField() throws {
        try fill("orders", 1)
        _ = try client.putJSON("/v1/consumers/c", #"{"topics":["orders"]}"#)
        let reason = String(repeating: "x", count: 1_025)
        let cases: [(call: String, body: String, code: String, word: String)] = [
            ("nacks", "{}", "invalid_body", "ack"),
            ("nacks", #"{"ack":"1.1","deadline_ms":1}"#, "unknown_field", "deadline_ms"),
            ("nacks", #"{"ack":"1.1","delay_ms":-1}"#, "invalid_parameter", "delay_ms"),
            ("nacks", #"{"ack":"1.1","delay_ms":43200001}"#, "invalid_field", "delay_ms"),
            ("nacks", #"{"ack":"1.1","reason":7}"#, "invalid_parameter", "reason"),
            ("nacks", #"{"ack":"1.1","reason":"\#(reason)"}"#, "invalid_field", "reason"),
            ("nacks", #"{"ack":"1.1","client":"a"}"#, "invalid_body", "client"),
            ("extensions", #"{"ack":"1.1"}"#, "invalid_parameter", "deadline_ms"),
            ("extensions", #"{"ack":"1.1","deadline_ms":0}"#, "invalid_parameter", "deadline_ms"),
            ("extensions", #"{"ack":"1.1","deadline_ms":999}"#, "invalid_field", "deadline_ms"),
            ("extensions", #"{"ack":"1.1","deadline_ms":43200001}"#, "invalid_field", "deadline_ms"),
            ("extensions", #"{"ack":"nonsense","deadline_ms":1000}"#, "invalid_field", "ack"),
        ]
        for (call, body, code, word) in cases {
            let answer = try client.postJSON("/v1/consumers/c/\(call)", body)
            expectProblem(answer, 400, code, retryable: false, "\(body)")
            #expect(try answer.json()["detail"]?.string?.contains(word) == true, "\(body)")
        }
        expectProblem(try client.postJSON("/v1/consumers/none/nacks", #"{"ack":"1.1"}"#), 404, "unknown_consumer")
        expectProblem(try client.postJSON("/v1/consumers/c/nacks", #"{"ack":"1.1"}"#), 409, "leases_lost")
    }

    @Test func usedUpDeliveries_ArriveInTheDeadLetterTopic_ThroughTheSpool() throws {
        try fill("orders", 2)
        let body = #"{"topics":["orders"],"max_deliveries":1}"#
        let defined = try client.putJSON("/v1/consumers/c", body)
        #expect(try defined.json()["dead_letter_topic"]?.string == "c.dead-letters")
        #expect(try client.putJSON("/v1/consumers/c", #"{"topics":["orders"],"max_deliveries":1}"#).status == 200)
        let answer = try poll("max=1&client=a&wait=5")
        let nack = #"{"ack":"\#(answer["ack"]?.string ?? "")","reason":"no such customer"}"#
        #expect(try client.postJSON("/v1/consumers/c/nacks", nack).status == 200)
        let letter = try #require(try client.read(1, as: "undertaker", from: "c.dead-letters").first)
        let headers = (letter["headers"]?.list ?? []).reduce(into: [String: String]()) {
            $0[$1["name"]?.string ?? ""] = $1["value"]?.string
        }
        #expect(letter["value"]?.rawText == "0")
        #expect(headers["postrider-dead-letter-topic"] == "orders")
        #expect(headers["postrider-dead-letter-offset"] == "0")
        #expect(headers["postrider-dead-letter-attempts"] == "1")
        #expect(headers["postrider-dead-letter-reason"] == "no such customer")
        #expect(headers["postrider-dead-letter-consumer"] == "c")
        #expect(try poll("client=b&wait=5")["records"]?[0]?["offset"]?.int64 == 1)
        let described = try client.request("GET", "/v1/consumers/c").json()
        #expect(described["dead_letters_waiting"]?.int64 == 0)
        #expect(described["dead_letter_error"]?.isNull == true)
        #expect(described["partitions"]?[0]?["committed"]?.int64 == 1)
    }

    @Test func largestRecord_CanDie_WhateverItsHeaders() throws {
        let bytesMax = 64 << 10
        let receipt = try post("/v1/topics/orders?partition=0", [], Array(repeating: 120, count: bytesMax))
        _ = try client.settled(try #require(try receipt.json()["receipts"]?[0]?.string))
        _ = try client.putJSON("/v1/consumers/c", #"{"topics":["orders"],"max_deliveries":1}"#)
        let answer = try poll("client=a&wait=5")
        let reason = String(repeating: "r", count: 1_024)
        let nack = #"{"ack":"\#(answer["ack"]?.string ?? "")","reason":"\#(reason)"}"#
        #expect(try client.postJSON("/v1/consumers/c/nacks", nack).status == 200)
        let letter = try client.read(1, as: "undertaker", from: "c.dead-letters").first
        #expect(letter?["value_text"]?.string?.utf8.count == bytesMax)
    }
}
