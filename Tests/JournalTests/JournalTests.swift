import Glibc
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

@Suite struct JournalTests {
    @Test func append_IsReadBackInOrder_FromMemoryAndFromDisk() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<40 { #expect(harness.append(scriptedRecords(request)).value?.synced == true) }
        let expected = (0..<40).flatMap(scriptedRecords)
        let records = try harness.read()
        // 40 requests are more than the memory tail holds, so both sources took part.
        #expect(records.map(\.text) == expected)
        #expect(zip(records, records.dropFirst()).allSatisfy { $0.lsn.rawValue + 1 == $1.lsn.rawValue })
        let middle = records[31].lsn
        #expect(try harness.read(from: middle).map(\.text) == Array(expected[31...]))
        harness.close()

        let reopened = try JournalHarness(disk)
        #expect(try reopened.texts() == expected)
        #expect(reopened.journal.epoch > records[0].lsn.epoch)
        reopened.close()
    }

    @Test func append_IsGrouped_WhenMoreArriveDuringASync() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        disk.holdSyncs()
        let answers = Monitor(0)
        for request in 0..<50 {
            harness.start(["r\(request)"]) { _ in
                answers.withLock { $0 += 1 }
                answers.signal()
            }
        }
        let before = disk.log.filter { $0 == "fdatasync" }.count
        disk.releaseSyncs()
        _ = answers.wait { $0 == 50 ? true : nil }
        let syncs = disk.log.filter { $0 == "fdatasync" }.count - before
        #expect(syncs < 25, "50 appends took \(syncs) syncs")
        #expect(try harness.texts() == (0..<50).map { "r\($0)" })
        harness.close()
    }

    @Test func open_IsRefused_WhenAnotherProcessOwnsTheDirectory() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        #expect {
            _ = try JournalHarness(disk)
        } throws: { error in
            guard case JournalError.inUse(let directory) = error else { return false }
            return directory == JournalHarness.directory && "\(error)".contains("another process")
        }
        harness.close()
        try JournalHarness(disk).close()
    }

    @Test func open_IsRefused_WithAnotherNumberOfLanes() throws {
        let disk = FakeFileSystem()
        try JournalHarness(disk).close()
        #expect {
            _ = try Journal.open(directory: JournalHarness.directory, settings: .init(), lanes: 4, fileSystem: disk)
        } throws: { error in
            if case JournalError.laneCount(inJournal: 8, asked: 4) = error { true } else { false }
        }
    }

    @Test func append_FailsAsUnknownAndEndsTheJournal_WhenASyncFails() throws {
        let disk = FakeFileSystem()
        var settings = JournalHarness.settings
        settings.idleFrameDelay = .seconds(3600)
        settings.keeperInterval = .seconds(3600)
        let harness = try JournalHarness(disk, settings: settings)
        #expect(harness.append(["kept"]).value != nil)
        harness.waitUntilQuiet(disk)
        disk.failSyncs(EIO)
        let failed = harness.append(["in doubt"]).failure
        #expect(failed == .failed(wasWritten: true))
        #expect(failed?.outcomeUnknown == true)
        let reported = harness.failures.wait(until: patienceEnd()) { $0.isEmpty ? nil : $0.count }
        #expect(reported == 1)
        let syncs = disk.log.filter { $0 == "fdatasync" }.count
        disk.failSyncs(nil)
        #expect(harness.append(["refused"]).failure == .failed(wasWritten: false))
        #expect(disk.log.filter { $0 == "fdatasync" }.count == syncs, "a failed sync was retried")
        harness.close()
        // SIGKILL semantics: the page cache still has the record in doubt; both results are allowed, the first is not.
        let next = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
        #expect(try next.texts().first == "kept")
        next.close()
    }

    @Test func append_IsRefusedAndResumes_WhenTheDiskIsFullAndHasSpaceAgain() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        var accepted: [String] = []
        disk.setCapacity(200 << 10)
        var refusal: AppendFailure?
        for request in 0..<1000 {
            let records = scriptedRecords(request)
            let result = harness.append(records)
            if result.value != nil { accepted += records } else { refusal = result.failure }
            if refusal != nil { break }
        }
        #expect(refusal == .noSpace(wasWritten: false))
        #expect(refusal?.outcomeUnknown == false)
        #expect(harness.journal.intakeClosed == "no_space")
        // Reading goes on, and so does what the reserve is for.
        #expect(try harness.texts() == accepted)
        disk.setCapacity(nil)
        #expect(eventually { harness.journal.intakeClosed == nil })
        #expect(harness.append(["again"]).value != nil)
        harness.close()
        let next = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
        #expect(try next.texts() == accepted + ["again"])
        next.close()
    }

    @Test func append_LeavesNothingBehind_WhenRefusedForSpaceAtAnyWrite() throws {
        for shortFirst in [false, true] {
            for call in 0..<12 {
                let disk = FakeFileSystem()
                let harness = try JournalHarness(disk)
                var accepted: [String] = []
                for request in 0..<3 where harness.append(["a\(request)"]).value != nil {
                    accepted.append("a\(request)")
                }
                if shortFirst { disk.inject(.shortWrite, atCall: call) }
                disk.inject(.error(ENOSPC), atCall: call + (shortFirst ? 1 : 0))
                for request in 0..<6 {
                    let text = "b\(request)" + String(repeating: "y", count: 300)
                    let result = harness.append([text])
                    if result.value != nil { accepted.append(text) }
                    // A sync that fails for space is a failed sync: unknown, and the process ends.
                    if result.failure?.outcomeUnknown == true { break }
                    #expect(eventually { harness.journal.intakeClosed != "no_space" })
                }
                harness.close()
                let next = try JournalHarness(disk.killed())
                let found = try next.texts()
                #expect(Array(found.prefix(accepted.count)) == accepted, "call \(call), short \(shortFirst)")
                #expect(found.count <= accepted.count + 1, "call \(call): a refused record came back")
                next.close()
            }
        }
    }

    @Test func append_IsKept_WhenTheFirstFrameOfASegmentFoundNoSpace() throws {
        let disk = FakeFileSystem()
        let first = try JournalHarness(disk)
        #expect(first.append(["old"]).value != nil)
        first.close()
        let harness = try JournalHarness(disk)
        // The new segment has no frame yet: after the refusal the next one begins at the same LSN, under the same name.
        harness.waitUntilQuiet(disk)
        disk.inject(.error(ENOSPC), atCall: 0)
        #expect(harness.append(["refused"]).failure == .noSpace(wasWritten: false))
        #expect(eventually { harness.journal.intakeClosed == nil })
        #expect(harness.append(["kept"]).value != nil)
        // Everything before is released: what is deleted must not be the segment in use.
        let kept = try #require(try harness.read().last)
        harness.released.withLock { $0 = kept.lsn }
        #expect(eventually { disk.paths.count { $0.hasSuffix(".seg") } == 1 })
        #expect(harness.append(["more"]).value != nil)
        let survivor = disk.killed()
        harness.close()
        let next = try JournalHarness(survivor)
        #expect(try next.texts() == ["kept", "more"])
        next.close()
    }

    @Test func append_IsWrittenWhole_AfterShortWrites() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<10 {
            for call in 0..<6 { disk.inject(.shortWrite, atCall: call) }
            #expect(harness.append(scriptedRecords(request)).value != nil)
        }
        harness.close()
        let next = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
        #expect(try next.texts() == (0..<10).flatMap(scriptedRecords))
        next.close()
    }

    @Test func append_IsAnsweredUnknown_WhenASyncHangs_AndIntakeResumesAfterIt() throws {
        var settings = JournalHarness.settings
        settings.syncTimeout = .milliseconds(20)
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        disk.holdSyncs()
        #expect(harness.append(["hangs"]).failure == .stalled(wasWritten: true))
        #expect(harness.append(["refused"]).failure == .stalled(wasWritten: false))
        disk.releaseSyncs()
        #expect(eventually { harness.journal.intakeClosed == nil })
        // A limit of 20 ms may be reached on a machine that is busy elsewhere, too.
        #expect(eventually { harness.append(["after"]).value != nil })
        let texts = try harness.texts()
        #expect(texts.first == "hangs" && texts.count > 1 && texts.dropFirst().allSatisfy { $0 == "after" })
        harness.close()
    }

    @Test func append_IsRefused_WhenLargerThanASegment() throws {
        let harness = try JournalHarness(FakeFileSystem())
        let bytesMax = harness.journal.settings.appendBytesMax
        let tooLarge = String(repeating: "x", count: bytesMax - Format.recordLengthBytes + 1)
        #expect(harness.append([tooLarge]).failure == .tooLarge(bytesMax: bytesMax))
        #expect(harness.append([String(tooLarge.dropLast())]).value != nil)
        harness.close()
    }

    @Test func interval_AnswersBuffered_AndShowsRecordsOnlyAfterTheSync() throws {
        var settings = JournalHarness.settings
        settings.sync = .interval(.milliseconds(10))
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        disk.holdSyncs()
        #expect(harness.append(["early"]).value?.synced == false)
        #expect(try harness.texts() == [])
        disk.releaseSyncs()
        #expect(try eventually { try harness.texts() == ["early"] })
        harness.close()
    }

    @Test func epoch_ChangesWhileRunning_WhenItsSequencesAreUsedUp() throws {
        var settings = JournalHarness.settings
        settings.sequencesPerEpoch = 10
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        for request in 0..<33 { #expect(harness.append(["r\(request)"]).value != nil) }
        let records = try harness.read()
        #expect(records.map(\.text) == (0..<33).map { "r\($0)" })
        #expect(Set(records.map(\.lsn.epoch)).count == 4)
        #expect(records.allSatisfy { harness.journal.isKnown(epoch: $0.lsn.epoch) })
        harness.close()
        let next = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced), settings: settings)
        #expect(try next.read().map(\.lsn) == records.map(\.lsn))
        next.close()
    }

    @Test func segments_AreDeleted_OnceReleasedAndNotBefore() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<60 { #expect(harness.append(scriptedRecords(request)).value != nil) }
        func segments() -> Int { disk.paths.filter { $0.hasSuffix(".seg") }.count }
        #expect(segments() > 4)
        #expect(try harness.texts().count == (0..<60).flatMap(scriptedRecords).count)
        let middle = try harness.read()[50].lsn
        harness.released.withLock { $0 = middle }
        harness.close()
        let next = try JournalHarness(disk)
        let left = try next.read()
        #expect(left.contains { $0.lsn == middle })
        #expect(left.count < 130)
        next.released.withLock { $0 = next.journal.durable }
        #expect(eventually { segments() == 1 })
        next.close()
    }

    @Test func start_ReadsNothingAgain_AfterAnOrderlyEnd() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<30 { #expect(harness.append(scriptedRecords(request)).value != nil) }
        harness.close()
        let next = try JournalHarness(disk)
        #expect(next.report.rewrittenBytes == 0)
        #expect(next.report.proof == next.report.end)
        next.close()
    }

    @Test func start_MakesNoNewSegmentsPileUp_WhenNothingIsWritten() throws {
        let disk = FakeFileSystem()
        for _ in 0..<5 { try JournalHarness(disk).close() }
        #expect(disk.paths.filter { $0.hasSuffix(".seg") }.count == 1)
    }

    @Test func start_ForwardsWithIntakeClosed_WhenThereIsNoSpace() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        #expect(harness.append(["kept"]).value != nil)
        harness.close()
        disk.setCapacity(1)
        let next = try JournalHarness(disk)
        #expect(next.journal.intakeClosed == "no_space")
        #expect(next.append(["refused"]).failure == .noSpace(wasWritten: false))
        #expect(try next.texts() == ["kept"])
        disk.setCapacity(nil)
        #expect(eventually { next.journal.intakeClosed == nil })
        #expect(next.append(["again"]).value != nil)
        next.close()
    }
}
