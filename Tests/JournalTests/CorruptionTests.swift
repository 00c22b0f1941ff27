import Glibc
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// Torn tail or corruption: the proof decides.
@Suite struct CorruptionTests {
    /// A journal with one record in each of `count` frames, closed without an idle frame or a last CHECKPOINT, as by
    /// SIGKILL right after the last acknowledgement.
    private func killedJournal(_ count: Int) throws -> FakeFileSystem {
        var settings = JournalHarness.settings
        settings.idleFrameDelay = .seconds(3600)
        settings.keeperInterval = .seconds(3600)
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        // A CHECKPOINT written late would prove what the test is about to break.
        harness.waitUntilQuiet(disk)
        for record in 0..<count { #expect(harness.append(["record \(record)"]).value != nil) }
        let survivor = disk.killed()
        harness.close()
        return survivor
    }

    private func segment(_ disk: FakeFileSystem) throws -> String {
        try #require(disk.paths.filter { $0.hasSuffix(".seg") }.last)
    }

    /// Where the body of the frame of `record` begins.
    private func place(of record: Int, in disk: FakeFileSystem) throws -> Int {
        let bytes = try #require(disk.contents(try segment(disk)))
        let text = Array("record \(record)".utf8)
        return try #require(
            (0..<bytes.count - text.count).first { Array(bytes[$0..<$0 + text.count]) == text })
    }

    @Test func tornTail_EndsTheLog_WhenTheLastFrameIsBroken() throws {
        let disk = try killedJournal(5)
        let at = try place(of: 4, in: disk)
        let torn = try segment(disk)
        disk.overwrite(torn) { $0[at - 20] ^= 1 }
        let next = try JournalHarness(disk)
        #expect(try next.texts() == (0..<4).map { "record \($0)" })
        #expect(next.report.tornBytes > 0)
        #expect(disk.paths.contains { $0.hasSuffix(".broken") })
        // Not behind the recovered records, or it would have the number of the one that was torn.
        let recovered = disk.contents(torn)
        let appended = try #require(next.append(["new"]).value)
        #expect(appended.first.epoch == next.journal.epoch)
        #expect(disk.contents(torn) == recovered, "a recovered tail was appended to")
        next.close()
        let last = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
        #expect(try last.texts() == (0..<4).map { "record \($0)" } + ["new"])
        last.close()
    }

    @Test func corruption_IsRefusedWithItsLSNs_WhenALaterFrameProvesTheRecord() throws {
        for record in 0..<4 {
            let disk = try killedJournal(6)
            let at = try place(of: record, in: disk)
            // In the frame's header: a start does not read bodies that CHECKPOINT calls verified.
            disk.overwrite(try segment(disk)) { $0[at - 20] ^= 1 }
            let before = disk.paths
            #expect {
                _ = try JournalHarness(disk)
            } throws: { error in
                guard case JournalError.corruption(let ranges, _) = error else { return false }
                return ranges.count == 1 && ranges[0].lowerBound.sequence == UInt32(record)
                    && ranges[0].upperBound.sequence == UInt32(record + 1) && "\(error)".contains("quarantine")
            }
            #expect(disk.paths == before, "a refused start changed the directory")
        }
    }

    @Test func lastRecord_IsKept_WhenTheIdleFrameBeforeItIsBroken() throws {
        var settings = JournalHarness.settings
        settings.keeperInterval = .seconds(3600)
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        harness.waitUntilQuiet(disk)
        let before = disk.calls
        #expect(harness.append(["record 0"]).value != nil)
        // Each frame is a write and a sync: the record, then the idle frame.
        let deadline = SystemClock().now() + .seconds(10)
        while disk.calls < before + 4, SystemClock().now() < deadline { sched_yield() }
        #expect(disk.calls == before + 4)
        // After the next record's, no idle frame proves it any more.
        disk.inject(.die, atCall: 2)
        #expect(harness.append(["record 1"]).value != nil)
        let survivor = disk.killed()
        harness.close()
        let at = try place(of: 1, in: survivor)
        let idle = at - Format.recordLengthBytes - 2 * Format.frameHeaderBytes
        survivor.overwrite(try segment(survivor)) { $0[idle + 20] ^= 1 }
        let next = try JournalHarness(survivor)
        #expect(try next.texts() == ["record 0", "record 1"])
        #expect(next.append(["new"]).value != nil)
        next.close()
        let last = try JournalHarness(survivor.withoutPower(.losesEverythingUnsynced))
        #expect(try last.texts() == ["record 0", "record 1", "new"])
        last.close()
    }

    /// A header of a long body that stands at every place where one could: each would cost the whole body.
    @Test func search_IsLinear_WhenAGoodHeaderIsRepeated() throws {
        var settings = JournalHarness.settings
        settings.segmentBytes = 2 << 20
        settings.groupBytesMax = 1 << 20
        settings.idleFrameDelay = .seconds(3600)
        settings.keeperInterval = .seconds(3600)
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        harness.waitUntilQuiet(disk)
        #expect(harness.append(["record 0"]).value != nil)
        #expect(harness.append([String(repeating: "x", count: 1 << 19)]).value != nil)
        let survivor = disk.killed()
        harness.close()
        // The second frame's header, over its own body and all that follows.
        let place = try place(of: 0, in: survivor) + Format.padded(Format.recordLengthBytes + 8) - 4
        survivor.overwrite(try segment(survivor)) { bytes in
            let header = Array(bytes[place..<place + Format.frameHeaderBytes])
            for copy in stride(from: place + 40, to: bytes.count - 40, by: 40) {
                bytes.replaceSubrange(copy..<copy + 40, with: header)
            }
        }
        let before = survivor.bytesRead
        let next = try JournalHarness(survivor, settings: settings)
        #expect(try next.texts() == ["record 0"])
        next.close()
        // The bodies that may be tried, each with what is read around it, and what every start reads. (All of them
        // would be 10,000 times the segment.)
        let times = (survivor.bytesRead - before) / settings.segmentBytes
        #expect(times <= 3 * Int(SegmentWalk.brokenBytesFactor) + 8, "\(times) times the segment")
    }

    @Test func corruption_IsRefused_WhenASegmentIsMissing() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<60 { #expect(harness.append(scriptedRecords(request)).value != nil) }
        harness.close()
        let segments = disk.paths.filter { $0.hasSuffix(".seg") }
        #expect(segments.count > 3)
        for segment in segments.dropLast() {
            let copy = disk.killed()
            try copy.remove(segment)
            #expect(throws: JournalError.self, "\(segment)") { _ = try JournalHarness(copy) }
        }
    }

    @Test func corruption_IsRefused_WhenCheckpointProvesALostTail() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        #expect(harness.append(["one"]).value != nil)
        harness.close()
        disk.overwrite(try segment(disk)) { bytes in
            for index in Format.segmentHeaderBytes..<bytes.count { bytes[index] = 0 }
        }
        #expect(throws: JournalError.self) { _ = try JournalHarness(disk) }
    }

    @Test func corruption_IsOnlyLogged_WhereEverythingWasDelivered() throws {
        var settings = JournalHarness.settings
        settings.idleFrameDelay = .seconds(3600)
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        for record in 0..<6 { #expect(harness.append(["record \(record)"]).value != nil) }
        let third = try harness.read()[3].lsn
        harness.released.withLock { $0 = third }
        harness.close()
        let at = try place(of: 1, in: disk)
        disk.overwrite(try segment(disk)) { $0[at - 44] ^= 1 }  // inside the frame's header
        // The CHECKPOINT says `verified`, so the body alone would not be read again; the header chain is.
        let next = try JournalHarness(disk)
        #expect(next.report.ignoredLosses.count == 1)
        #expect(try next.read(from: third).map(\.text) == (3..<6).map { "record \($0)" })
        next.close()
    }

    @Test func reader_NamesTheLostRecords_WhenTheyBreakWhileRunning() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<60 { #expect(harness.append(scriptedRecords(request)).value != nil) }
        let records = try harness.read()
        let first = try #require(disk.paths.first { $0.hasSuffix(".seg") })
        disk.overwrite(first) { $0[Format.segmentHeaderBytes + Format.frameHeaderBytes + 2] ^= 1 }
        let reader = harness.journal.reader(from: .zero)
        var lost: [Range<LSN>] = []
        do throws(JournalError) {
            _ = try reader.next()
        } catch {
            if case .corruption(let ranges, _) = error { lost = ranges }
        }
        #expect(lost.count == 1)
        #expect(lost.first?.lowerBound == records[0].lsn)
        let end = try #require(lost.first?.upperBound)
        reader.skip(to: end)
        let frame = try reader.next()
        #expect(frame?.first == end)
        harness.close()
    }

    @Test func recoveredTail_IsCopied_WhenItsOldPlaceCannotBeSynced() throws {
        for kept in [1, 3] {
            let disk = try killedJournal(3)
            // The calls: the parent directory's sync, then the tail's write (1), its cut, its sync (3).
            for call in [1, 3] {
                let copy = disk.killed()
                copy.inject(.error(EIO), atCall: call)
                let next = try JournalHarness(copy)
                #expect(next.report.tailWasCopied, "call \(call)")
                #expect(try next.texts() == (0..<3).map { "record \($0)" })
                #expect(next.append(["new"]).value != nil)
                next.close()
                let last = try JournalHarness(copy.withoutPower(.losesEverythingUnsynced, seed: UInt64(kept)))
                #expect(try last.texts() == (0..<3).map { "record \($0)" } + ["new"])
                last.close()
            }
        }
    }

    @Test func open_IsRefused_WhenMetaIsBrokenInBothSlots() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        #expect(harness.append(["one"]).value != nil)
        harness.close()
        disk.overwrite(JournalHarness.directory + "/META") { bytes in
            bytes[30] ^= 1
        }
        let one = try JournalHarness(disk)
        #expect(try one.texts() == ["one"])
        one.close()
        disk.overwrite(JournalHarness.directory + "/META") { bytes in
            bytes[30] ^= 1
            bytes[Meta.kind.slotBytes + 30] ^= 1
        }
        #expect(throws: JournalError.self) { _ = try JournalHarness(disk) }
    }

    @Test func corruption_IsRefused_WhenTheHeaderOfTheNewestSegmentIsBroken() throws {
        let disk = try killedJournal(2)
        disk.overwrite(try segment(disk)) { $0[20] ^= 1 }
        #expect(throws: JournalError.self) { _ = try JournalHarness(disk) }
        #expect(!disk.paths.contains { $0.hasSuffix(".broken") })
    }

    @Test func reader_PassesBrokenBytesThatNobodyNeeds() throws {
        var settings = JournalHarness.settings
        settings.tailBytesMax = 1
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk, settings: settings)
        for record in 0..<6 { #expect(harness.append(["record \(record)"]).value != nil) }
        let third = try harness.read()[3].lsn
        let at = try place(of: 1, in: disk)
        disk.overwrite(try segment(disk)) { $0[at - 44] ^= 1 }  // the header of the second frame
        #expect(try harness.read(from: third).map(\.text) == (3..<6).map { "record \($0)" })
        harness.close()
    }

    @Test func open_IsRefused_WhenASlotIsOfANewerVersion() throws {
        let disk = FakeFileSystem()
        try JournalHarness(disk).close()
        disk.overwrite(JournalHarness.directory + "/CHECKPOINT") { bytes in
            // The older of the two slots, rewritten as a later program would.
            let length = Int(bytes.littleEndian(at: 12, as: UInt32.self))
            bytes.storeLittleEndian(UInt32(2), at: 8)
            bytes.storeLittleEndian(Format.checksum(bytes[0..<24 + length], seed: 0), at: 24 + length)
        }
        #expect(throws: JournalError.self) { _ = try JournalHarness(disk) }
    }

    @Test func open_IsRefused_WhenASegmentBelongsToAnotherJournal() throws {
        let disk = FakeFileSystem()
        let other = FakeFileSystem()
        for each in [disk, other] {
            let harness = try JournalHarness(each)
            #expect(harness.append(["one"]).value != nil)
            harness.close()
        }
        let foreign = try #require(other.contents(try segment(other)))
        disk.overwrite(try segment(disk)) { $0 = foreign }
        #expect(throws: JournalError.self) { _ = try JournalHarness(disk) }
    }

    @Test func clientBytes_NeverPassForAFrame() throws {
        for alignment in 0..<8 {
            let disk = FakeFileSystem()
            var settings = JournalHarness.settings
            settings.idleFrameDelay = .seconds(3600)
            settings.keeperInterval = .seconds(3600)
            let harness = try JournalHarness(disk, settings: settings)
            harness.waitUntilQuiet(disk)
            #expect(harness.append(["first"]).value != nil)
            // A client that even knew the bytes on this disk: a whole good frame of this very segment, and one that
            // claims the next LSN with a checksum that lacks the salt.
            let path = try segment(disk)
            let image = try #require(disk.contents(path))
            let start = Format.segmentHeaderBytes
            let length = Format.frameHeaderBytes + Format.padded(Format.recordLengthBytes + 5)
            let old = image[start..<start + length]
            let next = LSN(rawValue: harness.journal.durable.rawValue + 1)
            let forged = FrameEncoder.encode(
                body: image[start + 40..<start + 49], count: 1, first: next, durable: next, previousChecksum: 0, salt: 0
            ).bytes
            let answer = Monitor<Bool?>(nil)
            var records = JournalRecords(capacity: 1024)
            records.append { writer in
                writer.bytes.append(contentsOf: repeatElement(7, count: alignment))
                for _ in 0..<5 { writer.bytes.append(contentsOf: old + forged) }
            }
            harness.journal.append(records, tag: 0) { result in
                answer.withLock { $0 = result.value != nil }
                answer.signal()
            }
            #expect(answer.wait { $0 } == true)
            let survivor = disk.killed()
            harness.close()
            // The frame that carries them is torn, so that recovery searches its body.
            survivor.overwrite(path) { $0[start + length] ^= 1 }
            let recovered = try JournalHarness(survivor)
            #expect(try recovered.texts() == ["first"], "alignment \(alignment)")
            recovered.close()
        }
    }
}
