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

    @Test func contentType_IsTheFirst_WhenThereAreTwo() throws {
        let (form, avro) = ("application/x-www-form-urlencoded", "application/avro")
        let kept = try stored("avro-first", "", [("Content-Type", avro), ("Content-Type", form)])
        #expect(kept["headers"]?.list.map { $0["value"]?.string } == [avro])
        let dropped = try stored("form-first", "", [("Content-Type", form), ("Content-Type", avro)])
        #expect(dropped["headers"]?.list.isEmpty ?? true)
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
