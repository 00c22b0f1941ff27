import Gateway
import GatewayTestSupport
import HTTPServer
import JSON
import Primitives
import TestSupport
import Testing

/// What clients are told when they make too many requests. (Each answer is held against the contract.)
@Suite struct LoadSheddingTests {
    /// Until the bucket of this address is empty: it gets a token a second.
    private func refused(_ client: HTTPClient, _ method: String, _ path: String) throws -> Answer {
        var answer: Answer?
        let found = try eventually {
            let next = try client.request(method, path, body: method == "GET" || method == "DELETE" ? nil : [120])
            answer = next
            return next.status == 429
        }
        #expect(found, "\(method) \(path)")
        return try #require(answer)
    }

    @Test func everyCall_IsRefusedInItsOwnForm_WhenItsAddressMakesTooMany() throws {
        let local = try LocalGateway { try $0.set("http.requests_per_second_per_address=1") }
        let client = try local.client()
        let contract = try Contract.shared.get()
        let exempt: Set = ["/healthz", "/readyz", "/metrics"]
        for operation in contract.operations {
            let path = operation.path.replacing("{receipt}", with: "aaaaaaaa-1").replacing("{partition}", with: "0")
                .replacing(/{[a-z]+}/, with: "orders")
            if exempt.contains(operation.path) {
                for _ in 0..<3 {
                    let answer = try client.request(operation.method, path)
                    #expect(answer.status == 200, "\(path)")
                    #expect(answer.header("RateLimit") == nil, "\(path)")
                }
                continue
            }
            let answer = try refused(client, operation.method, path)
            let isProduce =
                operation.method == "POST"
                && ["/v1/topics/{topic}", "/v1/topics/{topic}/records", "/v1/dead-letters/{receipt}/redeliver"]
                    .contains(operation.path)
            expectProblem(
                answer, 429, "rate_limited", outcome: isProduce ? "not_accepted" : nil, retryable: true,
                "\(operation.method) \(operation.path)")
            #expect(answer.header("RateLimit-Policy") == "\"rate\";q=1;w=1")
            #expect(answer.header("RateLimit") == "\"rate\";r=0;t=1")
        }
        expectProblem(try refused(client, "GET", "/nowhere"), 429, "rate_limited", retryable: true)
    }

    @Test func polls_CountAsUnderWay_WhileTheyWait() throws {
        let local = try LocalGateway { try $0.set("http.requests_per_address_max=3") }
        let client = try local.client()
        _ = try client.putJSON("/v1/topics/orders", #"{"partitions":1}"#)
        let pollers = try (0..<3).map { _ in try local.client() }
        // Not counted, and after what is: its place must not be the one of a poll.
        #expect(try client.request("GET", "/healthz").status == 200)
        for poller in pollers { try poller.send("POST", "/v1/consumers/reader/poll?topic=orders&wait=60") }
        #expect(eventually { local.gateway.usage.parked == 3 })
        let answer = try client.request("GET", "/v1/topics")
        expectProblem(answer, 429, "too_many_requests", retryable: true)
        // One of them leaves, and its place is free.
        pollers[0].close()
        #expect(try eventually { try client.request("GET", "/v1/topics").status == 200 })
    }
}
