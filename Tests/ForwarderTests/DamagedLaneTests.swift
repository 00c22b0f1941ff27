import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

/// A lane that meets records that rotted while the gateway ran.
@Suite struct DamagedLaneTests {
    @Test func laneThatMeetsDamage_IsHaltedAndItsTopicsAreRefused_WhileOthersGoOn() throws {
        let harness = try Harness(start: false)
        // Too much to be in memory.
        for number in 0..<8 { try harness.accept([record(topic(0), "\(number)", padding: 1 << 10)]) }
        let segment = try #require(harness.disk.paths.first { $0.hasSuffix(".seg") })
        harness.disk.overwrite(segment) { $0[4096 + 40 + 20] ^= 1 }
        // Lanes without records before it have no need to look there.
        for lane in 1...2 { try harness.accept(lane, "before") }
        #expect(harness.spool.warnings.isEmpty)
        harness.forwarder.start()
        #expect(harness.waitForStatus(0) { $0.state == .halted && $0.lastError == "spool_corruption" })
        #expect(harness.spool.warnings == [.laneDamaged(lane: 0)])
        #expect(harness.spool.intakeClosed == nil)
        #expect(throws: SpoolRefusal.laneDamaged(topic: topic(0), lane: 0)) { try harness.accept(0, "refused") }
        // All or nothing, also with a topic of another lane.
        #expect(throws: SpoolRefusal.laneDamaged(topic: topic(0), lane: 0)) {
            try harness.accept([record(topic(1), "refused"), record(topic(0), "refused")])
        }
        try harness.accept(1, "after")
        #expect(harness.waitForTexts(1, 2))
        #expect(harness.texts(1) == ["before", "after"])
        #expect(harness.texts(0) == [])
        harness.stop()
    }
}
