import GatewayTestSupport
import HTTPServer
import JSON
import Outcomes
import Primitives
import Spool
import TestSupport
import Testing

/// A repetition that waits for records which nobody remembers any more.
@Suite struct LargeReplayTests {
    private static let records = 500
    private static let headers = [
        ("Idempotency-Key", "a"), ("Content-Type", "application/json"), ("Prefer", "wait=60"),
    ]
    private static let body = Array(
        "{\"records\":[\(Array(repeating: #"{"value":1}"#, count: records).joined(separator: ","))]}".utf8)
    private static let target = "/v1/topics/orders/records"

    private func delivered() throws -> FakeGateway {
        var settings = FakeGateway.spoolSettings
        settings.outcomesInMemory = 0
        let gateway = try FakeGateway(spool: settings)
        let first = try gateway.client().request("POST", Self.target, Self.headers, body: Self.body)
        #expect(first.status == 200, "\(first.text)")
        return gateway
    }

    @Test func replay_ReadsTheRowOfAHandOverOnce_WhateverItAsksOfIt() throws {
        let gateway = try delivered()
        let before = gateway.outcomes.reader.rowsRead
        let again = try gateway.client().request("POST", Self.target, Self.headers, body: Self.body)
        #expect(again.status == 200 && again.header("Idempotent-Replayed") == "true")
        let states = try again.json()["outcomes"]?.list.map { $0["state"]?.string }
        #expect(states == Array(repeating: "delivered", count: Self.records))
        let rows = gateway.outcomes.reader.rowsRead - before
        // A request is in one frame, which a lane may read in pieces.
        #expect((1...20).contains(rows))
    }

    @Test func replay_ReadsNothing_WhenItsClientIsGone() throws {
        let gateway = try delivered()
        let gate = Monitor(false)
        let isQueued = gateway.lookups.run { _ = gate.wait { $0 ? true : nil } }
        #expect(isQueued)
        let before = gateway.outcomes.reader.rowsRead
        let client = try gateway.client()
        try client.send("POST", Self.target, Self.headers, body: Self.body)
        #expect(eventually { gateway.server.usage.parked == 1 })
        client.close()
        #expect(eventually { gateway.server.usage.parked == 0 })
        gate.withLock { $0 = true }
        gate.broadcast()
        let isThrough = Monitor(false)
        let isLast = gateway.lookups.run {
            isThrough.withLock { $0 = true }
            isThrough.broadcast()
        }
        #expect(isLast)
        _ = isThrough.wait { $0 ? true : nil }
        #expect(gateway.outcomes.reader.rowsRead == before)
    }
}
