import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import EmbeddedBroker

@Suite struct RetentionTests {
    @Test func retention_RemovesByAge_FromTheLowEnd_AndNotBefore() throws {
        let harness = try BrokerHarness { $0.retentionSliceRecords = 7 }
        _ = try harness.create(orders, TopicSettings(retentionMs: 3_600_000))
        let sink = try harness.sink()
        let old = harness.clock.wallMilliseconds()
        try sink.deliver((1...30).map { outgoing($0, partition: Int32($0 % 3), atMs: old) })
        try harness.pass(.seconds(3000))
        try sink.deliver(
            (31...33).map { outgoing($0, partition: Int32($0 % 3), atMs: harness.clock.wallMilliseconds()) })
        #expect(try harness.values(orders).map(\.count) == [11, 11, 11, 0])

        try harness.pass(.seconds(700))
        #expect(try harness.values(orders) == [["v33"], ["v31"], ["v32"], []])
        for reopened in [false, true] {
            if reopened { try harness.reopen() }
            // Below the low watermark a fetch starts at it, and says so.
            let read = try harness.fetch(orders, 0, from: 2)
            #expect(read.lowWatermark == 10)
            #expect(read.records.map(\.offset) == [10])
            let description = try #require(try harness.describe(orders))
            #expect(description.partitions.map(\.lowWatermark) == [10, 10, 10, 0])
        }
        try harness.pass(.seconds(4000))
        let empty = try harness.fetch(orders, 0)
        #expect(empty.records.isEmpty && empty.lowWatermark == 11 && empty.nextOffset == 11)
        // Offsets go on where they were.
        #expect(try harness.sink().deliver([outgoing(34)]).map(\.offset) == [11])
    }

    @Test func retention_RemovesNothingTooEarly_WhenTheClockJumpsByHours() throws {
        let harness = try BrokerHarness()
        let hourMs: Int64 = 3_600_000
        _ = try harness.create(orders, TopicSettings(retentionMs: 2 * hourMs))
        try harness.sink().deliver([outgoing(1, atMs: harness.clock.wallMilliseconds())])
        // Ahead and back again, as by an operator's slip; each stands for half an hour.
        for hours: Int64 in [5, -5, -9, 9] {
            harness.clock.jumpWall(milliseconds: hours * hourMs)
            for _ in 0..<2 { try harness.pass(.seconds(600)) }
            #expect(try harness.values(orders)[0] == ["v1"], "\(hours) hours")
        }
        // Two hours have passed by every clock now.
        for _ in 0..<7 { try harness.pass(.seconds(600)) }
        #expect(try harness.values(orders)[0] == [])

        // A jump that stays is the truth.
        try harness.sink().deliver([outgoing(2, atMs: harness.clock.wallMilliseconds())])
        harness.clock.jumpWall(milliseconds: 5 * hourMs)
        for _ in 0..<5 { try harness.pass(.seconds(600)) }
        #expect(try harness.values(orders)[0] == ["v2"])
        for _ in 0..<3 { try harness.pass(.seconds(600)) }
        #expect(try harness.values(orders)[0] == [])
    }

    @Test func retention_RemovesBySizeOfAPartition() throws {
        let harness = try BrokerHarness { $0.retentionBytes = 5_000 }
        let value = String(repeating: "x", count: 1000)
        let now = harness.clock.wallMilliseconds()
        try harness.sink().deliver((1...12).map { outgoing($0, value: value, atMs: now) })
        try harness.sink().deliver([outgoing(13, partition: 1, value: value, atMs: now)])
        try harness.pass(.seconds(60))
        #expect(try harness.values(orders).map(\.count) == [5, 1, 0, 0])
        #expect(harness.broker.published[orders]?.partitions.map(\.bytes) == [5000, 1000, 0, 0])
        #expect(try harness.fetch(orders).records.first?.offset == 7)
    }

    @Test func retention_RemovesNothing_WhenThereIsNoLimit() throws {
        let harness = try BrokerHarness { $0.retentionMs = nil }
        try harness.sink().deliver([outgoing(1, atMs: 0)])
        try harness.pass(.seconds(600))
        #expect(try harness.values(orders)[0] == ["v1"])
    }

    @Test func retention_MakesRoomUnderTheQuota() throws {
        let harness = try BrokerHarness {
            $0.quotaBytes = 800_000
            $0.retentionBytes = 1_000
        }
        let sink = try harness.sink()
        let value = String(repeating: "x", count: 1000)
        var sequence = 0
        var refused: BrokerError?
        while refused == nil {
            try #require(sequence < 10_000, "the quota never refused")
            do throws(BrokerError) {
                try sink.deliver((1...50).map { outgoing(sequence + $0, value: value) })
                sequence += 50
            } catch {
                refused = error
            }
        }
        #expect(refused?.code == "broker_full")
        try harness.pass(.seconds(60))
        try sink.deliver((1...50).map { outgoing(sequence + $0, value: value) })
    }
}
