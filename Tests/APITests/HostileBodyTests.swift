import Gateway
import GatewayTestSupport
import JSON
import Testing

/// Bodies and refusals that a client makes as strange as it can.
@Suite final class HostileBodyTests: GatewayTest {
    private func lines(_ topic: String, _ body: [UInt8]) throws -> Answer {
        try post("/v1/topics/\(topic)/records", [("Content-Type", "application/x-ndjson")], body)
    }

    @Test func lines_EndAtALineFeedOnly() throws {
        let one = #"{"value":1}"#
        let good = [
            one, one + "\r\n", "\r\n\r\n" + one + "\r\n", "  " + one + "\t", one + "\n \t\r\n",
            "\n" + one + "\n\n\n",
        ]
        for text in good {
            let answer = try lines("good", Array(text.utf8))
            #expect(try answer.json()["receipts"]?.list.count == 1, "\(text)")
        }
        let bad: [(text: String, reason: String)] = [
            ("\u{FEFF}" + one, "value_expected at byte 0 (line 1)"),
            (one + "\n\u{FEFF}" + one, "value_expected at byte 12 (line 2)"),
            ("\0" + one, "value_expected at byte 0 (line 1)"), (one + "\0", "trailing_data at byte 11 (line 1)"),
            (one + "\n\0\n", "value_expected at byte 12 (line 2)"),
            (one + "\r" + one, "trailing_data at byte 12 (line 1)"),
            (one + "\u{2028}" + one, "trailing_data at byte 11 (line 1)"),
            ("\u{B}" + one, "value_expected at byte 0 (line 1)"),
            ("{\"value\":\n1}", "unexpected_end at byte 9 (line 1)"),
            ("{\"value\":\"a\nb\"}", "unexpected_end at byte 11 (line 1)"),
        ]
        for (text, reason) in bad {
            let answer = try lines("bad", Array(text.utf8))
            expectProblem(answer, 400, "malformed_json", outcome: "not_accepted", retryable: false, "\(reason)")
            #expect(try answer.json()["errors"]?[0]?["reason"]?.string == reason, "\(answer.text)")
        }
        let invalid = try lines("bad", Array(#"{"value":"#.utf8) + [0x22, 0xC0, 0xAF, 0x22] + Array("}".utf8))
        expectProblem(invalid, 400, "malformed_json", outcome: "not_accepted")
    }

    /// Blank bytes cost one look each, and their lines are counted.
    @Test func blankLines_AreCounted_HoweverManyThereAre() throws {
        let half = 500_000
        let blank = String(repeating: "\n", count: half) + String(repeating: " ", count: half)
        let answer = try lines("bad", Array((blank + #"{"value":}"#).utf8))
        expectProblem(answer, 400, "malformed_json", outcome: "not_accepted")
        let reason = try answer.json()["errors"]?[0]?["reason"]?.string
        #expect(reason == "value_expected at byte \(2 * half + 9) (line \(half + 1))")
    }

    /// What a client wrote is named in a refusal, not sent back whole.
    @Test func refusals_NameTheBeginning_OfWhatIsTooLongToRepeat() throws {
        let long = String(repeating: "x", count: 8_000)
        // One character for Swift, 120,000 bytes.
        let marks = "e" + String(repeating: "\u{301}", count: 60_000)
        let answers = [
            try client.request("GET", "/v1/topics?\(long)=1"),
            try client.postJSON("/v1/receipts/query", #"{"\#(long)":1}"#),
            try client.putJSON("/v1/consumers/c", #"{"\#(long)":1}"#),
            try client.putJSON("/v1/topics/t", #"{"\#(long.prefix(3_000))":1}"#),
            try post("/v1/topics/t", [("Postrider-\(long)", "1")]),
            try batch("t", #"{"records":[{"value":1,"\#(marks)":1}]}"#),
            try batch("t", #"{"\#(marks)":1}"#),
            try batch("t", #"{"records":[{"value":1,"headers":[{"name":"a","\#(marks)":1}]}]}"#),
            try batch("t", #"{"records":[{"value":1,"headers":{"postrider-\#(marks)":"1"}}]}"#),
        ]
        for (index, answer) in answers.enumerated() {
            #expect((400...422).contains(answer.status), "\(index): \(answer.status)")
            #expect(answer.body.count < 2_000, "\(index): \(answer.body.count) bytes")
        }
    }

    /// Whether records were accepted is said to those who sent some.
    @Test func refusals_SayNothingOfRecords_WhereNoneWereSent() throws {
        let body = [UInt8](repeating: 32, count: (1 << 20) + 1)
        let calls: [(method: String, target: String)] = [
            ("PUT", "/v1/topics/t"), ("GET", "/v1/topics/t"), ("DELETE", "/v1/topics/t"), ("GET", "/v1/topics"),
            ("POST", "/v1/topics/t/purge"), ("PUT", "/v1/consumers/c"), ("POST", "/v1/receipts/query"),
        ]
        for (method, target) in calls {
            expectProblem(
                try client.request(method, target, body: body), 413, "body_too_large", outcome: nil, retryable: false,
                "\(method) \(target)")
        }
        expectProblem(
            try client.request("POST", "/v1/topics/t", body: body), 413, "body_too_large", outcome: "not_accepted")
    }

    @Test func offsets_AreThoseBetweenTheWatermarks() throws {
        for value in 0..<4 { _ = try client.settled(try client.produce("orders", "\(value)", partition: 0)) }
        let purge = try client.postJSON("/v1/topics/orders/purge", #"{"offsets":[{"partition":0,"offset":2}]}"#)
        #expect(purge.status == 200, "\(purge.text)")
        let target = "/v1/topics/orders/partitions/0/records?offset="
        for (offset, found) in [(2, 2), (3, 1), (4, 0)] {
            #expect(try client.request("GET", "\(target)\(offset)").json()["records"]?.list.count == found)
        }
        for offset in [0, 1, 5] {
            // Also where it would wait: what is gone does not come.
            for wait in ["", "&wait=60"] {
                let answer = try client.request("GET", "\(target)\(offset)\(wait)")
                expectProblem(answer, 400, "offset_out_of_range", retryable: false, "\(offset)\(wait)")
                #expect(try answer.json()["low_watermark"]?.int64 == 2)
                #expect(try answer.json()["high_watermark"]?.int64 == 4)
            }
        }
        #expect(try client.request("GET", "\(target)earliest").json()["records"]?[0]?["offset"]?.int64 == 2)
    }

    /// The limits are those of records and bytes, not of what is inside them.
    @Test func values_MayHoldAnyNumberOfNumbers_AndRecordsAllTheirHeaders() throws {
        let ordinary = try LocalGateway {
            try $0.set("limits.records_max=10000")
            try $0.set("spool.segment_bytes=32MiB")
            try $0.set("spool.bytes_max=256MiB")
            try $0.set("limits.request_bytes_max=16MiB")
        }
        let client = try ordinary.client()
        let vector = "[" + Array(repeating: "0", count: 15_000).joined(separator: ",") + "]"
        let vectors = Array(repeating: #"{"value":\#(vector)}"#, count: 100).joined(separator: ",")
        let headers = (0..<100).map { #""h\#($0)":"v""# }.joined(separator: ",")
        let records = Array(repeating: #"{"value":1,"headers":{\#(headers)}}"#, count: 6_000).joined(separator: ",")
        for (list, count) in [(vectors, 100), (records, 6_000)] {
            let answer = try client.postJSON("/v1/topics/t/records", #"{"records":[\#(list)]}"#)
            #expect(answer.status == 202, "\(answer.text.prefix(300))")
            #expect(try answer.json()["receipts"]?.list.count == count)
        }
    }
}
