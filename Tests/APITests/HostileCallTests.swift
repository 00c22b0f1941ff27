import GatewayTestSupport
import JSON
import Primitives
import Testing
import TestSupport

/// Calls that nobody sends, and topics that go while they are read.
@Suite final class HostileCallTests: GatewayTest {
    /// On one connection: a body after HEAD would be taken for the next answer.
    @Test func head_AnswersAsGet_OnEveryRoute() throws {
        let receipt = try client.produce("orders", #"{"a":1}"#, key: "k", partition: 0)
        _ = try client.settled(receipt)
        #expect(try client.putJSON("/v1/consumers/c", #"{"topics":["orders"]}"#).status == 201)
        let read = "/v1/topics/orders/partitions/0/records"
        let calls: [(path: String, accept: String?)] = [
            ("/", nil), ("/healthz", nil), ("/readyz", nil), ("/readyz?require=forwarding", nil), ("/metrics", nil),
            ("/openapi.yaml", nil), ("/openapi.json", nil), ("/v1/status", nil), ("/v1/topics", nil),
            ("/v1/topics/orders", nil), ("/v1/topics/none", nil), ("/v1/consumers", nil), ("/v1/consumers/c", nil),
            ("/v1/consumers/none", nil), ("/v1/receipts/\(receipt)", nil), ("/v1/receipts/x", nil),
            ("/v1/dead-letters", nil), ("/v1/dead-letters/\(receipt)", nil), (read, nil), ("\(read)?offset=2", nil),
            (read, "application/x-ndjson"), ("\(read)?max=1", "application/octet-stream"), (read, "text/html"),
            ("\(read)?max=1&offset=1", "application/octet-stream"), ("/v1/topics/orders?bogus=1", nil),
        ]
        for (path, accept) in calls {
            let headers = accept.map { [("Accept", $0)] } ?? []
            let get = try client.request("GET", path, headers)
            let head = try client.request("HEAD", path, headers)
            #expect(head.status == get.status, "\(path)")
            #expect(head.body.isEmpty, "\(path)")
            // Their content changes from call to call.
            let changing = ["Content-Length", "Postrider-Request-Id", "Date", "ETag"]
            func fields(_ answer: Answer) -> [String] {
                answer.headers.filter { !changing.contains($0.name) }.map { "\($0.name): \($0.value)" }.sorted()
            }
            #expect(fields(head) == fields(get), "\(path)")
            if !["/metrics", "/v1/status"].contains(path) {
                #expect(head.header("Content-Length") == get.header("Content-Length"), "\(path)")
            }
        }
        for path in [
            "/v1/topics/t/records", "/v1/topics/t/purge", "/v1/consumers/c/poll", "/v1/dead-letters/x/redeliver",
        ] {
            let answer = try client.request("HEAD", path)
            #expect(answer.status == 405, "\(path)")
            #expect(answer.header("Allow") == "POST", "\(path)")
        }
        #expect(try client.request("GET", "/healthz").status == 200)
    }

    @Test func topicThatGoes_EndsReads_AndPollsGoOnWithTheNextOne() throws {
        _ = try client.settled(try client.produce("orders", "first", partition: 0))
        #expect(try client.read(1, as: "c", from: "orders").count == 1)
        let (poller, reader) = (try local.client(), try local.client())
        try poller.send("POST", "/v1/consumers/c/poll?wait=60&client=one")
        try reader.send("GET", "/v1/topics/orders/partitions/0/records?offset=latest&wait=60")
        #expect(try eventually { try client.request("GET", "/v1/consumers/c").json()["polls_waiting"]?.int64 == 1 })
        #expect(try client.request("DELETE", "/v1/topics/orders").status == 204)
        expectProblem(try reader.answer(), 404, "unknown_topic", retryable: false)
        #expect(try client.putJSON("/v1/topics/orders", "").status == 201)
        _ = try client.settled(try client.produce("orders", "second", partition: 0))
        var answer = try poller.answer()
        // The one that waited may have been told that its topic is gone.
        if answer.status == 404 {
            expectProblem(answer, 404, "unknown_topic")
            answer = try poller.request("POST", "/v1/consumers/c/poll?wait=60&client=one")
        }
        #expect(try answer.json()["records"]?.list.map { $0["value_text"]?.string } == ["second"], "\(answer.text)")
    }
}
