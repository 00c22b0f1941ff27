import Gateway
import GatewayTestSupport
import JSON
import Primitives
import TestSupport
import Testing

/// What `/readyz` tells of each part.
@Suite struct ReadinessTests {
    private func parts(_ client: HTTPClient) throws -> [String: JSONValue] {
        var parts: [String: JSONValue] = [:]
        for part in try client.request("GET", "/readyz").json()["parts"]?.list ?? [] {
            parts[part["name"]?.string ?? ""] = part
        }
        return parts
    }

    @Test func part_SaysSinceWhen_AndKeepsThatWhileNothingChanges() throws {
        let disk = FakeFileSystem()
        let local = try LocalGateway(fileSystem: disk) { try $0.set("spool.sync_timeout=200ms") }
        let client = try local.client()
        let first = try parts(client)
        #expect(first.count == 9)
        for (name, part) in first {
            #expect(part["ready"]?.bool == true, "\(name)")
            #expect(part["code"] == nil, "\(name)")
        }
        _ = try client.settled(try client.produce("orders", "first"))
        disk.holdSyncs()
        defer { disk.releaseSyncs() }
        let hanging = try client.request("POST", "/v1/topics/orders", body: [120])
        #expect(hanging.code == "sync_stalled")
        let stalled = try #require(try parts(client)["sync"])
        #expect(stalled["ready"]?.bool == false)
        #expect(stalled["code"]?.string == "sync_stalled")
        #expect(stalled["detail"]?.string?.contains("spool.sync_timeout") == true)
        let since = try #require(stalled["since"]?.string)
        #expect(since > first["sync"]?["since"]?.string ?? "")
        for _ in 0..<3 { #expect(try parts(client)["sync"]?["since"]?.string == since) }
        // Of the others nothing changed.
        let others = try parts(client).filter { $0.key != "sync" && $0.key != "housekeeping" }
        for (name, part) in others {
            #expect(part["since"]?.string == first[name]?["since"]?.string, "\(name)")
            #expect(part["ready"]?.bool == true, "\(name)")
        }
        disk.releaseSyncs()
        #expect(try eventually { try parts(client)["sync"]?["ready"]?.bool == true })
        #expect(try parts(client)["sync"]?["since"]?.string ?? "" >= since)
    }

    @Test func quota_IsReady_AndSaysThatItIsHigh_FromTheHighWaterMarkOn() throws {
        let local = try LocalGateway {
            try $0.set("spool.high_water_percent=1")
            // The broker takes nothing, so the spool keeps it.
            try $0.set("broker.embedded.bytes_max=1")
        }
        let client = try local.client()
        #expect(try parts(client)["quota"]?["code"] == nil)
        for _ in 0..<8 { try client.produce("orders", String(repeating: "x", count: 50_000)) }
        let high = try eventually { try parts(client)["quota"]?["code"]?.string == "high_water" }
        #expect(high)
        let quota = try #require(try parts(client)["quota"])
        #expect(quota["ready"]?.bool == true)
        #expect(quota["detail"]?.string?.contains("spool.bytes_max") == true)
        #expect(try client.request("GET", "/readyz").status == 200)
        let forwarding = try eventually { try parts(client)["forwarding"]?["code"]?.string == "broker_full" }
        #expect(forwarding)
        #expect(try client.request("GET", "/readyz?require=forwarding").status == 503)
    }
}
