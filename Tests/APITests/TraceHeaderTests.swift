import Gateway
import GatewayTestSupport
import JSON
import TestSupport
import Testing

/// A produce request's `traceparent` and `tracestate` as headers of its records (W3C Trace Context).
@Suite final class TraceHeaderTests: GatewayTest {
    private static let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    private static let other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01"

    private func trace(_ state: String...) -> [(String, String)] {
        [("traceparent", Self.parent)] + state.map { ("tracestate", $0) }
    }

    /// Of each record of a topic, `name=value` in order.
    private func headers(
        _ count: Int, of topic: String, _ client: HTTPClient? = nil
    ) throws -> [[String]] {
        try (client ?? self.client).read(count, as: "reader-of-\(topic)", from: topic).map { record in
            (record["headers"]?.list ?? []).map { "\($0["name"]?.string ?? "?")=\($0["value"]?.string ?? "?")" }
        }
    }

    @Test func oneRecord_GetsTheTraceOfItsRequest() throws {
        let fields = [("Postrider-Header-a", "1"), ("Content-Type", "text/plain")] + trace("x=1,y=2")
        #expect(try post("/v1/topics/one", fields).status == 202)
        let expected = ["a=1", "content-type=text/plain", "traceparent=\(Self.parent)", "tracestate=x=1,y=2"]
        #expect(try headers(1, of: "one") == [expected])
    }

    @Test func everyRecordOfABatch_GetsIt_UnlessItHasItsOwn() throws {
        let body = #"""
            {"value":1}
            {"value":2,"headers":{"traceparent":"mine"}}
            {"value":3,"headers":{"h":"v"}}
            {"value":4,"headers":{"Traceparent":"mine"}}
            {"value":5,"headers":{"Tracestate":"mine"}}
            """#
        let fields = [("Content-Type", "application/x-ndjson")] + trace("x=1")
        #expect(try post("/v1/topics/many/records", fields, Array(body.utf8)).status == 202)
        let found = Set(try headers(5, of: "many"))
        let trace = ["traceparent=\(Self.parent)", "tracestate=x=1"]
        #expect(found == [trace, ["traceparent=mine"], ["h=v"] + trace, ["Traceparent=mine"], ["Tracestate=mine"]])
    }

    @Test func ownHeader_OfOneRecord_Wins() throws {
        let fields = [("Postrider-Header-traceparent", "mine")] + trace("x=1")
        #expect(try post("/v1/topics/own", fields).status == 202)
        #expect(try headers(1, of: "own") == [["traceparent=mine"]])
    }

    /// Each with the headers that its record has.
    @Test func whatIsNotValid_IsNotPassedOn() throws {
        let long = "x=" + String(repeating: "y", count: 510)
        let parent = "traceparent=\(Self.parent)"
        let cases: [(fields: [(String, String)], expected: [String])] = [
            ([("traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), ("tracestate", "x=1")], []),
            ([("tracestate", "x=1")], []),
            (trace() + [("traceparent", Self.other)], []),
            (trace(long), [parent, "tracestate=\(long)"]),
            (trace(long + "z"), [parent]),
            (trace("x=1", "y=2"), [parent, "tracestate=x=1,y=2"]),
            (trace("x=é"), [parent]), (trace(""), [parent]),
        ]
        for (index, (fields, expected)) in cases.enumerated() {
            #expect(try post("/v1/topics/invalid-\(index)", fields).status == 202)
            #expect(try headers(1, of: "invalid-\(index)") == [expected], "\(fields)")
        }
    }

    @Test func repetition_MayHaveAnotherSpan() throws {
        for path in ["/v1/topics/again", "/v1/topics/again/records"] {
            let fields = [("Idempotency-Key", "k"), ("Content-Type", "application/json")]
            let body = Array(#"{"records":[{"value":1}]}"#.utf8)
            let first = try post(path, fields + trace("x=1"), body)
            let again = try post(path, fields + [("traceparent", Self.other)], body)
            let without = try post(path, fields, body)
            #expect(first.status == 202 && first.header("Idempotent-Replayed") == nil)
            for answer in [again, without] {
                #expect(answer.text == first.text)
                #expect(answer.header("Idempotent-Replayed") == "true")
            }
        }
    }

    @Test func recordWithoutRoomForIt_IsAcceptedWithoutIt() throws {
        // Headers: 100 are allowed. Bytes: 64 KiB, and the trace's are 11 and 55.
        let many = (0..<99).map { ("Postrider-Header-h\($0)", "v") }
        #expect(try post("/v1/topics/headers", many + trace()).status == 202)
        #expect(try post("/v1/topics/headers", many + trace("x=1")).status == 202)
        #expect(try headers(2, of: "headers").map(\.count).sorted() == [99, 100])
        for count in [65_536 - 66, 65_536 - 65, 65_536] {
            #expect(try post("/v1/topics/bytes", trace(), [UInt8](repeating: 120, count: count)).status == 202)
        }
        #expect(try headers(3, of: "bytes").map(\.count).sorted() == [0, 0, 1])
    }

    @Test func requestWhoseTraceLeavesTheSegmentNoRoom_IsAcceptedWithoutIt() throws {
        // 7,000 records leave 1 MiB of a segment beside the request; each of these traces takes 600 bytes.
        let small = try LocalGateway { try $0.set("limits.records_max=7000") }
        let fields = [("Content-Type", "application/x-ndjson")] + trace(String(repeating: "x", count: 512))
        for (count, headers) in [(7_000, 0), (100, 2)] {
            let body = Array(String(repeating: "{\"value\":1}\n", count: count).utf8)
            let answer = try small.request("POST", "/v1/topics/n\(count)/records", fields, body: body)
            #expect(answer.status == 202, "\(answer.text.prefix(200))")
            #expect(try self.headers(1, of: "n\(count)", small.client()).first?.count == headers)
        }
    }

    @Test func setting_TurnsItOff() throws {
        let plain = try LocalGateway { try $0.set("http.trace_headers=false") }
        #expect(try plain.request("POST", "/v1/topics/t", trace("x=1"), body: [120]).status == 202)
        #expect(try headers(1, of: "t", plain.client()) == [[]])
    }
}
