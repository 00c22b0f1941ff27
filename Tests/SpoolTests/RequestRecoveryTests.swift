import Glibc
import Journal
import Primitives
import Records
import Store
import TestSupport
import Testing

@testable import Spool
@testable import SpoolTestSupport

/// Promise 4 over crashes, restores and a disk that refuses.
@Suite struct RequestRecoveryTests {
    private var settings: SpoolSettings {
        var settings = SpoolHarness.settings
        settings.idempotency.saveInterval = .milliseconds(2)
        settings.idempotency.saveRetry = .milliseconds(2)
        settings.idempotency.saveRetryMax = .milliseconds(4)
        return settings
    }

    /// Never saves by itself.
    private var unsaved: SpoolSettings {
        var settings = settings
        settings.idempotency.saveInterval = .seconds(3600)
        return settings
    }

    private func segments(_ disk: FakeFileSystem) -> [String] { disk.paths.filter { $0.hasSuffix(".seg") } }

    /// Fills segments and delivers them until the first ones could go.
    private func flow(_ harness: SpoolHarness, segments: Int = 4) throws {
        for _ in 0..<segments * 10 { try harness.accept(record(0, "flow", padding: 900)) }
        try harness.deliverAll()
    }

    @Test(arguments: [nil] + FakeFileSystem.PowerLoss.allCases)
    func repetition_GetsTheFirstAnswer_AfterACrash(_ loss: FakeFileSystem.PowerLoss?) throws {
        for saves in [false, true] {
            let disk = FakeFileSystem()
            let first = try SpoolHarness(disk, settings: saves ? settings : unsaved)
            let segment = try #require(segments(disk).first)
            let one = try #require(first.request(key(1, 7), [record(0, "a"), record(1, "b")]).1).get()
            let two = try #require(first.request(sequence(1, 1, 8)).1).get()
            let three = try #require(first.request(sequence(1, 2, 9)).1).get()
            #expect(one.count == 2)
            if saves {
                try flow(first)
                // The segment that had them is gone: only the store can know.
                #expect(eventually { !segments(disk).contains(segment) })
            }
            let next = try SpoolHarness(
                loss.map { disk.withoutPower($0) } ?? disk.killed(), settings: settings)
            first.close()
            #expect(next.ask(key(1, 7)) == .repeated(one.first, 2))
            #expect(next.ask(key(1, 8)) == .otherPayload)
            #expect(next.ask(key(2, 7)) == .first)
            #expect(next.ask(sequence(1, 1, 8)) == .repeated(two.first, 1))
            #expect(next.ask(sequence(1, 2, 9)) == .repeated(three.first, 1))
            #expect(next.ask(sequence(1, 2, 8)) == .otherPayload)
            #expect(next.ask(sequence(1, 4)) == .gap(3))
            #expect(next.spool.idempotency.gap == nil)
            next.close()
        }
    }

    @Test func interval_LosesTheKeyWithTheRecord_AndWithNothingElse() throws {
        var settings = unsaved
        settings.journal.sync = .interval(.seconds(3600))
        let disk = FakeFileSystem()
        let first = try SpoolHarness(disk, settings: settings)
        let accepted = try #require(first.request(key(1)).1).get()
        #expect(!accepted.synced)
        #expect(first.ask(key(1)) == .repeated(accepted.first, 1))
        let killed = disk.killed()
        first.close()
        let next = try SpoolHarness(killed, settings: settings)
        #expect(next.ask(key(1)) == .repeated(accepted.first, 1), "the page cache survives the process")
        next.close()

        let other = FakeFileSystem()
        let lost = try SpoolHarness(other, settings: settings)
        _ = try #require(lost.request(key(1)).1).get()
        let dark = other.withoutPower(.losesEverythingUnsynced)
        lost.close()
        let after = try SpoolHarness(dark, settings: settings)
        #expect(after.ask(key(1)) == .first)
        #expect(try after.read(0).records.isEmpty)
        after.close()
    }

    @Test func interval_NeverSavesAKeyWhoseRecordMayBeLost() throws {
        var settings = settings
        settings.journal.sync = .interval(.seconds(3600))
        let disk = FakeFileSystem()
        let first = try SpoolHarness(disk, settings: settings)
        let store = first.store
        _ = try #require(first.request(sequence(1, 1)).1).get()
        _ = try #require(first.request(key(1)).1).get()
        first.spool.requests.signal.isDue()
        first.spool.requests.signal.isDue()
        #expect(store.saves.withLock { $0 } == 0)
        let dark = disk.withoutPower(.losesEverythingUnsynced)
        first.close()
        let after = try SpoolHarness(dark, settings: settings)
        #expect(after.ask(key(1)) == .first)
        #expect(after.ask(sequence(1, 1)) == .first)
        after.close()
    }

    @Test func refusal_DoesNotUseTheKeyUp() throws {
        let spool = try SpoolHarness(FakeFileSystem(), settings: settings)
        spool.spool.closeIntake("test")
        #expect(spool.request(key(1)).1 == .failure(.closed(code: "test")))
        spool.spool.closeIntake(nil)
        #expect(spool.request(key(1), [record(0, "x", padding: 20_000)]).1?.isRefused == true, "too large")
        guard case .first(let claim) = spool.spool.admit(key(1)) else { return #expect(Bool(false)) }
        #expect(spool.ask(key(1)) == .inFlight)
        claim.abandon()
        #expect(spool.ask(key(1)) == .first)
        _ = spool.spool.admit(key(1))
        #expect(spool.ask(key(1)) == .first, "a claim that nobody holds is none")
        let accepted = try #require(spool.request(key(1)).1).get()
        spool.spool.closeIntake("test")
        #expect(spool.ask(key(1)) == .repeated(accepted.first, 1), "the spool takes nothing, and still answers")
        spool.close()
    }

    @Test func claim_StaysInFlight_WhileASyncHangs_UntilItReturns() throws {
        var settings = settings
        settings.journal.syncTimeout = .milliseconds(20)
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings)
        disk.holdSyncs()
        #expect(spool.request(key(1)).1 == .failure(.stalled(wasWritten: true)))
        #expect(spool.ask(key(1)) == .inFlight)
        #expect(spool.ask(sequence(1, 1)) == .first)
        disk.releaseSyncs()
        #expect(eventually { spool.ask(key(1)) != .inFlight })
        // (Known a moment before it is published.)
        var lsn: LSN?
        #expect(
            try eventually {
                lsn = try spool.read(0).records.first?.lsn
                return lsn != nil
            })
        #expect(spool.ask(key(1)) == .repeated(try #require(lsn), 1))
        spool.close()
    }

    /// Nobody sends anything else: the journal finds out by itself.
    @Test(arguments: [false, true])
    func claim_StaysInFlight_WhileAFailedFrameMayBeFound_AndIsFreeOnceItCannot(_ crashes: Bool) throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: unsaved)
        try spool.accept(record(0, "before"))
        // The write does all that it should and says that it failed, and nothing can be cut off. (Where the journal's
        // own work met that first, intake is closed and nothing was written: then once more.)
        let isWritten = eventually {
            #expect(eventually { spool.spool.intakeClosed == nil })
            disk.failSpace(ENOSPC, writingFirst: true)
            let answer = spool.request(key(1)).1
            if answer == .failure(.noSpace(wasWritten: true)) { return true }
            #expect(answer == .failure(.noSpace(wasWritten: false)))
            disk.failSpace(nil)
            return false
        }
        try #require(isWritten)
        #expect(spool.ask(key(1)) == .inFlight)
        if crashes {
            let next = try SpoolHarness(disk.killed(), settings: settings)
            spool.close()
            let records = try next.read(0).records
            #expect(records.count == 2)
            #expect(next.ask(key(1)) == .repeated(records[1].lsn, 1), "it was found whole")
            next.close()
        } else {
            disk.failSpace(nil)
            #expect(eventually { spool.ask(key(1)) != .inFlight })
            #expect(spool.ask(key(1)) == .first)
            let accepted = try #require(spool.request(key(1)).1).get()
            #expect(try spool.read(0).records.map(\.lsn).last == accepted.first)
            spool.close()
        }
    }

    @Test func segments_StayUntilTheStoreHasTheirRequests() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings)
        spool.store.refuse(StoreError(.full, operation: "test", detail: "no space"))
        let accepted = try #require(spool.request(key(1)).1).get()
        let first = try #require(segments(disk).first)
        try flow(spool)
        for _ in 0..<3 {
            let before = disk.contents("/spool/CHECKPOINT")
            try spool.accept(record(0, "y"))
            try spool.deliverAll()
            #expect(eventually { disk.contents("/spool/CHECKPOINT") != before })
        }
        #expect(segments(disk).contains(first))
        let killed = disk.killed()
        spool.close()

        let next = try SpoolHarness(killed, settings: settings)
        #expect(next.ask(key(1)) == .repeated(accepted.first, 1), "read from the journal")
        try next.deliverAll()
        #expect(eventually { !segments(killed).contains(first) })
        #expect(next.ask(key(1)) == .repeated(accepted.first, 1))
        next.close()
    }

    /// Whatever the store did: it is written anew, and nothing is lost.
    @Test func store_IsReplaced_AfterAnErrorThatMayHaveBrokenIt() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings)
        let one = try #require(spool.request(key(1)).1).get()
        #expect(eventually { spool.store.saves.withLock { $0 } == 1 })
        spool.store.refuse(StoreError(.other, operation: "test", detail: "a sync failed"))
        let two = try #require(spool.request(sequence(1, 1)).1).get()
        #expect(eventually { spool.store.replacements.withLock { $0 } > 0 })
        spool.store.refuse(nil)
        #expect(eventually { spool.store.saves.withLock { $0 } == 2 })
        try flow(spool)
        #expect(eventually { segments(disk).count == 1 })
        let next = try SpoolHarness(disk.killed(), settings: settings)
        spool.close()
        #expect(next.ask(key(1)) == .repeated(one.first, 1))
        #expect(next.ask(sequence(1, 1)) == .repeated(two.first, 1))
        #expect(next.spool.idempotency.gap == nil)
        next.close()
    }

    /// SQLite may need space to read what it has; a start without space has to open all the same.
    @Test func fullDisk_DoesNotRefuseTheStart_WhereTheReserveHelps() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings)
        let one = try #require(spool.request(key(1)).1).get()
        #expect(eventually { disk.contents("/spool/RESERVE")?.isEmpty == false })
        spool.close()
        let full = disk.killed()
        let next = try SpoolHarness(
            full, settings: settings, store: FakeRequestStore(full, needsSpaceOf: "/spool/RESERVE"))
        #expect(next.ask(key(1)) == .repeated(one.first, 1))
        next.close()
    }

    private enum Restore: CaseIterable {
        case missing, damaged, older, olderThanTheJournal, foreign
    }

    /// A store that does not belong to the journal is noticed, and said, until the keys are past their lifetime.
    @Test(arguments: Restore.allCases) private func gap_IsNeverSilent(_ restore: Restore) throws {
        var settings = settings
        settings.idempotency.lifetime = .seconds(100)
        let clock = ManualClock()
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings, requestClock: clock)
        let one = try #require(spool.request(key(1)).1).get()
        #expect(eventually { spool.store.saves.withLock { $0 } == 1 })
        _ = try #require(spool.request(sequence(1, 1)).1).get()
        _ = try #require(spool.request(sequence(2, 1)).1).get()
        #expect(eventually { spool.spool.requests.index.withLock { $0.saving.changed.isEmpty } })
        let old = try #require(disk.contents(FakeRequestStore.path))
        let saves = spool.store.saves.withLock { $0 }
        if restore != .older { try flow(spool) }
        let second = try #require(spool.request(sequence(1, 2)).1).get()
        let two = try #require(spool.request(key(2)).1).get()
        #expect(eventually { spool.store.saves.withLock { $0 } > saves })
        #expect(
            eventually { spool.spool.requests.index.withLock { $0.unsavedKeys == 0 && $0.saving.changed.isEmpty } })
        if restore != .older {
            try flow(spool)
            #expect(eventually { segments(disk).count == 1 })
        }
        spool.close()
        let copy = disk.killed()
        switch restore {
        case .missing: try copy.remove(FakeRequestStore.path)
        case .damaged: copy.overwrite(FakeRequestStore.path) { $0[20] ^= 1 }
        case .older, .olderThanTheJournal: copy.overwrite(FakeRequestStore.path) { $0 = old }
        case .foreign:
            let other = FakeFileSystem()
            let stranger = try SpoolHarness(other, settings: settings, requestClock: clock)
            _ = stranger.request(key(1))
            #expect(eventually { stranger.store.saves.withLock { $0 } == 1 })
            stranger.close()
            let strange = try #require(other.contents(FakeRequestStore.path))
            copy.overwrite(FakeRequestStore.path) { $0 = strange }
        }
        let next = try SpoolHarness(copy, settings: settings, requestClock: clock)
        if restore == .older {
            // The journal still has what the store does not.
            #expect(next.spool.idempotency.gap == nil)
            #expect(next.ask(key(1)) == .repeated(one.first, 1))
            #expect(next.ask(key(2)) == .repeated(two.first, 1))
            #expect(next.ask(sequence(1, 2)) == .repeated(second.first, 1))
            #expect(next.ask(sequence(2, 2)) == .first)
            return next.close()
        }
        #expect(next.spool.idempotency.gap != nil)
        #expect(next.ask(key(1)) == (restore == .olderThanTheJournal ? .repeated(one.first, 1) : .first))
        #expect(next.ask(key(2)) == .first)
        // They may have gone on in what is lost: neither is 2 the next one, nor is an earlier one known.
        for producer: UInt64 in [1, 2] {
            #expect(next.ask(sequence(producer, 2)) == .gap(1))
            #expect(next.ask(sequence(producer, 3)) == .gap(1))
        }
        #expect(eventually { next.store.saves.withLock { $0 } > 0 })
        next.close()

        let later = try SpoolHarness(copy.killed(), settings: settings, requestClock: clock)
        #expect(later.spool.idempotency.gap != nil, "still")
        clock.advance(by: .seconds(101))
        #expect(later.spool.idempotency.gap == nil)
        later.close()
    }

    /// A store of a later time than the journal knows keys of records that are not there.
    @Test func restoredJournal_ForgetsWhatItNeverHad() throws {
        let disk = FakeFileSystem()
        let first = try SpoolHarness(disk, settings: settings)
        let one = try #require(first.request(key(1)).1).get()
        _ = try #require(first.request(sequence(1, 1)).1).get()
        #expect(eventually { first.spool.requests.index.withLock { $0.unsavedKeys == 0 } })
        first.close()
        let backup = disk.killed()

        let second = try SpoolHarness(disk.killed(), settings: settings)
        _ = try #require(second.request(key(2)).1).get()
        _ = try #require(second.request(sequence(1, 2)).1).get()
        #expect(eventually { second.store.saves.withLock { $0 } > 0 })
        second.close()
        let newer = try #require(second.disk.contents(FakeRequestStore.path))
        backup.overwrite(FakeRequestStore.path) { $0 = newer }

        // Epochs are Unix seconds where starts are not faster than one a second.
        #expect(eventually { SystemClock().wallMilliseconds() / 1000 > second.spool.epoch })
        let restored = try SpoolHarness(backup, settings: settings)
        #expect(restored.ask(key(1)) == .repeated(one.first, 1))
        #expect(restored.ask(key(2)) == .first)
        #expect(restored.ask(sequence(1, 3)) == .gap(2))
        let three = try #require(restored.request(key(3)).1).get()
        let killed = backup.killed()
        restored.close()
        let after = try SpoolHarness(killed, settings: settings)
        #expect(after.ask(key(3)) == .repeated(three.first, 1))
        #expect(after.ask(key(2)) == .first)
        after.close()
    }

    @Test func wallClock_MayJump_AndNoKeyIsForgottenEarly_NorKeptForEver() throws {
        var settings = settings
        settings.idempotency.lifetime = .seconds(100)
        let clock = ManualClock()
        let disk = FakeFileSystem()
        let day: Int64 = 86_400_000
        let first = try SpoolHarness(disk, settings: settings, requestClock: clock)
        let one = try #require(first.request(key(1)).1).get()
        clock.jumpWall(milliseconds: 10 * day)
        #expect(first.ask(key(1)) == .repeated(one.first, 1))
        clock.jumpWall(milliseconds: -20 * day)
        clock.advance(by: .seconds(50))
        #expect(first.ask(key(1)) == .repeated(one.first, 1))
        let two = try #require(first.request(key(2)).1).get()
        #expect(eventually { first.spool.requests.index.withLock { $0.unsavedKeys == 0 } })
        first.close()

        // The wall clock says that it is long before.
        clock.jumpWall(milliseconds: -5 * day)
        let next = try SpoolHarness(disk.killed(), settings: settings, requestClock: clock)
        #expect(next.ask(key(1)) == .repeated(one.first, 1))
        clock.advance(by: .seconds(60))
        #expect(next.ask(key(1)) == .first)
        #expect(next.ask(key(2)) == .repeated(two.first, 1))
        // Set right, while no request comes.
        let generation = next.spool.requests.index.withLock { $0.saving.mark.generation }
        clock.jumpWall(milliseconds: 15 * day)
        #expect(eventually { next.spool.requests.index.withLock { $0.saving.mark.generation } > generation })
        next.close()
        let last = try SpoolHarness(next.disk.killed(), settings: settings, requestClock: clock)
        #expect(last.ask(key(2)) == .repeated(two.first, 1))
        clock.advance(by: .seconds(60))
        #expect(last.ask(key(2)) == .first)
        last.close()
    }
}

extension Result where Success == Acceptance, Failure == SpoolRefusal {
    var isRefused: Bool {
        if case .failure(let refusal) = self { !refusal.outcomeUnknown } else { false }
    }
}
