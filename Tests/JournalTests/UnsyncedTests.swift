import Glibc
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// What was written and not synced counts for nothing: it is neither proven nor shown nor promised.
@Suite struct UnsyncedTests {
    /// The journal calls the disk for appends only, once `waitUntilQuiet` returned.
    private static var quiet: JournalSettings {
        var settings = JournalHarness.settings
        settings.idleFrameDelay = .seconds(3600)
        settings.keeperInterval = .seconds(3600)
        return settings
    }

    @Test(arguments: [SyncPolicy.always, .interval(.milliseconds(1))])
    func records_AreShown_OnceTheirSyncReturned_AndNotBefore(policy: SyncPolicy) throws {
        let disk = FakeFileSystem()
        var settings = Self.quiet
        settings.sync = policy
        let harness = try JournalHarness(disk, settings: settings)
        harness.waitUntilQuiet(disk)
        let (durable, syncs) = (harness.journal.durable, disk.log.count { $0 == "fdatasync" })
        let answer = Monitor<Appended?>(nil)
        disk.holdSyncs()
        harness.start(["one"]) { result in
            answer.withLock { $0 = result.value }
            answer.signal()
        }
        #expect(eventually { disk.log.count { $0 == "fdatasync" } > syncs })
        // The sync is under way and does not return.
        let answered = answer.withLock { $0?.synced }
        #expect(answered == (policy == .always ? nil : false))
        #expect(try harness.texts() == [])
        #expect(harness.journal.durable == durable)
        disk.releaseSyncs()
        let appended = answer.wait(until: patienceEnd()) { $0 }
        #expect(appended != nil)
        #expect(try eventually { try harness.texts() == ["one"] })
        harness.close()
    }

    /// After a failed sync the kernel takes the pages for clean: the next process reads the frame, no sync writes it.
    @Test func failedSync_IsNotRetried_AndItsFrameIsWrittenAgainBeforeItIsShown() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: Self.quiet)
        #expect(harness.append(["kept"]).value != nil)
        harness.waitUntilQuiet(disk)
        disk.inject(.error(EIO), atCall: 1)  // The frame's write is 0; only the first sync after it fails.
        #expect(harness.append(["in doubt"]).failure == .failed(wasWritten: true))
        #expect(try harness.texts() == ["kept"])
        let survivor = disk.killed()
        harness.close()

        let next = try JournalHarness(survivor)
        #expect(try next.texts() == ["kept", "in doubt"])
        let again = survivor.withoutPower(.losesEverythingUnsynced)
        next.close()
        let last = try JournalHarness(again)
        #expect(try last.texts() == ["kept", "in doubt"], "records that were shown are gone")
        last.close()
    }

    /// Under `interval` records are answered before they are synced. Without power a part of them is lost, in any
    /// order; that is a torn tail, never corruption.
    @Test func interval_ProvesNothingUnsynced_WhenThePowerGoes() throws {
        let seeds: Range<UInt64> = 0..<32
        var settings = Self.quiet
        settings.sync = .interval(.seconds(3600))
        settings.keeperInterval = .milliseconds(5)
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        // A frame is larger than a sector, and the last segment gets several.
        let sent = (0..<48).map { "\($0):" + String(repeating: "x", count: 600) }
        for record in sent { #expect(harness.append([record]).value?.synced == false) }
        // CHECKPOINT is written again where it has something new to say.
        harness.waitUntilQuiet(disk)
        // A full segment is synced before the next one.
        let synced = Int(harness.journal.durable.sequence)
        #expect(synced > 0 && synced < sent.count - 4)
        let survivors = seeds.map { disk.withoutPower(.keepsSome, seed: $0) }
        harness.close()
        var torn = 0
        for (seed, survivor) in zip(seeds, survivors) {
            let next = try JournalHarness(survivor)
            let found = try next.texts()
            #expect(found.count >= synced, "seed \(seed): lost synced records")
            #expect(found == Array(sent.prefix(found.count)), "seed \(seed): not what was sent, in order")
            if found.count < sent.count { torn += 1 }
            next.close()
        }
        #expect(torn > 0)
    }
}
