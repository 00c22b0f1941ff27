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
        let answer = try poll("max=1&client=a&wait=60")
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
        #expect(try poll("client=b&wait=60")["records"]?[0]?["offset"]?.int64 == 1)
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
        let answer = try poll("client=a&wait=60")
        let reason = String(repeating: "r", count: 1_024)
        let nack = #"{"ack":"\#(answer["ack"]?.string ?? "")","reason":"\#(reason)"}"#
        #expect(try client.postJSON("/v1/consumers/c/nacks", nack).status == 200)
        let letter = try client.read(1, as: "undertaker", from: "c.dead-letters").first
        #expect(letter?["value_text"]?.string?.utf8.count == bytesMax)
    }
}
