import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// What SIGTERM does to a gateway that is in use, and what the next start has to do.
@Suite struct DrainTests {
    private static func parts(_ answer: Answer) throws -> [String: JSONValue] {
        var parts: [String: JSONValue] = [:]
        for part in try answer.json()["parts"]?.list ?? [] { parts[part["name"]?.string ?? ""] = part }
        return parts
    }

    /// During `http.drain_delay`: not ready, and everything is served.
    @Test func everythingIsServed_WhileReadinessSaysStopping() throws {
        let process = try GatewayProcess(["http.drain_delay=60s", "http.stop_timeout=1s"])
        let client = try process.client()
        try client.produce("orders", "before")
        _ = try client.read(1, as: "reader", from: "orders")
        let ready = try Self.parts(try client.request("GET", "/readyz"))
        #expect(ready.count == 9)
        #expect(ready.values.allSatisfy { $0["ready"]?.bool == true })
        let poller = try process.client()
        try poller.send("POST", "/v1/consumers/reader/poll?wait=60")
        process.signal(SIGTERM)
        #expect(
            try eventually {
                let answer = try process.client().request("GET", "/readyz")
                return try answer.status == 503 && Self.parts(answer)["gateway"]?["code"]?.string == "stopping"
            })
        // A new connection, and one that was there; each is told to go elsewhere with its next request.
        for client in [try process.client(), client] {
            let answer = try client.request("POST", "/v1/topics/orders", body: Array("served".utf8))
            #expect(answer.status == 202)
            #expect(answer.header("Connection") == "close")
            #expect(client.isClosedByServer())
        }
        // One that waits gets what came meanwhile.
        #expect(try poller.answer().json()["records"]?.list.isEmpty == false)
        // Who is in a hurry says so again.
        process.signal(SIGTERM)
        #expect(process.waitForEnd() == .exited(25))
    }

    /// SIGINT is somebody at a terminal: nothing is waited for.
    @Test func interrupt_SkipsTheDelay_AndAnswersWhatIsUnderWay() throws {
        let process = try GatewayProcess(["http.drain_delay=60s", "http.stop_timeout=30s"])
        let client = try process.client()
        try client.produce("orders", "before")
        _ = try client.read(1, as: "reader", from: "orders")
        let poller = try process.client()
        try poller.send("POST", "/v1/consumers/reader/poll?wait=60")
        #expect(
            try eventually {
                try client.request("GET", "/v1/consumers/reader").json()["polls_waiting"]?.int64 == 1
            })
        // Half of a request: the rest comes when the gateway is stopping.
        let slow = try process.client()
        let body = "in flight"
        try slow.send(
            Array("POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n".utf8)
                + body.utf8.prefix(4))
        // It has arrived when what was sent later on another connection was answered, and more certainly with a pause.
        #expect(slow.isSilent(for: .milliseconds(100)))
        process.signal(SIGINT)
        let none = try poller.answer()
        #expect(none.status == 200)
        #expect(try none.json()["records"]?.list.isEmpty == true)
        #expect(none.header("Connection") == "close")
        #expect(throws: HTTPClient.Failure.self) {
            // Refused once the listening socket is closed.
            while true { try HTTPClient(port: try process.port()).close() }
        }
        try slow.send(Array(body.utf8.dropFirst(4)))
        #expect(try slow.answer().status == 202)
        #expect(process.waitForEnd() == .exited(0))
        // And it was handed over before the end.
        #expect(try process.logged("stopped")?["undelivered_records"]?.string == "0")
        let again = try GatewayProcess(in: process.directory)
        let values = try again.client().read(1, as: "reader", from: "orders").map { $0["value_text"]?.string }
        #expect(values == [body])
    }

    /// A backlog that the broker does not take is not waited for; the next start reads headers, and no record.
    @Test func startAfterAStop_VerifiesNoRecord_WithABacklog() throws {
        let full = ["broker.embedded.bytes_max=1"]
        let first = try GatewayProcess(full + ["forwarder.drain_timeout=60s"])
        let client = try first.client()
        let count = 200
        for number in 0..<count { try client.produce("orders", "\(number) \(String(repeating: "x", count: 2_000))") }
        #expect(
            try eventually {
                try client.request("GET", "/readyz?require=forwarding").status == 503
            })
        let parts = try Self.parts(try client.request("GET", "/readyz"))
        #expect(parts["forwarding"]?["ready"]?.bool == false)
        #expect(parts["forwarding"]?["code"]?.string == "broker_full")
        #expect(parts["quota"]?["ready"]?.bool == true)
        first.signal(SIGTERM)
        #expect(first.waitForEnd() == .exited(0))
        #expect(try first.logged("stopped")?["undelivered_records"]?.string == "\(count)")

        let second = try GatewayProcess(in: first.directory, full)
        #expect(try metric("postrider_recovery_verified_records", of: second) == 0)
        #expect(try second.logged("serving")?["verified_records"]?.string == "0")
        // The broker's bound was reached, and says so by its name; all others are there, at 0.
        let isCounted = try eventually {
            try metric("postrider_limit_reached_total{limit=\"broker.embedded.bytes_max\"}", of: second) > 0
        }
        #expect(isCounted)
        for limit in Limit.allCases where limit != .brokerBytes {
            #expect(try metric("postrider_limit_reached_total{limit=\"\(limit.rawValue)\"}", of: second) == 0)
        }
        #expect(try eventually { try metric("postrider_ready{part=\"forwarding\"}", of: second) == 0 })
        #expect(try metric("postrider_ready{part=\"intake\"}", of: second) == 1)
        // After a crash they are looked at: the last CHECKPOINT may be a second old.
        for number in 0..<20 { try second.client().produce("orders", "late \(number)") }
        second.killNow()
        let third = try GatewayProcess(in: first.directory)
        #expect(try metric("postrider_recovery_read_bytes", of: third) > 0)
        let records = try third.client().read(count + 20, as: "reader", from: "orders")
        #expect(Set(records.compactMap { $0["value_text"]?.string }).count == count + 20, "each once")
    }

    private func metric(_ name: String, of process: GatewayProcess) throws -> Double {
        let text = try process.client().request("GET", "/metrics").text
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name + " ") })
        return try #require(line.split(separator: " ").last.flatMap { Double($0) })
    }
}
