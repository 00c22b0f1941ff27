import Glibc
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// Released segments become the next ones: see "Deletion" in docs/JOURNAL.md.
@Suite struct SegmentReuseTests {
    private func segments(_ disk: FakeFileSystem) -> [String] { disk.paths.filter { $0.hasSuffix(".seg") } }

    private func spares(_ disk: FakeFileSystem) -> Int { disk.paths.count { $0.hasSuffix(".spare") } }

    /// Fills segments one after the other, each released as soon as the next is there; goes on when the keeper has done
    /// all that it will do: the released one is gone, and a spare is ready.
    private func flow(_ harness: JournalHarness, _ disk: FakeFileSystem, segments count: Int) {
        for _ in 0..<count {
            let last = segments(disk).last
            while segments(disk).last == last {
                #expect(harness.append([String(repeating: "x", count: 3000)]).value != nil)
            }
            let queue = harness.journal.shared.queue
            // First of all, or what is released would be the spare, and none be kept.
            #expect(eventually { queue.withLock { $0.spare != nil } })
            harness.released.withLock { $0 = harness.journal.durable }
            #expect(
                eventually {
                    segments(disk).count == 1 && queue.withLock { $0.spare != nil }
                })
        }
    }

    @Test func steadyFlow_NeitherMakesNorDeletesFiles() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        // Whether the first one released becomes the spare, or one more, depends on when the keeper looks.
        #expect(
            eventually {
                flow(harness, disk, segments: 1)
                return spares(disk) == 2
            })
        let before = disk.log.count
        flow(harness, disk, segments: 8)
        #expect(spares(disk) == 2)
        let calls = disk.log[before...]
        #expect(calls.filter { $0 == "rename" }.count >= 16)
        #expect(!calls.contains("unlink") && !calls.contains("open"))
        harness.close()
        let next = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
        #expect(disk.paths.filter { $0.hasSuffix(".broken") } == [])
        #expect(next.report.tornBytes == 0 && next.report.ignoredLosses == [])
        next.close()
    }

    @Test func segments_AreDeleted_WhereTheyAreNotFilledWithZeros() throws {
        let disk = FakeFileSystem()
        var settings = JournalHarness.settings
        settings.zeroFill = false
        let harness = try JournalHarness(disk, settings: settings)
        flow(harness, disk, segments: 3)
        #expect(disk.log.filter { $0 == "unlink" }.count >= 3)
        harness.close()
    }

    /// Records in several segments, which readers have to read from the disk.
    private func filled(_ disk: FakeFileSystem) throws -> JournalHarness {
        var settings = JournalHarness.settings
        settings.tailBytesMax = 1
        settings.idleFrameDelay = .seconds(3600)
        let harness = try JournalHarness(disk, settings: settings)
        for request in 0..<30 { #expect(harness.append(scriptedRecords(request)).value != nil) }
        return harness
    }

    @Test func reader_GoesOnAfterThem_WhenItsSegmentsWereReleasedAndOverwritten() throws {
        let disk = FakeFileSystem()
        let harness = try filled(disk)
        #expect(segments(disk).count > 3)
        // One that has its segment's file open, and one that comes later.
        let reading = harness.journal.reader(from: .zero)
        #expect(try reading.next() != nil)
        let late = harness.journal.reader(from: .zero)
        let middle = try #require(try harness.read().map(\.lsn).dropFirst(25).first)
        harness.waitUntilQuiet(disk)
        harness.released.withLock { $0 = middle }
        harness.waitUntilQuiet(disk)
        // One is ready, one is kept.
        #expect(spares(disk) == 2)
        let left = try harness.read(from: middle).map(\.text)
        for reader in [reading, late] {
            var texts: [String] = []
            while let frame = try reader.next() {
                try frame.forEachRecord { texts.append(String(decoding: $1, as: UTF8.self)) }
            }
            #expect(texts.suffix(left.count) == left[...])
        }
        harness.close()
    }

    /// Broken records that somebody needs stay an error, whatever was released before them.
    @Test func reader_StillReportsCorruption_InSegmentsThatAreThere() throws {
        let disk = FakeFileSystem()
        let harness = try filled(disk)
        let path = try #require(segments(disk).dropFirst().first)
        disk.overwrite(path) { bytes in for place in 5000..<5100 { bytes[place] ^= 0xFF } }
        #expect(throws: JournalError.self) { _ = try harness.read() }
        harness.close()
    }

    @Test func checkpointAndDeletion_WaitForSpace_AndEndNothing() throws {
        for suffix in ["CHECKPOINT", ".seg"] {
            let disk = FakeFileSystem()
            var settings = JournalHarness.settings
            settings.idleFrameDelay = .seconds(3600)
            let harness = try JournalHarness(disk, settings: settings)
            for request in 0..<12 { #expect(harness.append(scriptedRecords(request)).value != nil) }
            harness.waitUntilQuiet(disk)
            let count = segments(disk).count
            #expect(count > 1)
            disk.failPaths((suffix, ENOSPC))
            harness.released.withLock { $0 = harness.journal.durable }
            let calls = disk.calls
            #expect(eventually { disk.calls > calls + 3 })
            #expect(segments(disk).count == count && harness.failures.withLock { $0.isEmpty })
            disk.failPaths(nil)
            #expect(eventually { segments(disk).count == 1 })
            #expect(harness.append(["on"]).value != nil)
            harness.close()
            #expect(harness.failures.withLock { $0.isEmpty })
        }
    }
}
