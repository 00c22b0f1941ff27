import Gateway
import GatewayTestSupport
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// Promise 6: what cannot be kept is refused before it is promised; reads and forwarding go on, and intake comes back.
@Suite struct RefusalTests {
    /// What every refusal says of the records.
    private func expectRefusal(
        _ answer: Answer, _ status: Int, _ code: String, outcome: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(answer.status == status, "\(answer.text)", sourceLocation: sourceLocation)
        #expect(answer.code == code, sourceLocation: sourceLocation)
        #expect(try answer.json()["outcome"]?.string == outcome, sourceLocation: sourceLocation)
        #expect(try answer.json()["retryable"]?.bool == true, sourceLocation: sourceLocation)
        #expect(answer.header("Retry-After") != nil, sourceLocation: sourceLocation)
    }

    private func produce(_ client: HTTPClient, _ value: String) throws -> Answer {
        try client.request("POST", "/v1/topics/orders?partition=0", body: Array(value.utf8))
    }

    private func notReady(_ client: HTTPClient) throws -> String? {
        let answer = try client.request("GET", "/readyz")
        return answer.status == 503 ? try answer.json()["accepting"]?["reason"]?.string : nil
    }

    @Test func refusalsComeBeforePromises_WhenTheDiskIsFull() throws {
        let disk = FakeFileSystem()
        let local = try LocalGateway(fileSystem: disk) {
            $0.dataDirectory += "-real"
            // The fake keeps the spool in memory: small segments.
            try $0.set("spool.segment_bytes=2MiB")
        }
        let client = try local.client()
        let space = try disk.space("")
        disk.setCapacity(Int(space.total - space.available) + 1 << 20)
        // Without CHECKPOINT nothing is let go: however fast the records are forwarded, the disk gets full.
        disk.failPaths(("CHECKPOINT", ENOSPC))

        var accepted: [String] = []
        var refusal: Answer?
        let padding = String(repeating: "x", count: 60_000)
        while refusal == nil {
            try #require(accepted.count < 500)
            let answer = try produce(client, "\(accepted.count) \(padding)")
            if answer.status == 202 {
                accepted.append(try #require(try answer.json()["receipts"]?[0]?.string))
            } else {
                refusal = answer
            }
        }
        try expectRefusal(try #require(refusal), 507, "disk_full", outcome: "not_accepted")
        #expect(accepted.count > 10)
        // Closed for the smallest record too, until there is space; what forwarding frees meanwhile is not enough.
        disk.setCapacity(0)
        try expectRefusal(try produce(client, "s"), 507, "disk_full", outcome: "not_accepted")
        #expect(try notReady(client) == "no_space")
        // Forwarding and reads go on.
        #expect(try client.settled(try #require(accepted.last))["state"]?.string == "delivered")
        #expect(try client.read(accepted.count, as: "reader", from: "orders").count == accepted.count)

        disk.setCapacity(nil)
        disk.failPaths(nil)
        #expect(try eventually { try notReady(client) == nil })
        #expect(try produce(client, "after").status == 202)
        let last = try client.read(1, as: "reader", from: "orders").first
        #expect(last?["value_text"]?.string == "after", "what was refused is not there")
        #expect(local.ended.withLock { $0 } == [])
    }

    @Test func refusalsComeBeforePromises_WhenASyncFails() throws {
        let disk = FakeFileSystem()
        let local = try LocalGateway(fileSystem: disk)
        let client = try local.client()
        let kept = try client.produce("orders", "kept", partition: 0)
        _ = try client.settled(kept)
        disk.failSyncs(EIO)
        let failed = try produce(client, "unknown")
        // The sync that fails may have been another one: CHECKPOINT's, or an idle frame's. Then nothing was written.
        let isUnknown = try failed.json()["outcome"]?.string == "unknown"
        try expectRefusal(failed, 503, "sync_failed", outcome: isUnknown ? "unknown" : "not_accepted")
        #expect(local.waitForEnd() == .diskFailed)
        // Until the process is gone: nothing is written any more, so nothing is unknown.
        try expectRefusal(try produce(client, "refused"), 503, "sync_failed", outcome: "not_accepted")
        #expect(try notReady(client) == "failed")
        #expect(try client.read(1, as: "reader", from: "orders").first?["value_text"]?.string == "kept")
        let next = disk.killed()
        local.stop()

        let second = try LocalGateway(in: local.directory, fileSystem: next)
        let again = try second.client()
        #expect(try again.settled(kept)["state"]?.string == "delivered")
        try again.produce("orders", "after", partition: 0)
        var values: [String?] = []
        while values.last != "after" {
            values += try again.read(1, as: "reader", from: "orders").map { $0["value_text"]?.string }
        }
        // Both are right for an unknown outcome; the refused one is nowhere.
        #expect(values == ["after"] || isUnknown && values == ["unknown", "after"])
    }

    @Test func refusalsComeBeforePromises_WhenASyncHangs() throws {
        let disk = FakeFileSystem()
        let local = try LocalGateway(fileSystem: disk) { try $0.set("spool.sync_timeout=200ms") }
        let client = try local.client()
        _ = try client.settled(try client.produce("orders", "first", partition: 0))
        // The idle frame's own sync must not be the one that hangs.
        #expect(try eventually { try notReady(client) == nil })
        disk.holdSyncs()
        defer { disk.releaseSyncs() }
        let hanging = try produce(client, "hanging")
        #expect(hanging.status == 503)
        #expect(hanging.code == "sync_stalled")
        #expect(try notReady(client) == "sync_stalled")
        try expectRefusal(try produce(client, "refused"), 503, "sync_stalled", outcome: "not_accepted")
        #expect(try client.read(1, as: "reader", from: "orders").first?["value_text"]?.string == "first")

        disk.releaseSyncs()
        #expect(try eventually { try notReady(client) == nil })
        #expect(try produce(client, "after").status == 202)
        var values: [String?] = []
        while values.last != "after" {
            values += try client.read(1, as: "reader", from: "orders").map { $0["value_text"]?.string }
        }
        let isUnknown = try hanging.json()["outcome"]?.string == "unknown"
        #expect(values == ["after"] || isUnknown && values == ["hanging", "after"], "\(values)")
        #expect(local.ended.withLock { $0 } == [])
    }

    @Test func refusalsComeBeforePromises_WhenTheQuotaIsReached() throws {
        // The broker takes nothing: the spool fills.
        let first = try LocalGateway {
            try $0.set("spool.bytes_max=16MiB")
            try $0.set("broker.embedded.bytes_max=1")
        }
        let client = try first.client()
        let value = String(repeating: "x", count: 60_000)
        let batch =
            #"{"records":[\#(Array(repeating: #"{"value_text":"\#(value)"}"#, count: 16).joined(separator: ","))]}"#
        var accepted = 0
        var refusal: Answer?
        while refusal == nil {
            try #require(accepted < 100)
            let answer = try client.postJSON("/v1/topics/orders/records", batch)
            if answer.status == 202 { accepted += 1 } else { refusal = answer }
        }
        try expectRefusal(try #require(refusal), 507, "spool_full", outcome: "not_accepted")
        #expect(accepted >= 14)
        #expect(try notReady(client) == "quota")
        first.stop()

        // The broker takes records again: the spool empties, and intake comes back by itself.
        let second = try LocalGateway(in: first.directory) { try $0.set("spool.bytes_max=16MiB") }
        let again = try second.client()
        #expect(try eventually { try produce(again, "after").status == 202 })
        let count = accepted * 16
        #expect(try again.read(count + 1, as: "reader", from: "orders").count == count + 1)
    }

    @Test func refusalsComeBeforePromises_WhenTheGatewayStops() throws {
        let disk = FakeFileSystem()
        let local = try LocalGateway(fileSystem: disk) { try $0.set("http.stop_timeout=10s") }
        let (hanging, late) = (try local.client(), try local.client())
        var asking = try (0..<10).map { _ in try local.client() }
        for client in [late] + asking { #expect(try client.request("GET", "/readyz").status == 200) }
        disk.holdSyncs()
        try hanging.send("POST", "/v1/topics/orders", body: [1])
        // In the journal's hands.
        #expect(hanging.isSilent(for: .milliseconds(100)))
        let stop = WorkerThread(name: "stop") { local.stop() }
        // Not before the server itself refuses. (An answer of the moment before is its connection's last.)
        #expect(
            try eventually {
                let answer = try asking[0].request("GET", "/readyz")
                if answer.header("Connection") == "close" { asking.removeFirst() }
                return answer.code == "stopping"
            })
        #expect(hanging.isSilent(for: .milliseconds(20)))
        // Before the handler: nothing was accepted.
        try expectRefusal(try produce(late, "late"), 503, "stopping", outcome: "not_accepted")
        // After it: the sync may still succeed.
        try expectRefusal(try hanging.answer(), 503, "stopping", outcome: "unknown")
        disk.releaseSyncs()
        stop.join()
    }
}
