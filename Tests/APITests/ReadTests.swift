import Gateway
import GatewayTestSupport
import JSON
import Primitives
import Testing

/// `GET /v1/topics/{topic}/partitions/{partition}/records`.
@Suite final class ReadTests: GatewayTest {
    override init() throws {
        try super.init()
        try fill(["a", "b", "c"])
    }

    private func fill(_ values: [String], partition: Int = 0) throws {
        for value in values {
            _ = try client.settled(try client.produce("orders", value, partition: partition))
        }
    }

    private func target(_ query: String = "", partition: Int = 0) -> String {
        "/v1/topics/orders/partitions/\(partition)/records" + (query.isEmpty ? "" : "?\(query)")
    }

    private func read(_ query: String = "", partition: Int = 0) throws -> JSONValue {
        let answer = try client.request("GET", target(query, partition: partition))
        try #require(answer.status == 200, "\(answer.text)")
        #expect(answer.header("Cache-Control") == "no-store")
        return try answer.json()
    }

    private func values(_ answer: JSONValue) -> [String?] {
        answer["records"]?.list.map { $0["value_text"]?.string } ?? []
    }

    // MARK: Positions

    @Test func read_OfRecordsThatGrowSixfold_IsCutToItsMemory_AndOneRecordAlwaysComes() throws {
        let small = try LocalGateway { try $0.set("http.response_memory_max=1MiB") }
        let client = try small.client()
        let value = String(repeating: "\u{1}", count: 60_000)
        for _ in 0..<5 { _ = try client.settled(try client.produce("orders", value, partition: 0)) }
        var offset: Int64 = 0
        while offset < 5 {
            // One of 360 KB is more than the quarter that an answer may have.
            let answer = try client.request("GET", target("max_bytes=16777216&offset=\(offset)"))
            let records = try answer.json()["records"]?.list ?? []
            #expect(records.map { $0["offset"]?.int64 } == [offset])
            #expect(records.first?["value_text"]?.string == value)
            offset = try #require(try answer.json()["next_offset"]?.int64)
        }
        // As base 64 they are four thirds.
        let answer = try client.request("GET", target("max_bytes=16777216&values=base64"))
        #expect(try answer.json()["records"]?.list.count == 3)
    }

    @Test func refusals_NameTheReason() throws {
        let cases: [(query: String, code: String)] = [
            ("offset=-1", "invalid_parameter"), ("offset=x", "invalid_parameter"), ("offset=", "invalid_parameter"),
            ("offset=1.5", "invalid_parameter"), ("offset=%2B1", "invalid_parameter"),
            ("offset=9223372036854775808", "invalid_parameter"), ("offset=Latest", "invalid_parameter"),
            ("max=0", "invalid_parameter"), ("max=10001", "invalid_parameter"), ("max=x", "invalid_parameter"),
            ("max_bytes=0", "invalid_parameter"), ("max_bytes=16777217", "invalid_parameter"),
            ("wait=-1", "invalid_parameter"), ("wait=x", "invalid_parameter"), ("wait=nan", "invalid_parameter"),
            ("values=json", "invalid_parameter"), ("values=", "invalid_parameter"),
            ("offset=0&offset=1", "invalid_parameter"), ("client=a", "unknown_parameter"),
            ("topic=orders", "unknown_parameter"),
            // At once, not parked.
            ("wait=60&offset=-1", "invalid_parameter"), ("wait=60&max=0", "invalid_parameter"),
            ("wait=60&offset=4", "offset_out_of_range"),
        ]
        for (query, code) in cases {
            let answer = try client.request("GET", target(query))
            expectProblem(answer, 400, code, retryable: false, "\(query)")
        }
        for query in ["max=10000", "max_bytes=16777216", "max_bytes=1&max=1", "wait=61", "offset=3&wait=0"] {
            #expect(try client.request("GET", target(query)).status == 200, "\(query)")
        }
        for partition in ["x", "-1", "+1", "1.0", "2147483648", "99999999999999999999", "%20"] {
            let answer = try client.request("GET", "/v1/topics/orders/partitions/\(partition)/records")
            expectProblem(answer, 400, "invalid_parameter", retryable: false, "\(partition)")
        }
        for partition in ["4", "2147483647"] {
            let answer = try client.request("GET", "/v1/topics/orders/partitions/\(partition)/records?wait=60")
            expectProblem(answer, 404, "unknown_partition", retryable: false, "\(partition)")
        }
        expectProblem(
            try client.request("GET", "/v1/topics/none/partitions/0/records?wait=60"), 404, "unknown_topic",
            retryable: false)
        expectProblem(try client.request("GET", "/v1/topics/a%20b/partitions/0/records"), 400, "invalid_topic")
        expectProblem(try client.request("POST", target()), 405, "method_not_allowed")
    }

    // MARK: Waiting

    @Test func wait_ThatIsOver_AnswersNothing_AndWhereItStands() throws {
        let clock = SystemClock()
        let before = clock.now()
        let answer = try read("offset=latest&wait=0.3")
        let took = clock.now() - before
        #expect(values(answer).isEmpty && answer["next_offset"]?.int64 == 3)
        #expect(took >= .milliseconds(290), "\(took)")
    }

    @Test func everyWaitingRead_IsAnswered_WhenTheRecordComes() throws {
        let readers = try (0..<100).map { number in
            let reader = try local.client()
            try reader.send("GET", target("offset=3&wait=60&max_bytes=\(number % 2 == 0 ? 1 : 16_777_216)"))
            return reader
        }
        #expect(readers[0].isSilent(for: .milliseconds(50)) && readers[99].isSilent(for: .milliseconds(50)))
        try fill(["news"])
        for reader in readers { #expect(values(try reader.answer().json()) == ["news"]) }
    }

    @Test func head_WaitsForNothing_AndSaysWhatGetWould() throws {
        let get = try client.request("GET", target())
        for query in ["", "wait=60"] {
            let head = try client.request("HEAD", target(query))
            #expect(head.status == 200 && head.body.isEmpty)
            #expect(head.header("Content-Length") == get.header("Content-Length"))
        }
        let end = try client.request("HEAD", target("offset=latest&wait=60"))
        #expect(end.status == 200)
        #expect(try client.request("HEAD", target("offset=4&wait=60")).status == 400)
    }
}
