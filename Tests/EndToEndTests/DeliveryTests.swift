import GatewayTestSupport
import JSON
import Primitives
import Testing
import TestSupport

/// Promise 5 against lost answers and SIGKILL.
@Suite struct DeliveryTests {
    private func values(_ answer: JSONValue) -> [String?] {
        answer["records"]?.list.map { $0["value_text"]?.string } ?? []
    }

    private func committed(_ client: HTTPClient) throws -> Int64? {
        try client.request("GET", "/v1/consumers/c").json()["partitions"]?[0]?["committed"]?.int64
    }

    /// Two records in one partition, and the consumer.
    private func prepare(_ client: HTTPClient, ackDeadlineMs: Int) throws {
        for value in ["a", "b"] { _ = try client.settled(try client.produce("orders", value, partition: 0)) }
        let definition = #"{"topics":["orders"],"ack_deadline_ms":\#(ackDeadlineMs)}"#
        try #require(try client.putJSON("/v1/consumers/c", definition).status == 201)
    }

    @Test func onlyAnAcknowledgementCommits_WhenAnswersAreLost() throws {
        let local = try LocalGateway()
        let client = try local.client()
        try prepare(client, ackDeadlineMs: 1000)
        for _ in 0..<3 {
            // Sent, and never read.
            let lossy = try local.client()
            try lossy.send("POST", "/v1/consumers/c/poll")
            lossy.close()
        }
        let again = try client.request("POST", "/v1/consumers/c/poll?wait=60&max=2").json()
        #expect(values(again) == ["a", "b"])
        #expect(try committed(client) == 0)
        // Nor does the deadline commit, nor reading again.
        let late = try client.request("POST", "/v1/consumers/c/poll?wait=60").json()
        #expect(values(late) == ["a", "b"])
        #expect(try committed(client) == 0)
        let stale = try client.postJSON("/v1/consumers/c/acks", #"{"ack":"\#(again["ack"]?.string ?? "")"}"#)
        #expect(stale.status == 409)
        #expect(try committed(client) == 0)
        // In time: on a busy machine the deadline may be over before the acknowledgement is there.
        let isInTime = try eventually {
            let next = try client.request("POST", "/v1/consumers/c/poll?wait=60").json()
            #expect(values(next) == ["a", "b"])
            let ack = try client.postJSON("/v1/consumers/c/acks", #"{"ack":"\#(next["ack"]?.string ?? "")"}"#)
            return ack.status == 200
        }
        #expect(isInTime)
        #expect(try committed(client) == 2)
    }

    @Test func onlyAnAcknowledgementCommits_WhenTheProcessIsKilledBetweenPollAndAck() throws {
        let first = try GatewayProcess()
        let before = try first.client()
        try prepare(before, ackDeadlineMs: 60_000)
        let lost = try before.request("POST", "/v1/consumers/c/poll").json()
        #expect(values(lost) == ["a", "b"])
        first.killNow()

        let second = try GatewayProcess(in: first.directory)
        let after = try second.client()
        #expect(try committed(after) == 0)
        let stale = try after.postJSON("/v1/consumers/c/acks", #"{"ack":"\#(lost["ack"]?.string ?? "")"}"#)
        #expect(stale.status == 409, "an acknowledgement of a dead process's lease")
        let again = try after.request("POST", "/v1/consumers/c/poll?wait=60").json()
        #expect(values(again) == ["a", "b"])
        let ids = again["records"]?.list.compactMap { $0["delivery"]?["id"]?.string } ?? []
        let ack = try after.postJSON("/v1/consumers/c/acks", #"{"deliveries":["\#(ids.first ?? "")"]}"#)
        #expect(ack.status == 200, "\(ack.text)")
        second.killNow()

        let last = try GatewayProcess(in: first.directory).client()
        #expect(try committed(last) == 1)
        #expect(values(try last.request("POST", "/v1/consumers/c/poll?wait=60").json()) == ["b"])
    }
}
