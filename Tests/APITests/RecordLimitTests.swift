import Gateway
import GatewayTestSupport
import JSON
import Testing

/// Limits of one record in a batch, at −1, 0, +1, in both forms of the body.
@Suite final class RecordLimitTests: GatewayTest {
    private static let bytesMax = 64 << 10

    /// The answers to the record in a JSON batch and as a line, behind a good one.
    private func answers(_ record: String) throws -> [Answer] {
        let lines = Array((#"{"value":0}"# + "\n" + record).utf8)
        return [
            try batch("limits", #"{"records":[{"value":0},\#(record)]}"#),
            try post("/v1/topics/limits/records", [("Content-Type", "application/x-ndjson")], lines),
        ]
    }

    private func expect(
        _ record: String, within: Bool, _ status: Int, _ code: String, pointer: String = "/records/1",
        _ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for answer in try answers(record) {
            if within {
                #expect(answer.status == 202, comment, sourceLocation: sourceLocation)
            } else {
                expectProblem(
                    answer, status, code, outcome: "not_accepted", retryable: false, comment,
                    sourceLocation: sourceLocation)
                let errors = try answer.json()["errors"]?.list ?? []
                #expect(errors.map { $0["pointer"]?.string } == [pointer], comment, sourceLocation: sourceLocation)
            }
        }
    }

    /// Bytes count as they are stored: decoded, of JSON as it was sent.
    @Test(arguments: [-1, 0, 1]) func recordBytes_AreLimited(by difference: Int) throws {
        let count = Self.bytesMax + difference
        let zeros = Base64.encode([UInt8](repeating: 0, count: count)[...])
        let half = count / 2
        let cases = [
            #"{"value_text":"\#(String(repeating: "x", count: count))"}"#,
            #"{"value_text":"\#(String(repeating: #"\u0041"#, count: count))"}"#,
            #"{"value":"\#(String(repeating: "x", count: count - 2))"}"#,
            #"{"value_base64":"\#(String(decoding: zeros, as: UTF8.self))"}"#,
            #"{"value":null,"key":"\#(String(repeating: "k", count: count))"}"#,
            #"{"value_text":"\#(String(repeating: "x", count: half))","headers":"#
                + #"{"h":"\#(String(repeating: "v", count: count - half - 1))"}}"#,
        ]
        for record in cases {
            try expect(record, within: difference <= 0, 413, "record_too_large", "\(record.prefix(40))")
        }
    }

    @Test(arguments: [-1, 0, 1]) func headers_AreLimitedInNumber(by difference: Int) throws {
        let numbers = 0..<100 + difference
        let object = numbers.map { #""h\#($0)":"v""# }.joined(separator: ",")
        let list = numbers.map { _ in #"{"name":"h","value":"v"}"# }.joined(separator: ",")
        for headers in ["{\(object)}", "[\(list)]"] {
            try expect(
                #"{"value":1,"headers":\#(headers)}"#, within: difference <= 0, 422, "too_many_headers",
                "\(headers.prefix(20))")
        }
    }

    @Test(arguments: [-1, 0, 1]) func headerNames_AreLimited(by difference: Int) throws {
        let wide = try LocalGateway { try $0.set("limits.record_bytes_max=512KiB") }
        let name = String(repeating: "n", count: 65_535 + difference)
        for headers in [#"{"\#(name)":"v"}"#, #"[{"name":"\#(name)","value":"v"}]"#] {
            let answer = try wide.client().postJSON(
                "/v1/topics/t/records", #"{"records":[{"value":1,"headers":\#(headers)}]}"#)
            if difference <= 0 {
                #expect(answer.status == 202)
            } else {
                expectProblem(answer, 400, "invalid_records", outcome: "not_accepted")
                #expect(try answer.json()["errors"]?[0]?["pointer"]?.string == "/records/0/headers")
            }
        }
    }

    @Test func faultsOfSeveralRecords_AreAllNamed() throws {
        let large = #"{"value_text":"\#(String(repeating: "x", count: Self.bytesMax + 1))"}"#
        let reserved = #"{"value":1,"headers":{"postrider-id":"x"}}"#
        let cases: [(records: [String], status: Int, code: String)] = [
            ([large, large], 413, "record_too_large"), ([reserved, reserved], 422, "reserved_header"),
            ([large, reserved], 422, "records_refused"), ([large, "7", reserved], 400, "invalid_records"),
        ]
        for (records, status, code) in cases {
            let answer = try batch("limits", #"{"records":[{"value":0},\#(records.joined(separator: ","))]}"#)
            expectProblem(answer, status, code, outcome: "not_accepted", retryable: false, "\(code)")
            let errors = try answer.json()["errors"]?.list ?? []
            #expect(errors.map { $0["pointer"]?.string } == records.indices.map { "/records/\($0 + 1)" }, "\(code)")
        }
    }

    /// With the default limits, which other tests make smaller.
    @Test(arguments: [10_000, 10_001]) func tenThousandRecords_FitOneRequest(count: Int) throws {
        let ordinary = try LocalGateway { try $0.set("limits.records_max=10000") }
        let records = Array(repeating: #"{"value":1}"#, count: count)
        let answer = try ordinary.client().postJSON(
            "/v1/topics/t/records", #"{"records":[\#(records.joined(separator: ","))]}"#)
        if count <= 10_000 {
            #expect(try answer.json()["receipts"]?.list.count == count)
        } else {
            expectProblem(answer, 413, "too_many_records", outcome: "not_accepted", retryable: false)
        }
    }
}
