import GatewayTestSupport
import JSON
import Testing

/// `POST /v1/topics/{topic}/records`: all of the records or none.
@Suite final class BatchTests: GatewayTest {
    @Test func batch_AnswersOneReceiptForEachRecordInOrder() throws {
        let answer = try batch("orders", #"{"records":[{"value":1},{"value":2},{"value":3}]}"#)
        #expect(answer.status == 202)
        let numbers = try (answer.json()["receipts"]?.strings ?? []).map {
            try #require(Int($0.split(separator: "-")[1]))
        }
        #expect(numbers.count == 3)
        #expect(numbers == Array((numbers.first ?? 0)..<(numbers.first ?? 0) + 3))
    }

    @Test func badRecords_AreNamedByPointer() throws {
        let cases: [(record: String, field: String)] = [
            (#"7"#, ""), (#"{}"#, "/value"), (#"{"value":1,"bogus":1}"#, "/bogus"),
            (#"{"value":1,"a/b~":1}"#, "/a~1b~0"), (#"{"value":1,"value_text":"x"}"#, "/value_text"),
            (#"{"value":1,"key":"a","key_base64":"YQ=="}"#, "/key_base64"), (#"{"value":1,"key":1}"#, "/key"),
            (#"{"value_base64":"%"}"#, "/value_base64"), (#"{"value_text":1}"#, "/value_text"),
            (#"{"value":1,"partition":4}"#, "/partition"), (#"{"value":1,"partition":-1}"#, "/partition"),
            (#"{"value":1,"partition":1.0}"#, "/partition"), (#"{"value":1,"timestamp":"soon"}"#, "/timestamp"),
            (#"{"value":1,"timestamp":-1}"#, "/timestamp"), (#"{"value":1,"headers":7}"#, "/headers"),
            (#"{"value":1,"headers":{"a":1}}"#, "/headers"), (#"{"value":1,"headers":[7]}"#, "/headers"),
            (#"{"value":1,"headers":[{"value":"x"}]}"#, "/headers"),
            (#"{"value":1,"headers":[{"name":"","value":"x"}]}"#, "/headers"),
            (#"{"value":1,"headers":[{"name":"a","bogus":"x"}]}"#, "/headers"),
            (#"{"value":1,"headers":[{"name":"a","value":"x","value_base64":"eA=="}]}"#, "/headers"),
            (#"{"value":1,"headers":[{"name":"a","value":{"deep":[[1]]}}]}"#, "/headers"),
        ]
        let all = #"{"records":[{"value":0},"# + cases.map(\.record).joined(separator: ",") + "]}"
        let answer = try batch("bad", all)
        expectProblem(answer, 400, "invalid_records", outcome: "not_accepted", retryable: false)
        let errors = try answer.json()["errors"]?.list ?? []
        #expect(errors.map { $0["pointer"]?.string } == cases.indices.map { "/records/\($0 + 1)\(cases[$0].field)" })
        #expect(errors.allSatisfy { $0["reason"]?.string?.isEmpty == false })
    }

    @Test func badRecords_AreReportedUpToAHundred_AndCounted() throws {
        let answer = try batch(
            "bad", #"{"records":["# + Array(repeating: "7", count: 150).joined(separator: ",") + "]}")
        expectProblem(answer, 400, "invalid_records", outcome: "not_accepted")
        #expect(try answer.json()["errors"]?.list.count == 100)
        #expect(try answer.json()["detail"]?.string?.hasPrefix("150 of 150") == true)
    }

    @Test func malformedBodies_AreRefused() throws {
        let cases: [(body: String, code: String)] = [
            ("", "malformed_json"), ("{", "malformed_json"), (#"{"records":[{"value":1}]} x"#, "malformed_json"),
            (#"{"records":[{"value":1,"value":2}]}"#, "malformed_json"), ("[]", "invalid_body"),
            ("{}", "invalid_body"), (#"{"records":7}"#, "invalid_body"),
            (#"{"records":[{"value":1}],"more":1}"#, "invalid_body"), (#"{"records":[]}"#, "empty_batch"),
        ]
        for (body, code) in cases {
            let answer = try batch("bad", body)
            expectProblem(answer, 400, code, outcome: "not_accepted", retryable: false, "\(body)")
            #expect(try answer.json()["errors"]?.list.count == 1, "\(body)")
        }
    }

    @Test func contentType_MustBeJSON() throws {
        let body = Array(#"{"records":[{"value":1}]}"#.utf8)
        for type in ["text/plain", "application/ndjson", "application/jsonx", ""] {
            let answer = try post("/v1/topics/t/records", [("Content-Type", type)], body)
            expectProblem(answer, 415, "unsupported_media_type", outcome: "not_accepted", "\(type)")
        }
        expectProblem(
            try post("/v1/topics/t/records", [], body), 415, "unsupported_media_type", outcome: "not_accepted")
        for type in ["application/json", "Application/JSON; charset=utf-8"] {
            #expect(try post("/v1/topics/t/records", [("Content-Type", type)], body).status == 202)
        }
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
        expectProblem(
            try post("/v1/topics/t/records", headers, body), 415, "content_encoding_unsupported",
            outcome: "not_accepted")
        expectProblem(
            try post("/v1/topics/t/records?key=a", [("Content-Type", "application/json")], body), 400,
            "unknown_parameter", outcome: "not_accepted")
    }

    @Test(arguments: [-1, 0, 1]) func records_AreLimitedInNumber(by difference: Int) throws {
        let count = 200 + difference
        let answer = try batch(
            "t", #"{"records":["# + Array(repeating: #"{"value":1}"#, count: count).joined(separator: ",") + "]}")
        if difference <= 0 {
            #expect(try answer.json()["receipts"]?.list.count == count)
        } else {
            expectProblem(answer, 413, "too_many_records", outcome: "not_accepted", retryable: false)
        }
    }

    @Test(arguments: [-1, 0, 1]) func requestBytes_AreLimited(by difference: Int) throws {
        let body = #"{"records":[{"value":1}]"#
        let padding = String(repeating: " ", count: (1 << 20) - body.utf8.count - 1 + difference)
        let answer = try batch("t", body + padding + "}")
        if difference <= 0 {
            #expect(answer.status == 202)
        } else {
            expectProblem(answer, 413, "body_too_large", outcome: "not_accepted", retryable: false)
        }
    }

    @Test func oneRecordOverALimit_RefusesAll() throws {
        let large = String(repeating: "x", count: 64 << 10)
        let cases: [(record: String, status: Int, code: String)] = [
            (#"{"value_text":"\#(large)x"}"#, 413, "record_too_large"),
            (#"{"value_text":"\#(large)","key":"k"}"#, 413, "record_too_large"),
            (#"{"value":1,"headers":{"Postrider-Id":"x"}}"#, 422, "reserved_header"),
            (
                #"{"value":1,"headers":{"# + (0...100).map { #""h\#($0)":"v""# }.joined(separator: ",") + "}}", 422,
                "too_many_headers"
            ),
        ]
        for (record, status, code) in cases {
            let answer = try batch("limits", #"{"records":[{"value":0},\#(record)]}"#)
            expectProblem(answer, status, code, outcome: "not_accepted", retryable: false, "\(code)")
            #expect(try answer.json()["errors"]?[0]?["pointer"]?.string == "/records/1")
        }
        #expect(try batch("limits", #"{"records":[{"value_text":"\#(large)"}]}"#).status == 202)
    }
}
