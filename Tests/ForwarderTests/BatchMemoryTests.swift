import Broker
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

@Suite struct BatchMemoryTests {
    @Test func memory_IsNeverExceeded_AndEachLaneAlwaysGetsItsShare() {
        var random = SeededGenerator(printingFor: "memory_IsNeverExceeded")
        var lent = 0
        for _ in 0..<200 {
            let lanes = Int.random(in: 1...64, using: &random)
            let total = Int.random(in: lanes * BatchMemory.reservedPart...100_000, using: &random)
            var memory = BatchMemory(bytesMax: total * 2, lanes: lanes, factor: 2)
            #expect(memory.share >= 1)
            for _ in 0..<200 {
                let lane = Int.random(in: 0..<lanes, using: &random)
                let wanted = Int.random(in: 1...total, using: &random)
                let granted = memory.grant(wanted, to: lane)
                #expect(granted <= wanted && granted >= min(wanted, memory.share))
                if granted > memory.share { lent += 1 }
                #expect(memory.heldBytes <= total)
                memory.hold(Int.random(in: 0...granted, using: &random), by: lane)
            }
        }
        #expect(lent > 1000)
    }

    @Test func laneAlone_MayTakeAllButTheSharesOfTheOthers() {
        var memory = BatchMemory(bytesMax: 64 << 20, lanes: 8, factor: 1)
        #expect(memory.share == 1 << 20)
        #expect(memory.grant(32 << 20, to: 3) == 32 << 20)
        #expect(memory.grant(64 << 20, to: 3) == 57 << 20)
    }

    @Test func lateLane_CatchesUp_WhileTheOthersGoOn() {
        var memory = BatchMemory(bytesMax: 8000, lanes: 4, factor: 1)
        for lane in 0..<3 { _ = memory.grant(8000, to: lane) }
        #expect(memory.grant(8000, to: 3) >= memory.share)
        for _ in 0..<3 { for lane in 0..<4 { _ = memory.grant(8000, to: lane) } }
        for lane in 0..<4 { #expect(memory.grant(8000, to: lane) > 1500) }
    }

    @Test func tinyMemory_StillMovesOneRecordAtATime() throws {
        var settings = Harness.shortBackoff
        settings.memoryMax = 1
        let harness = try Harness(settings, start: false)
        try harness.accept((0..<10).map { record(topic(0), "\($0)") })
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 10))
        harness.stop()
        #expect(harness.texts(0) == (0..<10).map { "\($0)" })
    }

    @Test func copiesOfTheClient_CountTwice() throws {
        var settings = Harness.shortBackoff
        settings.batchRecordsMax = 1000
        settings.memoryMax = 4800
        let harness = try Harness(settings, memoryFactor: 2, start: false)
        let sizes = Lock<[Int]>([])
        harness.sinks.setPlan { call in
            if !call.batch.isEmpty {
                sizes.withLock { $0.append(call.batch.reduce(0) { $0 + SpoolRecordCodec.encodedBytes($1.spooled) }) }
            }
            return nil
        }
        try harness.accept((0..<15).map { record(topic(0), "\($0)", padding: 60) })
        try harness.accept((15..<30).map { record(topic(0), "\($0)", padding: 60) })
        try harness.accept((30..<45).map { record(topic(0), "\($0)", padding: 60) })
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 45))
        harness.stop()
        let seen = sizes.withLock { $0 }
        // More than a third each, though there are three lanes, and no more than half of it all.
        #expect(seen.allSatisfy { $0 <= 2400 } && seen.contains { $0 > 1600 }, "\(seen)")
    }
}
