import GatewayTestSupport
import JSON
import Testing

/// `POST /v1/topics/{topic}/records` with one record a line.
@Suite final class NDJSONTests: GatewayTest {
    private func lines(_ topic: String, _ body: String) throws -> Answer {
        try post("/v1/topics/\(topic)/records", [("Content-Type", "application/x-ndjson")], Array(body.utf8))
    }

    @Test func malformedLine_IsNamedByLineAndByte() throws {
        let first = #"{"value":1}"# + "\n\n"
        let cases: [(line: String, pointer: String, reason: String, byte: Int)] = [
            (#"{"value":}"#, "/records/1/value", "value_expected", 9),
            (#"{"value":1}{"value":2}"#, "/records/1", "trailing_data", 11),
            (#"{"value":1,"value":2}"#, "/records/1/value", "duplicate_key", 11),
            ("{\"value\":\"\u{1}\"}", "/records/1/value", "control_character", 10),
            (#"{"value":1"#, "/records/1", "unexpected_end", 10),
        ]
        for (line, pointer, reason, byte) in cases {
            let answer = try lines("bad", first + line + "\n" + #"{"value":3}"#)
            expectProblem(answer, 400, "malformed_json", outcome: "not_accepted", retryable: false, "\(line)")
            let errors = try answer.json()["errors"]
            #expect(errors?.list.count == 1, "\(line)")
            #expect(errors?[0]?["pointer"]?.string == pointer, "\(line)")
            let place = "at byte \(first.utf8.count + byte) (line 3)"
            #expect(errors?[0]?["reason"]?.string == "\(reason) \(place)", "\(line)")
        }
        #expect(try client.request("GET", "/v1/topics").json()["topics"]?.list.isEmpty == true)
    }

    @Test func badRecords_AreNamedByIndexAndLine() throws {
        let answer = try lines("bad", #"{"value":1}"# + "\n\n7\n" + #"{"value":1,"partition":9}"#)
        expectProblem(answer, 400, "invalid_records", outcome: "not_accepted", retryable: false)
        let errors = try answer.json()["errors"]?.list ?? []
        #expect(errors.map { $0["pointer"]?.string } == ["/records/1", "/records/2/partition"])
        #expect(errors.map { $0["reason"]?.string?.hasSuffix("(line 3)") } == [true, false])
        #expect(errors.last?["reason"]?.string?.hasSuffix("(line 4)") == true)
    }

    @Test func emptyBodies_AreRefused() throws {
        for body in ["", "\n", " \n\t\r\n\n"] {
            expectProblem(
                try lines("bad", body), 400, "empty_batch", outcome: "not_accepted", retryable: false, "\(body)")
        }
    }

    @Test(arguments: [-1, 0, 1]) func lines_AreLimitedInNumber(by difference: Int) throws {
        let count = 200 + difference
        let answer = try lines("t", String(repeating: #"{"value":1}"# + "\n\n", count: count))
        if difference <= 0 {
            #expect(try answer.json()["receipts"]?.list.count == count)
        } else {
            expectProblem(answer, 413, "too_many_records", outcome: "not_accepted", retryable: false)
        }
    }

    /// What is accepted in one form can be sent in the other, and read in the answer to a poll.
    @Test(arguments: [-1, 0, 1]) func valueDepth_IsThatOfABatch(by difference: Int) throws {
        let depth = 61 + difference
        let value = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        let ofLine = try lines("deep", #"{"value":\#(value)}"#)
        let ofBatch = try batch("deep", #"{"records":[{"value":\#(value)}]}"#)
        for answer in [ofLine, ofBatch] {
            if difference <= 0 {
                #expect(answer.status == 202)
            } else {
                expectProblem(answer, 400, "malformed_json", outcome: "not_accepted")
            }
        }
    }
}
