import GatewayTestSupport
import JSON
import Primitives
import TestSupport
import Testing

/// A data directory that is copied while its gateway runs: docs/OPERATIONS.md, "The data directory".
@Suite struct RunningCopyTests {
    private static let copiesMax = 10

    @Test func copyTakenUnderLoad_StartsElsewhere_WithEverythingFromBeforeIt() throws {
        // The broker takes nothing, so that all of it is in the spool.
        let first = try GatewayProcess(["broker.embedded.bytes_max=1"])
        let load = Load(clients: 1, port: try first.port()) { client, name in
            try client.produce("orders", name, partition: 0)
        }
        var copies: [(directory: TemporaryDirectory, before: Int)] = []
        while copies.count < Self.copiesMax {
            let before = load.told.withLock { $0.total }
            #expect(load.waitUntilAccepted(before + 20))
            copies.append((try TemporaryDirectory(), load.told.withLock { $0.total }))
            let elsewhere = copies[copies.count - 1].directory
            let source = first.directory.path + "/data"
            let copy = try GatewayProcess(in: elsewhere, program: "/bin/cp", ["-r", source, elsewhere.path])
            // 1: a spare became a segment meanwhile.
            let end = copy.waitForEnd()
            #expect(end == .exited(0) || end == .exited(1))
        }
        first.killNow()
        let told = load.join()

        var started = 0
        for copy in copies where started < 2 {
            let second = try GatewayProcess(in: copy.directory)
            let isUp = try eventually { try second.waitForEnd(within: .zero) != nil || second.logged("serving") != nil }
            #expect(isUp)
            if let end = second.waitForEnd(within: .zero) {
                // CHECKPOINT, or the broker's file, is of a later moment than the rest.
                #expect(end == .exited(21) || end == .exited(24))
                continue
            }
            started += 1
            let client = try second.client()
            let isDelivered = try eventually {
                try client.request("GET", "/v1/status").json()["spool"]?["undelivered_records"]?.int64 == 0
            }
            #expect(isDelivered)
            let end = try client.request("GET", "/v1/topics/orders").json()["partitions"]?[0]?["high_watermark"]?.int64
            let count = Int(try #require(end))
            #expect(count >= copy.before, "records that were accepted before the copying began are missing")
            #expect(count <= told.total + told.unanswered.count)
            let values = try client.read(count, as: "reader", from: "orders").map { $0["value_text"]?.string }
            #expect(values == (0..<count).map { "0:\($0)" })
        }
        #expect(started > 0, "every copy was refused")
    }
}
