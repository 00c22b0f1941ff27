import Gateway
import GatewayTestSupport
import JSON
import Primitives
import Testing
import TestSupport

/// `POST /v1/consumers/{consumer}/poll` and `…/acks`.
@Suite final class PollTests: GatewayTest {
    override init() throws {
        try super.init()
        _ = try client.settled(try client.produce("orders", "first", partition: 0))
        try #require(try client.putJSON("/v1/consumers/c", #"{"topics":["orders"]}"#).status == 201)
    }

    private func poll(_ query: String = "", _ consumer: String = "c") throws -> JSONValue {
        let answer = try client.request("POST", "/v1/consumers/\(consumer)/poll\(query)")
        try #require(answer.status == 200, "\(answer.text)")
        return try answer.json()
    }

    private func acknowledge(_ body: String) throws -> Answer { try client.postJSON("/v1/consumers/c/acks", body) }

    private func acknowledgeAll(_ answer: JSONValue) throws {
        let token = try #require(answer["ack"]?.string)
        #expect(try acknowledge(#"{"ack":"\#(token)"}"#).status == 200)
    }

    private func fill(_ values: [String]) throws {
        for value in values { _ = try client.settled(try client.produce("orders", value, partition: 0)) }
    }

    private func values(_ answer: JSONValue) -> [String?] {
        answer["records"]?.list.map { $0["value_text"]?.string ?? $0["value"]?.rawText } ?? []
    }

    private func ids(_ answer: JSONValue) -> [String] {
        answer["records"]?.list.compactMap { $0["delivery"]?["id"]?.string } ?? []
    }

    // MARK: Polling

    @Test func poll_IsEmptyAtTheEndOfItsWait() throws {
        try acknowledgeAll(try poll())
        let clock = SystemClock()
        let before = clock.now()
        let answer = try poll("?wait=0.4")
        let took = clock.now() - before
        #expect(answer["ack"]?.isNull == true)
        #expect(answer["records"]?.list.isEmpty == true)
        #expect(took >= .milliseconds(390), "\(took)")
        #expect(try poll()["records"]?.list.isEmpty == true)
    }

    @Test func topic_DefinesTheConsumerOnTheWay() throws {
        #expect(values(try poll("?topic=orders", "new")) == ["first"])
        #expect(try client.request("GET", "/v1/consumers/new").json()["topics"]?.strings == ["orders"])
        _ = try client.settled(try client.produce("payments", "x"))
        expectProblem(
            try client.request("POST", "/v1/consumers/new/poll?topic=payments"), 409, "consumer_conflict")
        #expect(try poll("?topic=payments&topic=orders&max=1&wait=60", "both")["records"]?.list.count == 1)
        // A consumer may come before the first record: the topic is created as producing would.
        #expect(try poll("?topic=early", "x")["records"]?.list.isEmpty == true)
        #expect(try client.request("GET", "/v1/topics/early").status == 200)
    }

    @Test func poll_RefusalsNameTheParameter() throws {
        let cases: [(query: String, code: String)] = [
            ("max=0", "invalid_parameter"), ("max=10001", "invalid_parameter"), ("max=x", "invalid_parameter"),
            ("max_bytes=0", "invalid_parameter"), ("max_bytes=16777217", "invalid_parameter"),
            ("wait=-1", "invalid_parameter"), ("wait=x", "invalid_parameter"), ("wait=nan", "invalid_parameter"),
            ("wait=inf", "invalid_parameter"), ("wait=1&wait=1", "invalid_parameter"),
            ("topic=a%20b", "invalid_parameter"), ("client=", "invalid_field"),
            ("client=" + String(repeating: "c", count: 129), "invalid_field"), ("bogus=1", "unknown_parameter"),
            // A bad parameter behind a wait is refused at once, not parked.
            ("wait=60&max=0", "invalid_parameter"), ("wait=60&max_bytes=0", "invalid_parameter"),
        ]
        for (query, code) in cases {
            let answer = try client.request("POST", "/v1/consumers/c/poll?\(query)")
            expectProblem(answer, 400, code, retryable: false, "\(query)")
        }
        expectProblem(try client.request("POST", "/v1/consumers/a%20b/poll"), 400, "invalid_consumer")
    }

    @Test func polls_AreLimitedInNumber() throws {
        let small = try LocalGateway { try $0.set("consumers.polls_waiting_max=1") }
        let (one, two) = (try small.client(), try small.client())
        _ = try two.settled(try two.produce("orders", "value"))
        _ = try two.read(1, as: "c", from: "orders")
        try one.send("POST", "/v1/consumers/c/poll?wait=60")
        #expect(try eventually { try two.request("GET", "/v1/consumers/c").json()["polls_waiting"]?.int64 == 1 })
        expectProblem(try two.request("POST", "/v1/consumers/c/poll"), 429, "limit_reached", retryable: true)
        // The one that left makes room.
        one.close()
        #expect(try eventually { try two.request("POST", "/v1/consumers/c/poll").status == 200 })
    }

    @Test func poll_OfRecordsThatGrowSixfold_IsAnswered_AndNothingIsLostOrStuck() throws {
        // Seven records of 60 KB of control characters are 2.5 MB of JSON, more than there is for all answers.
        let small = try LocalGateway { try $0.set("http.response_memory_max=2MiB") }
        let client = try small.client()
        let value = String(repeating: "\u{1}", count: 60_000)
        for _ in 0..<7 { _ = try client.settled(try client.produce("orders", value, partition: 0)) }
        let target = "/v1/consumers/c/poll?topic=orders&max_bytes=16777216&client=one&wait=60"
        var offsets: [Int64?] = []
        while offsets.count < 7 {
            let answer = try client.request("POST", target)
            try #require(answer.status == 200, "\(answer.text.prefix(300))")
            #expect(answer.body.count <= 512 << 10)
            // Lost: it comes again unchanged, and fits again.
            #expect(try client.request("POST", target).body == answer.body)
            let records = try answer.json()["records"]?.list ?? []
            try #require(!records.isEmpty)
            #expect(records.allSatisfy { $0["value_text"]?.string == value && $0["delivery"]?["attempt"]?.int64 == 1 })
            offsets += records.map { $0["offset"]?.int64 }
            try #require(
                try client.postJSON(
                    "/v1/consumers/c/acks", #"{"ack":"\#(try answer.json()["ack"]?.string ?? "")"}"#
                ).status == 200)
        }
        #expect(offsets == [0, 1, 2, 3, 4, 5, 6])
    }

    // MARK: Acknowledging

    @Test func acks_RefusalsNameTheReason() throws {
        let cases: [(body: String, code: String)] = [
            ("", "malformed_json"), ("[]", "invalid_body"), ("{}", "invalid_body"),
            (#"{"ack":"a","deliveries":["b"]}"#, "invalid_body"), (#"{"ack":7}"#, "invalid_parameter"),
            (#"{"ack":"?"}"#, "invalid_field"), (#"{"deliveries":[]}"#, "invalid_field"),
            (#"{"deliveries":"x"}"#, "invalid_parameter"), (#"{"deliveries":[7]}"#, "invalid_parameter"),
            (#"{"deliveries":["x"]}"#, "invalid_field"), (#"{"through":["x"]}"#, "invalid_field"),
            (#"{"ack":"1.1","client":"x"}"#, "invalid_body"),
            (#"{"offsets":[{"topic":"orders","partition":0,"offset":0}]}"#, "invalid_parameter"),
            (#"{"bogus":1}"#, "unknown_field"),
        ]
        for (body, code) in cases {
            expectProblem(try acknowledge(body), 400, code, retryable: false, "\(body)")
        }
        expectProblem(try client.postJSON("/v1/consumers/none/acks", #"{"ack":"1.1"}"#), 404, "unknown_consumer")
        expectProblem(try client.postJSON("/v1/consumers/c/acks?x=1", #"{"ack":"1.1"}"#), 400, "unknown_parameter")
    }
}
