import Glibc
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// What goes wrong with files that no commit waits for.
@Suite struct HousekeepingTests {
    @Test func stall_IsTold_WhenCheckpointsSyncHangs_AndIntakeGoesOn() throws {
        let disk = FakeFileSystem()
        var settings = JournalHarness.settings
        settings.keeperInterval = .seconds(3600)
        settings.idleFrameDelay = .seconds(3600)
        settings.syncTimeout = .milliseconds(40)
        let harness = try JournalHarness(disk, settings: settings)
        harness.waitUntilQuiet(disk)
        #expect(harness.append(["one"]).value != nil)
        #expect(!harness.journal.isHousekeepingStalled)
        // The write of the slot, then its sync.
        disk.inject(.hang, atCall: 1)
        harness.journal.shared.keeper.poke()
        #expect(eventually { disk.isHanging })
        #expect(eventually { harness.journal.isHousekeepingStalled })
        #expect(harness.journal.intakeClosed == nil)
        // (Of this limit a busy machine may make a stall of its own.)
        #expect(eventually { harness.append(["two"]).value != nil })
        disk.releaseHangs()
        #expect(eventually { !harness.journal.isHousekeepingStalled })
        harness.close()
        #expect(harness.failures.withLock { $0.isEmpty })
    }

    @Test func releasedSegments_GoLater_WhenTheyCannotBeRemovedNow() throws {
        let disk = FakeFileSystem()
        var settings = JournalHarness.settings
        settings.zeroFill = false
        let harness = try JournalHarness(disk, settings: settings)
        for request in 0..<30 { #expect(harness.append(scriptedRecords(request)).value != nil) }
        let segments = { disk.paths.filter { $0.hasSuffix(".seg") }.count }
        #expect(segments() > 2)
        disk.failCalls("unlink", EIO)
        let failed = disk.log.count { $0 == "unlink" }
        harness.released.withLock { $0 = harness.journal.durable }
        // More than one round tried.
        #expect(eventually { disk.log.count { $0 == "unlink" } > failed + 1 })
        #expect(segments() > 2)
        #expect(harness.append(["meanwhile"]).value != nil)
        disk.failCalls(nil)
        #expect(eventually { segments() == 1 })
        #expect(harness.failures.withLock { $0.isEmpty }, "the process ended")
        harness.close()
    }

    @Test func start_GoesOn_WhenNothingCanBeRemoved() throws {
        var disk = FakeFileSystem()
        let first = try JournalHarness(disk)
        first.close()
        var texts: [String] = []
        // Each start leaves an empty segment, a spare or half of a file to be removed.
        for life in 0..<4 {
            disk = disk.withoutPower(.losesEverythingUnsynced)
            disk.failCalls("unlink", EIO)
            let harness = try JournalHarness(disk)
            #expect(try harness.texts() == texts)
            if life > 1 {
                texts.append("life \(life)")
                #expect(harness.append([texts.last!]).value != nil)
            }
            harness.close()
        }
        let last = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
        #expect(try last.texts() == texts)
        last.close()
    }
}

/// Waits for a condition.
private func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = SystemClock().now() + .seconds(10)
    while SystemClock().now() < deadline {
        if try condition() { return true }
        sched_yield()
    }
    return try condition()
}
