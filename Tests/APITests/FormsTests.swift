import Gateway
import GatewayTestSupport
import JSON
import Primitives
import Testing

/// The forms of records in answers: `?values=`, lines and bytes, for polls and stateless reads alike.
@Suite final class FormsTests: GatewayTest {
    private static let asLines = [("Accept", "application/x-ndjson")]
    private static let asBytes = [("Accept", "application/octet-stream")]
    private static let target = "/v1/topics/orders/partitions/0/records"

    private func fill(_ records: [String]) throws {
        let answer = try batch("orders", #"{"records":[\#(records.joined(separator: ","))]}"#)
        try #require(answer.status == 202, "\(answer.text)")
        for receipt in try answer.json()["receipts"]?.strings ?? [] { _ = try client.settled(receipt) }
    }

    private func read(_ query: String = "", _ headers: [(String, String)] = []) throws -> Answer {
        try client.request("GET", Self.target + query, headers)
    }

    private func poll(_ query: String = "", _ headers: [(String, String)] = []) throws -> Answer {
        try client.request("POST", "/v1/consumers/c/poll\(query)", headers)
    }

    // MARK: Values

    @Test func values_ForceOneForm() throws {
        try fill([
            #"{"value":{"a": [1,2]},"partition":0,"key_base64":"/w=="}"#, #"{"value_text":"é","partition":0}"#,
            #"{"value_base64":"/wA=","partition":0}"#, #"{"value":null,"partition":0}"#,
            #"{"value_text":"null","partition":0}"#,
        ])
        func values(_ query: String) throws -> [String] {
            try read(query).json()["records"]?.list.map { record in
                let names = ["value", "value_text", "value_base64"].filter { record[$0] != nil }
                #expect(names.count == 1)
                return "\(names[0])=\(record[names[0]]?.string ?? record[names[0]]?.rawText ?? "")"
            } ?? []
        }
        #expect(
            try values("") == [
                #"value={"a": [1,2]}"#, "value_text=é", "value_base64=/wA=", "value=null", "value_text=null",
            ])
        #expect(
            try values("?values=text") == [
                #"value_text={"a": [1,2]}"#, "value_text=é", "value_base64=/wA=", "value=null", "value_text=null",
            ])
        #expect(
            try values("?values=base64") == [
                "value_base64=eyJhIjogWzEsMl19", "value_base64=w6k=", "value_base64=/wA=", "value=null",
                "value_base64=bnVsbA==",
            ])
        let polled = try poll("?topic=orders&max=1&values=base64").json()["records"]?[0]
        #expect(polled?["value_base64"]?.string == "eyJhIjogWzEsMl19")
        #expect(polled?["key_base64"]?.string == "/w==")
        expectProblem(try poll("?values=json"), 400, "invalid_parameter")
    }

    // MARK: Lines

    @Test func lines_AreOneRecordEach_AndTheRestIsInFields() throws {
        try fill([#"{"value":{"a":\#n [1,\#r\#n2]},"partition":0}"#, #"{"value_text":"x\ny","partition":0}"#])
        let whole = try read().json()["records"]?.list ?? []
        let answer = try read("", Self.asLines)
        #expect(answer.header("Content-Type") == "application/x-ndjson")
        #expect(answer.header("Postrider-Next-Offset") == "2")
        #expect(answer.header("Postrider-Low-Watermark") == "0" && answer.header("Postrider-High-Watermark") == "2")
        #expect(answer.header("Cache-Control") == "no-store")
        let lines = answer.text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 3 && lines[2].isEmpty)
        #expect(lines[0].contains(#""value":{"a":  [1,  2]}"#))
        #expect(lines[1] == whole[1].rawText)
        let end = try read("?offset=latest", Self.asLines)
        #expect(end.status == 200 && end.body.isEmpty && end.header("Postrider-Next-Offset") == "2")

        let polled = try poll("?topic=orders", Self.asLines)
        #expect(polled.text.split(separator: "\n").count == 2)
        let token = try #require(polled.header("Postrider-Ack"))
        #expect(try client.postJSON("/v1/consumers/c/acks", #"{"ack":"\#(token)"}"#).status == 200)
        let empty = try poll("?wait=0.05", Self.asLines)
        #expect(empty.status == 200 && empty.body.isEmpty && empty.header("Postrider-Ack") == nil)
        #expect(empty.header("Content-Type") == "application/x-ndjson")
    }

    // MARK: Bytes

    @Test func bytes_AreTheValue_AndTheRestIsInFields() throws {
        let headers = [("Content-Type", "image/png"), ("Postrider-Header-Trace", "abc"), ("Postrider-Key", "k 1")]
        let value: [UInt8] = [0, 13, 10, 255, 1]
        let sent = try post("/v1/topics/orders?partition=0", headers, value)
        _ = try client.settled(try #require(try sent.json()["receipts"]?[0]?.string))
        try fill([#"{"value":null,"partition":0}"#])
        for answer in [try read("?max=1", Self.asBytes), try poll("?topic=orders&max=1&client=a", Self.asBytes)] {
            #expect(answer.status == 200 && answer.body == value)
            #expect(answer.header("Content-Type") == "image/png")
            #expect(answer.header("X-Content-Type-Options") == "nosniff")
            #expect(answer.header("Postrider-Topic") == "orders")
            #expect(answer.header("Postrider-Partition") == "0" && answer.header("Postrider-Offset") == "0")
            #expect(answer.header("Postrider-Timestamp")?.hasSuffix("Z") == true)
            #expect(answer.header("Postrider-Key") == "k 1")
            #expect(answer.header("Postrider-Header-trace") == "abc")
            #expect(answer.header("Postrider-Tombstone") == nil)
        }
        // Lost: the same again, and then the next.
        let polled = try poll("?max=1&client=a", Self.asBytes)
        #expect(polled.header("Postrider-Attempt") == "1")
        #expect(polled.header("Postrider-Deadline")?.hasSuffix("Z") == true)
        let delivery = try #require(polled.header("Postrider-Delivery-Id"))
        #expect(try client.postJSON("/v1/consumers/c/acks", #"{"deliveries":["\#(delivery)"]}"#).status == 200)
        let tombstone = try poll("?max=1&client=a", Self.asBytes)
        #expect(tombstone.status == 200 && tombstone.body.isEmpty)
        #expect(tombstone.header("Postrider-Tombstone") == "true")
        #expect(tombstone.header("Content-Type") == "application/octet-stream")
        let token = try #require(tombstone.header("Postrider-Ack"))
        #expect(try client.postJSON("/v1/consumers/c/acks", #"{"ack":"\#(token)"}"#).status == 200)

        let none = try poll("?max=1&wait=0.05", Self.asBytes)
        #expect(none.status == 204 && none.body.isEmpty && none.header("Postrider-Ack") == nil)
        let end = try read("?max=1&offset=2", Self.asBytes)
        #expect(end.status == 204 && end.header("Postrider-Next-Offset") == "2")
    }

    @Test func recordsThatWouldInjectFields_AreOneAnswer_WithNothingOfTheirs() throws {
        let hostile = #"a\r\nInjected: yes\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\u0000é"#
        try fill([
            #"{"value_text":"1","partition":0,"key":"\#(hostile)"}"#,
            #"{"value_text":"2","partition":0,"headers":{"x":"\#(hostile)","content-type":"a/b\r\nX: y"}}"#,
            #"{"value_text":"3","partition":0,"headers":{"x\r\nInjected":"yes","Content-Length":"0"}}"#,
            #"{"value_text":"4","partition":0,"headers":{"connection":"close","transfer-encoding":"chunked"}}"#,
        ])
        let raw = try #require(try read().json()["records"]?.list)
        for offset in 0..<4 {
            let answer = try read("?max=1&offset=\(offset)", Self.asBytes)
            #expect(answer.status == 200 && answer.text == "\(offset + 1)")
            #expect(!answer.headers.contains { $0.name.lowercased().contains("injected") })
            #expect(answer.headers.filter { $0.name.lowercased() == "content-length" }.map(\.value) == ["1"])
            for field in ["Connection", "Transfer-Encoding"] { #expect(answer.header(field) == nil) }
            let record = raw[offset]
            if let text = answer.header("Postrider-Key-Base64") {
                #expect(try Base64.decode(Array(text.utf8)[...]) == Array((record["key"]?.string ?? "").utf8))
            }
            if let text = answer.header("Postrider-Headers-Base64") {
                let headers = try Base64.decode(Array(text.utf8)[...])
                #expect(String(decoding: headers, as: UTF8.self) == record["headers"]?.rawText)
            }
            let coded = ["Postrider-Key-Base64", "Postrider-Headers-Base64"].filter { answer.header($0) != nil }
            #expect(
                coded
                    == [["Postrider-Key-Base64"], ["Postrider-Headers-Base64"], ["Postrider-Headers-Base64"], []][
                        offset])
        }
        let last = try read("?max=1&offset=3", Self.asBytes)
        #expect(last.header("Postrider-Header-connection") == "close")
        #expect(last.header("Postrider-Header-transfer-encoding") == "chunked")
        // The connection still frames its answers.
        #expect(try read().status == 200)
    }

    @Test func record_WhoseFieldsDoNotFit_ComesAsJSON_HoweverLargeTheRequest() throws {
        for bytes in [100, 3_000, 5_000, 6_500, 8_300, 20_000] {
            try fill([#"{"value_text":"v\#(bytes)","partition":0,"key":"\#(String(repeating: "k", count: bytes))"}"#])
        }
        var forms: Set<String> = []
        for extra in [0, 4_000, 8_000, 11_000] {
            for offset in 0..<6 {
                let headers = Self.asBytes + [("X-Large", String(repeating: "x", count: extra))]
                let answer = try read("?max=1&offset=\(offset)", headers)
                #expect(answer.status == 200)
                let type = try #require(answer.header("Content-Type"))
                forms.insert(type)
                if type == "application/json" {
                    #expect(try answer.json()["records"]?[0]?["offset"]?.int64 == Int64(offset))
                } else {
                    #expect(answer.header("Postrider-Offset") == "\(offset)")
                }
            }
        }
        #expect(forms == ["application/json", "application/octet-stream"])
    }

    @Test func openAnswerOfSeveralRecords_ComesWhole_WhenItsClientAsksForBytes() throws {
        try fill([#"{"value_text":"a","partition":0}"#, #"{"value_text":"b","partition":0}"#])
        let first = try poll("?topic=orders&client=a")
        let again = try poll("?max=1&client=a", Self.asBytes)
        #expect(again.header("Content-Type") == "application/json")
        #expect(again.body == first.body)
    }

    // MARK: Negotiation

    @Test func accept_DecidesTheForm_OrIsRefused() throws {
        try fill([#"{"value_text":"a","partition":0}"#])
        let cases: [(accept: String, type: String)] = [
            ("*/*", "application/json"), ("application/json", "application/json"), ("", "application/json"),
            ("text/html, application/*;q=0.5", "application/json"),
            ("application/json;q=0.2, application/x-ndjson;q=0.3", "application/x-ndjson"),
            ("application/octet-stream", "application/octet-stream"),
        ]
        for (accept, type) in cases {
            #expect(try read("?max=1", [("Accept", accept)]).header("Content-Type") == type, "\(accept)")
            #expect(try poll("?topic=orders&max=1&client=x", [("Accept", accept)]).header("Content-Type") == type)
        }
        for accept in ["text/html", "application/json;q=0", "image/*, text/plain"] {
            expectProblem(try read("?max=1", [("Accept", accept)]), 406, "not_acceptable", retryable: false)
            // Refused before anything is leased, or waited for.
            let answer = try client.request(
                "POST", "/v1/consumers/c/poll?wait=60&client=y", [("Accept", accept)])
            expectProblem(answer, 406, "not_acceptable", retryable: false)
        }
        for query in ["", "?max=2", "?wait=60"] {
            for answer in [try read(query, Self.asBytes), try poll(query, Self.asBytes)] {
                expectProblem(answer, 400, "invalid_parameter", retryable: false)
                #expect(try answer.json()["detail"]?.string?.contains("max") == true)
            }
        }
    }
}
