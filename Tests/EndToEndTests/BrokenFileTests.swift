import TestSupport
import GatewayTestSupport
import JSON
import Primitives
import Testing

/// The real files of a killed process, broken as disks and power failures break them.
@Suite struct BrokenFileTests {
    enum Tear: CaseIterable { case cutInTheHeader, cutInTheBody, flippedHeader, flippedBody }

    @Test(arguments: Tear.allCases) func tornTail_LosesNothingThatWasProven(tear: Tear) throws {
        let first = try GatewayProcess()
        let client = try first.client()
        for number in 0..<5 { try client.produce("orders", "proven-\(number)", partition: 0) }
        try SegmentFile.waitUntilProven(first.directory.path + "/data")
        try client.produce("orders", "last", partition: 0)
        first.killNow()

        let segment = try SegmentFile(of: first.directory.path + "/data")
        let last = try #require(segment.frames.last)
        switch tear {
        case .cutInTheHeader: try segment.truncate(to: last.offset + 20)
        case .cutInTheBody: try segment.truncate(to: last.offset + max(39, last.bytes - 9))
        case .flippedHeader: try segment.flip(at: last.offset + 33)
        case .flippedBody: try segment.flip(at: last.offset + (last.bytes > 44 ? 44 : 33))
        }

        let second = try GatewayProcess(in: first.directory)
        let again = try second.client()
        #expect(try second.logged("serving")?["torn_bytes"]?.string != "0")
        let after = try again.produce("orders", "after", partition: 0)
        #expect(try again.settled(after)["state"]?.string == "delivered")
        let end = try again.request("GET", "/v1/topics/orders").json()["partitions"]?[0]?["high_watermark"]?.int64
        let values = try again.read(Int(try #require(end)), as: "reader", from: "orders").map {
            $0["value_text"]?.string ?? ""
        }
        // The torn record may have reached the broker before; then it is there once.
        #expect(values.filter { $0 != "last" } == (0..<5).map { "proven-\($0)" } + ["after"])
        #expect(values.filter { $0 == "last" }.count <= 1)
    }

    @Test func corruptionUnderTheProof_RefusesTheStart_AndNamesTheRecords() throws {
        // The broker takes nothing, so that the records are still needed.
        let first = try GatewayProcess(["broker.embedded.bytes_max=1"])
        let client = try first.client()
        let receipts = try (0..<3).map { try client.produce("orders", "record-\($0)") }
        try SegmentFile.waitUntilProven(first.directory.path + "/data")
        first.killNow()

        let segment = try SegmentFile(of: first.directory.path + "/data")
        let broken = try #require(segment.frames.first { $0.count > 0 })
        try segment.flip(at: broken.offset + 44)
        let second = try GatewayProcess(in: first.directory)
        #expect(second.waitForEnd() == .exited(21))
        let lsn = try #require(receipts.first?.split(separator: "-").last)
        #expect(String(broken.firstLSN) == lsn)
        #expect(try second.log().contains("synced records are lost: LSN \(lsn) to \(lsn)"))
        // Nothing was changed: the same start says the same, and the undone damage is no damage.
        #expect(try GatewayProcess(in: first.directory).waitForEnd() == .exited(21))
        try segment.flip(at: broken.offset + 44)
        let third = try GatewayProcess(in: first.directory)
        #expect(try third.client().read(3, as: "reader", from: "orders").count == 3)
    }

    @Test(arguments: ["META", "CHECKPOINT"]) func unreadableSlots_RefuseTheStart(name: String) throws {
        let first = try GatewayProcess(["broker.embedded.bytes_max=1"])
        try first.client().produce("orders", "record")
        first.killNow()
        let file = try SystemFileSystem().open(first.directory.path + "/data/spool/" + name, .readWrite)
        try file.writeAll([UInt8](repeating: 0xA5, count: Int(try file.size())), at: 0)
        file.close()
        let second = try GatewayProcess(in: first.directory)
        #expect(second.waitForEnd() == .exited(21))
        #expect(try second.log().contains("/\(name) cannot be read"))
    }
}
