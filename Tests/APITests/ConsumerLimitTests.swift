import Broker
import GatewayTestSupport
import JSON
import Testing
import TestSupport

/// Polls of consumers that the broker lets nobody join.
@Suite struct ConsumerLimitTests {
    private static func refusal(_ code: String) throws -> Answer {
        let source = FakeRecordSource(PendingCallbacks())
        let error = BrokerError(.retriable, code: code, detail: "the limit is 200")
        source.failSubscriptions(Array(repeating: error, count: 100))
        let gateway = try FakeGateway(source: source)
        defer { gateway.stop() }
        let client = try gateway.client()
        #expect(try client.putJSON("/v1/topics/orders", #"{"partitions":1}"#).status == 201)
        return try client.request("POST", "/v1/consumers/c/poll?topic=orders")
    }

    @Test func poll_IsToldToComeBack_WhenTooManyConsumersAreInUse() throws {
        let answer = try Self.refusal("too_many_consumers")
        expectProblem(answer, 503, "too_many_consumers", retryable: true)
        #expect(answer.header("Retry-After") == "5")
        let detail = try answer.json()["detail"]?.string
        #expect(detail == "consumers.max_active: the limit is 200")
    }

    @Test func poll_IsToldToComeBackLater_WhenTheBrokerDeniesTheGroup() throws {
        let answer = try Self.refusal("group_authorization_failed")
        expectProblem(answer, 503, "broker_denied", retryable: true)
        #expect(answer.header("Retry-After") == "5")
    }
}
