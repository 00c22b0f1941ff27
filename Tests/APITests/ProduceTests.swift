import Gateway
import GatewayTestSupport
import JSON
import Primitives
import Testing

/// `POST /v1/topics/{topic}`: one record, byte for byte.
@Suite final class ProduceTests: GatewayTest {
    /// The stored record as a poll shows it, after posting `body`.
    private func stored(
        _ topic: String, _ query: String = "", _ headers: [(String, String)] = [], _ body: [UInt8] = [120]
    ) throws -> JSONValue {
        let answer = try post("/v1/topics/\(topic)\(query)", headers, body)
        try #require(answer.status == 202, "\(answer.text)")
        return try #require(try client.read(1, as: "reader-of-\(topic)", from: topic).first)
    }

    @Test func produce_AnswersDurabilityAndReceipt() throws {
        let answer = try post("/v1/topics/orders")
        #expect(answer.status == 202)
        #expect(answer.header("Content-Type") == "application/json")
        let gateway = try #require(answer.header("Postrider-Gateway"))
        #expect(try answer.json()["durability"]?.string == "fsync")
        let receipts = try answer.json()["receipts"]?.strings ?? []
        #expect(receipts.count == 1)
        #expect(receipts.first?.hasPrefix("\(gateway)-") == true)
    }

    @Test func value_IsKeptByteForByte() throws {
        let cases: [(topic: String, body: [UInt8], type: String?, expected: (member: String, raw: String))] = [
            ("json", Array(#"{ "a" : 1.50 }"#.utf8), nil, ("value", #"{ "a" : 1.50 }"#)),
            ("json-typed", Array("[1]".utf8), "application/json", ("value", "[1]")),
            ("json-suffix", Array("[1]".utf8), "application/cloudevents+json; charset=utf-8", ("value", "[1]")),
            ("text-typed", Array("[1]".utf8), "text/plain", ("value_text", "\"[1]\"")),
            ("text", Array("plain \"text\"\n".utf8), nil, ("value_text", #""plain \"text\"\n""#)),
            ("null-text", Array("null".utf8), nil, ("value_text", "\"null\"")),
            ("empty", [], nil, ("value_text", "\"\"")),
            ("binary", [0xFF, 0, 0x0A, 0x80], nil, ("value_base64", "\"/wAKgA==\"")),
            ("zero", [0], nil, ("value_text", #""\u0000""#)),
        ]
        for (topic, body, type, expected) in cases {
            let record = try stored(topic, "", type.map { [("Content-Type", $0)] } ?? [], body)
            #expect(record[expected.member]?.rawText == expected.raw, "\(topic): \(record.rawText)")
            for other in ["value", "value_text", "value_base64"] where other != expected.member {
                #expect(record[other] == nil, "\(topic)")
            }
        }
    }

    @Test func contentType_IsKept_UnlessItIsAFormsDefault() throws {
        let cases: [(topic: String, type: String?, kept: Bool)] = [
            ("kept", "application/avro; v=2", true), ("none", nil, false),
            ("curl", "application/x-www-form-urlencoded", false),
            ("form", "multipart/form-data; boundary=x", false), ("case", "Application/X-WWW-Form-Urlencoded", false),
        ]
        for (topic, type, kept) in cases {
            let headers = try stored(topic, "", type.map { [("Content-Type", $0)] } ?? [])["headers"]?.list ?? []
            if kept {
                #expect(headers.map { $0["name"]?.string } == ["content-type"])
                #expect(headers.first?["value"]?.string == type)
            } else {
                #expect(headers.isEmpty, "\(topic)")
            }
        }
    }

    @Test func contentType_IsTheFirst_WhenThereAreTwo() throws {
        let (form, avro) = ("application/x-www-form-urlencoded", "application/avro")
        let kept = try stored("avro-first", "", [("Content-Type", avro), ("Content-Type", form)])
        #expect(kept["headers"]?.list.map { $0["value"]?.string } == [avro])
        let dropped = try stored("form-first", "", [("Content-Type", form), ("Content-Type", avro)])
        #expect(dropped["headers"]?.list.isEmpty ?? true)
    }

    @Test func key_ComesFromOneOfThreePlaces() throws {
        let cases: [(topic: String, query: String, headers: [(String, String)], member: String, key: String?)] = [
            ("query", "?key=a%20b%2B", [], "key", "a b+"),
            ("base64", "?key_base64=AP8%3D", [], "key_base64", "AP8="),
            ("base64-text", "?key_base64=YWI%3D", [], "key", "ab"),
            ("header", "", [("Postrider-Key", "customer-7")], "key", "customer-7"),
            ("empty", "?key=", [], "key", ""), ("none", "", [], "key", nil),
        ]
        for (topic, query, headers, member, key) in cases {
            let record = try stored("key-\(topic)", query, headers)
            #expect(record[member]?.string == key, "\(topic): \(record.rawText)")
            if key == nil { #expect(record["key"]?.isNull == true) }
        }
    }

    @Test func key_DecidesThePartition_AndPartitionOverridesIt() throws {
        // murmur2("customer-7") in four partitions, whatever it is, is the same each time.
        let first = try stored("keyed", "?key=customer-7")["partition"]?.int64
        for _ in 0..<3 {
            try client.produce("keyed", "again", key: "customer-7")
        }
        let again = try client.read(3, as: "reader-of-keyed", from: "keyed")
        #expect(again.allSatisfy { $0["partition"]?.int64 == first })
        #expect(try stored("explicit", "?key=customer-7&partition=3")["partition"]?.int64 == 3)
        #expect(try stored("explicit-0", "?key=customer-7&partition=0")["partition"]?.int64 == 0)
    }

    @Test func recordHeaders_AreKeptInOrderAndRepeated() throws {
        let sent = [
            ("Postrider-Header-Trace", "a"), ("Postrider-Header-trace", "b"), ("Postrider-Header-Empty", ""),
            ("X-Other", "no"),
        ]
        let headers = try stored("headers", "", sent)["headers"]?.list ?? []
        #expect(headers.map { $0["name"]?.string } == ["trace", "trace", "empty"])
        #expect(headers.map { $0["value"]?.string } == ["a", "b", ""])
    }

    @Test func recordHeader_WithANameThatNoRecordHolds_IsRefused() throws {
        let wide = try LocalGateway {
            try $0.set("http.header_bytes_max=256KiB")
            try $0.set("limits.record_bytes_max=512KiB")
        }
        func produce(nameBytes: Int) throws -> Answer {
            let name = "Postrider-Header-" + String(repeating: "n", count: nameBytes)
            return try wide.request("POST", "/v1/topics/wide", [(name, "v")], body: Array("value".utf8))
        }
        #expect(try produce(nameBytes: 65_535).status == 202)
        expectProblem(
            try produce(nameBytes: 65_536), 400, "invalid_parameter", outcome: "not_accepted", retryable: false)
    }

    @Test func refusals_NameTheReason() throws {
        let cases: [(target: String, headers: [(String, String)], status: Int, code: String)] = [
            ("/v1/topics/a%20b", [], 400, "invalid_topic"),
            ("/v1/topics/..%61/", [], 404, "not_found"),
            ("/v1/topics/" + String(repeating: "t", count: 250), [], 400, "invalid_topic"),
            ("/v1/topics/t?bogus=1", [], 400, "unknown_parameter"),
            ("/v1/topics/t?key=a&key=b", [], 400, "invalid_parameter"),
            ("/v1/topics/t?key=a&key_base64=YQ%3D%3D", [], 400, "invalid_parameter"),
            ("/v1/topics/t?key=a", [("Postrider-Key", "b")], 400, "invalid_parameter"),
            ("/v1/topics/t?key_base64=%25", [], 400, "invalid_parameter"),
            ("/v1/topics/t?partition=4", [], 400, "invalid_parameter"),
            ("/v1/topics/t?partition=-1", [], 400, "invalid_parameter"),
            ("/v1/topics/t?partition=x", [], 400, "invalid_parameter"),
            ("/v1/topics/t?partition=", [], 400, "invalid_parameter"),
            ("/v1/topics/t?key=%zz", [], 400, "invalid_parameter"),
            ("/v1/topics/t", [("Content-Encoding", "gzip")], 415, "content_encoding_unsupported"),
            ("/v1/topics/t", [("Idempotency-Key", "\"a\"")], 501, "idempotency_unavailable"),
            ("/v1/topics/t", [("Postrider-Producer", "p")], 501, "idempotency_unavailable"),
            ("/v1/topics/t", [("Postrider-Sequence", "1")], 501, "idempotency_unavailable"),
            ("/v1/topics/t", [("Postrider-Header-Postrider-Id", "x")], 422, "reserved_header"),
            ("/v1/topics/t", [("Postrider-Header-", "x")], 400, "invalid_parameter"),
        ]
        for (target, headers, status, code) in cases {
            let isRoute = status != 404
            expectProblem(
                try post(target, headers), status, code, outcome: isRoute ? "not_accepted" : nil, retryable: false,
                "\(target) \(headers)")
        }
        let topics = try client.request("GET", "/v1/topics").json()["topics"]?.list ?? []
        #expect(topics.isEmpty, "a refusal created a topic")
    }

    @Test func unknownTopic_Is404_WhenCreationIsOff() throws {
        let strict = try LocalGateway { try $0.set("broker.embedded.create_topics=false") }
        expectProblem(
            try strict.request("POST", "/v1/topics/t", body: [1]), 404, "unknown_topic", outcome: "not_accepted",
            retryable: false)
        // What is wrong with the request comes first: it does not depend on what exists.
        expectProblem(
            try strict.request("POST", "/v1/topics/t?bogus=1", body: [1]), 400, "unknown_parameter",
            outcome: "not_accepted")
    }

    @Test(arguments: [-1, 0, 1]) func recordBytes_AreLimited(by difference: Int) throws {
        let limit = 64 << 10
        let body = [UInt8](repeating: 120, count: limit + difference)
        let plain = try post("/v1/topics/t", [], body)
        let keyed = try post("/v1/topics/t?key=k", [], Array(body.dropLast()))
        if difference <= 0 {
            #expect(plain.status == 202)
            #expect(keyed.status == 202)
        } else {
            expectProblem(plain, 413, "body_too_large", outcome: "not_accepted", retryable: false)
            expectProblem(keyed, 413, "record_too_large", outcome: "not_accepted", retryable: false)
        }
    }

    @Test func headers_AreLimitedInNumber() throws {
        func headers(_ count: Int) -> [(String, String)] { (0..<count).map { ("Postrider-Header-H\($0)", "v") } }
        #expect(try post("/v1/topics/t", headers(100)).status == 202)
        expectProblem(try post("/v1/topics/t", headers(101)), 422, "too_many_headers", outcome: "not_accepted")
    }

    @Test func interval_SaysBuffered() throws {
        let buffered = try LocalGateway { try $0.set("spool.sync=interval") }
        let answer = try buffered.request("POST", "/v1/topics/t", body: [1])
        #expect(try answer.json()["durability"]?.string == "buffered")
    }
}
