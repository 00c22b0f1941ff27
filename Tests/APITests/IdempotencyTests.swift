import Broker
import GatewayTestSupport
import JSON
import Spool
import TestSupport
import Testing

/// What requests with `Idempotency-Key`, or with `Postrider-Producer` and `Postrider-Sequence`, are told.
@Suite final class IdempotencyTests: GatewayTest {
    private static let target = "/v1/topics/orders"

    private func key(_ value: String) -> [(String, String)] { [("Idempotency-Key", value)] }

    private func sequence(_ number: String, of producer: String = "p") -> [(String, String)] {
        [("Postrider-Producer", producer), ("Postrider-Sequence", number)]
    }

    private func isReplay(_ answer: Answer) -> Bool { answer.header("Idempotent-Replayed") == "true" }

    // MARK: - The fields

    @Test func key_IsTheSame_WithQuotesOrWithout() throws {
        let spellings: [[String]] = [
            ["\"order-1\"", "order-1", "  order-1 ", "\"order-1\" "],
            [#""a\"b\\c d""#],
            ["8e03978e-40d5-43dd-bc93-6894a57f9324"], ["AP8="], ["*a/b:c"],
            [String(repeating: "k", count: 255), "\"\(String(repeating: "k", count: 255))\""],
        ]
        for (index, spellings) in spellings.enumerated() {
            let body = Array("\(index)".utf8)
            let first = try post(Self.target, key(spellings[0]), body)
            #expect(first.status == 202 && !isReplay(first), "\(spellings[0]): \(first.text)")
            for spelling in spellings {
                let again = try post(Self.target, key(spelling), body)
                #expect(again.text == first.text && isReplay(again), "\(spelling)")
            }
        }
    }

    @Test func malformedFields_AreRefusedByName() throws {
        let long = String(repeating: "k", count: 256)
        let keys = [
            "", "\"\"", "\"", "\"a", "a\"", "\"a\"b", "\"a\";x=1", "\"a\", \"b\"", "a, b", "a b", "a;b", #"a\b"#,
            #""a\b""#, "ä", "\"ä\"", "\"a\tb\"", long, "\"\(long)\"",
        ]
        let cases: [(headers: [(String, String)], field: String)] =
            keys.map { (key($0), "Idempotency-Key") } + [
                (key("a") + key("b"), "Idempotency-Key"), (key("a") + key("a"), "Idempotency-Key"),
                (key("a") + sequence("1"), "Idempotency-Key"),
                (key("a") + [("Postrider-Producer", "p")], "Idempotency-Key"),
                ([("Postrider-Producer", "p")], "Postrider-Sequence"),
                ([("Postrider-Sequence", "1")], "Postrider-Producer"),
                (sequence("1") + [("Postrider-Producer", "p")], "Postrider-Producer"),
                (sequence("1") + [("Postrider-Sequence", "1")], "Postrider-Sequence"),
            ] + ["", "a b", "ä", "a\tb", long].map { (sequence("1", of: $0), "Postrider-Producer") }
            + ["", "0", "-1", "+1", "1.0", "1e0", "0x1", "1 2", "9223372036854775808", "99999999999999999999"].map {
                (sequence($0), "Postrider-Sequence")
            }
        for path in [Self.target, Self.target + "/records"] {
            for (headers, field) in cases {
                let answer = try post(path, headers + [("Content-Type", "application/json")])
                expectProblem(
                    answer, 400, "invalid_parameter", outcome: "not_accepted", retryable: false, "\(path) \(headers)")
                #expect(answer.text.contains("\(field): "), "\(headers): \(answer.text)")
            }
        }
        #expect(try client.request("GET", "/v1/topics").json()["topics"]?.list.isEmpty == true)
    }

    @Test func largestSequence_IsAGapAndNoOverflow() throws {
        let answer = try post(Self.target, sequence("9223372036854775807"))
        expectProblem(answer, 409, "sequence_gap", outcome: "unknown", retryable: false)
        #expect(try answer.json()["expected"]?.int64 == 1)
    }

    // MARK: - The payload

    /// Each is another request than the first, and than every other.
    @Test func anotherPayload_IsRefused_WhateverDiffers() throws {
        let type = ("Content-Type", "text/plain")
        let header = ("Postrider-Header-a", "1")
        let different: [(query: String, headers: [(String, String)], body: String)] = [
            ("", [], "value"), ("", [], "value "), ("", [], ""), ("", [type], "value"),
            ("", [("Content-Type", "text/html")], "value"), ("?key=k", [], "value"), ("?key=", [], "value"),
            ("?partition=0", [], "value"), ("?partition=1", [], "value"), ("?key=k&partition=1", [], "value"),
            ("", [header], "value"), ("", [("Postrider-Header-a", "2")], "value"),
            ("", [("Postrider-Header-b", "1")], "value"), ("", [header, ("Postrider-Header-b", "")], "value"),
            ("", [header, header], "value"),
            ("", [("Postrider-Header-b", ""), header], "value"),
        ]
        for (index, first) in different.enumerated() {
            let name = key("k\(index)")
            #expect(try post(Self.target + first.query, name + first.headers, Array(first.body.utf8)).status == 202)
            for (other, second) in different.enumerated() where other != index {
                let answer = try post(Self.target + second.query, name + second.headers, Array(second.body.utf8))
                expectProblem(
                    answer, 422, "idempotency_key_reused", outcome: "not_accepted", retryable: false,
                    "\(first) \(second)")
            }
        }
        // A sequence has no route: the number is used for all of them.
        #expect(try post(Self.target, sequence("1"), Array("[]".utf8)).status == 202)
        for target in ["/v1/topics/payments", Self.target + "?key=k"] {
            expectProblem(
                try post(target, sequence("1"), Array("[]".utf8)), 422, "sequence_reused", outcome: "not_accepted",
                retryable: false)
        }
        let batch = try post(
            Self.target + "/records", sequence("1") + [("Content-Type", "application/json")],
            Array(#"{"records":[{"value":1}]}"#.utf8))
        expectProblem(batch, 422, "sequence_reused", outcome: "not_accepted", retryable: false)
    }

    /// What does not make another record makes no other request.
    @Test func samePayload_IsKnown_WhateverElseDiffers() throws {
        let name = key("a")
        let first = try post(Self.target + "?key=k&partition=1", name + [("Prefer", "wait=0")])
        #expect(first.status == 202)
        for (query, headers) in [
            ("?partition=1&key=k", [("Prefer", "wait=10")]), ("?key_base64=aw%3D%3D&partition=1", []),
            ("?partition=1", [("Postrider-Key", "k")]), ("?key=k&partition=1", [("X-Trace", "2")]),
            ("?key=k&partition=1", [("Content-Type", "application/x-www-form-urlencoded")]),
        ] {
            let again = try post(Self.target + query, name + headers)
            #expect([200, 202].contains(again.status) && isReplay(again), "\(query) \(headers): \(again.text)")
            #expect(try again.json()["receipts"]?.strings == first.json()["receipts"]?.strings)
        }
        let lines = Array("{\"value\":1}\n".utf8)
        let batch = Self.target + "/records"
        #expect(try post(batch, name + [("Content-Type", "application/x-ndjson")], lines).status == 202)
        #expect(isReplay(try post(batch, name + [("content-type", "Application/X-NDJSON; a=b")], lines)))
        let asJSON = try post(batch, name + [("Content-Type", "application/json")], lines)
        expectProblem(asJSON, 422, "idempotency_key_reused", outcome: "not_accepted")
    }

    @Test func key_IsOfItsTopicAndRoute() throws {
        for target in [Self.target, "/v1/topics/payments"] {
            #expect(!isReplay(try post(target, key("a"))), "\(target)")
            #expect(isReplay(try post(target, key("a"))), "\(target)")
        }
        #expect(!isReplay(try post(Self.target, sequence("1", of: "a"))))
    }

    // MARK: - Sequences

    @Test func sequence_IsOneMoreThanTheLast() throws {
        func post(_ number: Int) throws -> Answer {
            try self.post(Self.target, sequence("\(number)"), Array("\(number)".utf8))
        }
        let kept = IdempotencySettings.answersPerProducer
        var texts: [String] = []
        for number in 1...kept + 2 {
            let gap = try post(number + 1)
            expectProblem(
                gap, 409, "sequence_gap", outcome: number == 1 ? "unknown" : "not_accepted", retryable: false)
            #expect(try gap.json()["expected"]?.int64 == Int64(number))
            let answer = try post(number)
            #expect(answer.status == 202)
            texts.append(answer.text)
        }
        for number in 3...kept + 2 { #expect(try post(number).text == texts[number - 1]) }
        for number in 1...2 {
            expectProblem(try post(number), 409, "sequence_too_old", outcome: "unknown", retryable: false)
        }
    }
}

/// What a request is told while something else goes on, and that no refusal uses a key up.
@Suite struct ClaimTests {
    private let topics = FakeTopics()
    private let gateway: FakeGateway
    private let client: HTTPClient
    private static let four = TopicKnowledge.known(KnownTopic(partitions: 4, recordBytesMax: 1_000))
    private static let key = [("Idempotency-Key", "\"a\"")]
    private static let json = ("Content-Type", "application/json")

    init() throws {
        gateway = try FakeGateway(topics: topics)
        client = try gateway.client()
        topics.set("orders", Self.four)
    }

    private func post(
        _ headers: [(String, String)] = Self.key, _ body: String = "value", query: String = ""
    ) throws -> Answer {
        try client.request("POST", "/v1/topics/orders\(query)", headers, body: Array(body.utf8))
    }

    @Test func repetition_Is409_WhileTheFirstIsInFlight() throws {
        let sequence = [("Postrider-Producer", "p"), ("Postrider-Sequence", "1")]
        topics.hold()
        for (index, (headers, code)) in [(Self.key, "idempotency_in_flight"), (sequence, "sequence_in_flight")]
            .enumerated()
        {
            let first = try gateway.client()
            try first.send("POST", "/v1/topics/orders", headers, body: Array("value".utf8))
            #expect(topics.waitForHeld(index + 1))
            let again = try post(headers)
            expectProblem(again, 409, code, outcome: "unknown", retryable: true)
            #expect(again.header("Retry-After") == "1")
            // Another client may have sent the first: nobody is told about its payload before it is stored.
            expectProblem(try post(headers, "other"), 409, code, outcome: "unknown", retryable: true)
        }
        topics.release()
        for headers in [Self.key, sequence] {
            let isAnswered = try eventually { try post(headers).header("Idempotent-Replayed") == "true" }
            #expect(isAnswered)
        }
    }

    @Test func repetition_IsAnswered_WhenTheFirstClientLeftBeforeItWasAccepted() throws {
        topics.hold()
        let first = try gateway.client()
        try first.send("POST", "/v1/topics/orders", Self.key, body: Array("value".utf8))
        #expect(topics.waitForHeld(1))
        first.close()
        topics.release()
        let isAnswered = try eventually {
            let again = try post()
            #expect(again.status == 202 || again.code == "idempotency_in_flight", "\(again.text)")
            return again.header("Idempotent-Replayed") == "true"
        }
        #expect(isAnswered)
    }

    private struct Refusal {
        var status: Int
        var code: String
        var remembered = ClaimTests.four
        /// What the broker says when it is asked.
        var real = ClaimTests.four
        var query = ""
        var headers: [(String, String)] = []
        var body = "value"
        var closesIntake = false
    }

    @Test func refusal_DoesNotUseTheKeyUp() throws {
        let large = String(repeating: "x", count: 2_000)
        let reserved = [("Postrider-Header-Postrider-a", "b")]
        let many = (0...100).map { ("Postrider-Header-h\($0)", "v") }
        let refusals = [
            Refusal(status: 404, code: "unknown_topic", remembered: .missing),
            Refusal(status: 404, code: "unknown_topic", remembered: .unverified, real: .missing),
            Refusal(status: 503, code: "topic_unverified", remembered: .unverified, real: .unverified),
            Refusal(status: 400, code: "invalid_parameter", query: "?partition=9"),
            Refusal(status: 400, code: "invalid_parameter", remembered: .unverified, query: "?partition=9"),
            Refusal(status: 413, code: "record_too_large", body: large),
            Refusal(status: 413, code: "record_too_large", remembered: .unverified, body: large),
            Refusal(status: 422, code: "too_many_headers", headers: many),
            Refusal(status: 422, code: "reserved_header", headers: reserved),
            Refusal(status: 503, code: "spool_history_unknown", closesIntake: true),
            Refusal(status: 503, code: "spool_history_unknown", remembered: .unverified, closesIntake: true),
        ]
        for (index, refusal) in refusals.enumerated() {
            let key = [("Idempotency-Key", "\"\(index)\"")]
            topics.remember("orders", refusal.remembered)
            topics.set("orders", refusal.real)
            if refusal.closesIntake { gateway.spool.closeIntake("spool_history_unknown") }
            for _ in 0..<2 {
                let answer = try post(key + refusal.headers, refusal.body, query: refusal.query)
                expectProblem(answer, refusal.status, refusal.code, outcome: "not_accepted", "\(index)")
            }
            gateway.spool.closeIntake(nil)
            topics.remember("orders", Self.four)
            // Another payload under the same key: nothing of the refused one is remembered.
            let first = try post(key)
            #expect(first.status == 202 && first.header("Idempotent-Replayed") == nil, "\(index): \(first.text)")
            #expect(try post(key).header("Idempotent-Replayed") == "true", "\(index)")
        }
    }

    @Test func refusedBatch_DoesNotUseTheKeyUp() throws {
        topics.remember("orders", Self.four)
        func batch(_ body: String) throws -> Answer {
            try client.request(
                "POST", "/v1/topics/orders/records", Self.key + [Self.json], body: Array(body.utf8))
        }
        for (body, code) in [
            ("", "malformed_json"), ("{", "malformed_json"), ("[]", "invalid_body"),
            (#"{"records":[]}"#, "empty_batch"),
            (#"{"records":[{}]}"#, "invalid_records"), (#"{"records":[{"value":1,"partition":9}]}"#, "invalid_records"),
        ] {
            expectProblem(try batch(body), 400, code, outcome: "not_accepted")
        }
        let first = try batch(#"{"records":[{"value":1}]}"#)
        #expect(first.status == 202 && first.header("Idempotent-Replayed") == nil)
        #expect(try batch(#"{"records":[{"value":1}]}"#).text == first.text)
    }

    /// What was accepted is answered again whatever has become of its topic and of intake.
    @Test func repetition_IsAnswered_WhenNothingWouldBeAcceptedAnyMore() throws {
        topics.remember("orders", Self.four)
        let first = try post()
        #expect(first.status == 202)
        gateway.spool.closeIntake("operator")
        #expect(try post().text == first.text)
        topics.remember("orders", .missing)
        #expect(try post().text == first.text)
        topics.remember("orders", .unverified)
        topics.hold()
        #expect(try post().text == first.text)
        topics.release()
    }

    /// Then the lane is not free, and what the answer says has to be right all the same.
    @Test func repetitionThatWaits_TellsOfDeadRecords() throws {
        topics.remember("orders", Self.four)
        let first = try post(Self.key, FakeGateway.mark)
        #expect(first.status == 202)
        for _ in 0..<2 {
            let again = try post(Self.key + [("Prefer", "wait=15")], FakeGateway.mark)
            expectProblem(again, 422, "records_dead_lettered", outcome: "accepted", retryable: false)
            #expect(again.header("Idempotent-Replayed") == "true")
            #expect(try again.json()["receipts"]?.strings == first.json()["receipts"]?.strings)
        }
    }

    @Test func newKeysAndProducers_AreRefused_WhenAsManyAreRemembered() throws {
        var settings = FakeGateway.spoolSettings
        settings.idempotency.keysMax = 2
        settings.idempotency.producersMax = 2
        let full = try FakeGateway(spool: settings)
        let client = try full.client()
        func post(_ headers: [(String, String)]) throws -> Answer {
            try client.request("POST", "/v1/topics/orders", headers, body: [120])
        }
        func key(_ number: Int) -> [(String, String)] { [("Idempotency-Key", "\(number)")] }
        func producer(_ number: Int, _ sequence: Int = 1) -> [(String, String)] {
            [("Postrider-Producer", "\(number)"), ("Postrider-Sequence", "\(sequence)")]
        }
        for headers in [key(1), key(2), producer(1), producer(2)] { #expect(try post(headers).status == 202) }
        for (headers, limit) in [
            (key(3), "idempotency.keys_max is 2"), (producer(3), "idempotency.producers_max is 2"),
        ] {
            let answer = try post(headers)
            expectProblem(answer, 503, "idempotency_full", outcome: "not_accepted", retryable: true)
            #expect(answer.text.contains(limit), "\(answer.text)")
        }
        // Those that are known go on, and so does who asks for no such promise.
        #expect(try post(key(1)).header("Idempotent-Replayed") == "true")
        #expect(try post(producer(2, 2)).status == 202)
        #expect(try post([]).status == 202)
    }
}
