import Glibc
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// A directory that somebody copied, moved, or may only read.
@Suite struct CopyTests {
    private static let directory = JournalHarness.directory

    private func write(_ bytes: [UInt8], _ path: String, to disk: FakeFileSystem) throws {
        try disk.open(path, .createOrTruncate).writeAll(bytes, at: 0)
    }

    /// File by file, each in two halves, while requests are accepted in between.
    private func copy(
        _ disk: FakeFileSystem, _ random: inout SeededGenerator, between: () -> Void
    ) throws -> FakeFileSystem {
        let copy = FakeFileSystem()
        try copy.createDirectory(Self.directory)
        for path in disk.paths.shuffled(using: &random) {
            // Gone meanwhile: a spare that became a segment.
            guard let first = disk.contents(path) else { continue }
            if Bool.random(using: &random) { between() }
            let half = first.count / 2
            let second = (disk.contents(path) ?? first).dropFirst(half)
            try write(Array(first[..<half]) + second, path, to: copy)
            if Bool.random(using: &random) { between() }
        }
        return copy
    }

    @Test func copyTakenWhileRunning_IsRefused_OrHoldsWhatWasAcceptedBefore() throws {
        var (started, refused) = (0, 0)
        for seed in 0..<60 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            let disk = FakeFileSystem()
            let harness = try JournalHarness(disk)
            var accepted: [String] = []
            func accept() {
                let records = scriptedRecords(accepted.count)
                if harness.append(records).value != nil { accepted += records }
            }
            for _ in 0..<Int.random(in: 1...30, using: &random) { accept() }
            let before = accepted.count
            let copied = try copy(disk, &random) { for _ in 0..<3 { accept() } }
            harness.close()
            do throws(JournalError) {
                let twin = try JournalHarness(copied)
                started += 1
                let texts = (try? twin.texts()) ?? []  // try?: too few fails
                #expect(texts.count >= before, "seed \(seed)")
                #expect(texts == Array(accepted[..<texts.count]), "seed \(seed)")
                twin.close()
            } catch {
                switch error {
                case .corruption, .unreadable: refused += 1
                default: Issue.record("seed \(seed): \(error)")
                }
            }
        }
        print("copies taken while running: started \(started), refused \(refused)")
        #expect(started > 0 && refused > 0)
    }

    @Test func copyOfAStoppedDirectory_IsTheSameJournal_WithEpochsOfItsOwn() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<10 { #expect(harness.append(scriptedRecords(request)).value != nil) }
        let texts = try harness.texts()
        harness.close()
        let copied = FakeFileSystem()
        for path in disk.paths { try write(try #require(disk.contents(path)), path, to: copied) }
        let twin = try JournalHarness(copied)
        #expect(try twin.texts() == texts)
        #expect(twin.journal.spool == harness.journal.spool)
        #expect(twin.journal.epoch > harness.journal.epoch)
        twin.close()
    }

    @Test func lockAndHistory_AreRefusedInWords_WhereTheProcessMayNotWrite() throws {
        let disk = FakeFileSystem()
        try JournalHarness(disk).close()
        for (file, code) in [("LOCK", EACCES), ("LOCK", EROFS)] {
            let copy = disk.killed()
            try copy.remove(Self.directory + "/LOCK")
            copy.failPaths((file, code))
            let error = #expect(throws: JournalError.self) { _ = try JournalHarness(copy) }
            guard case .io(let cause) = error else { return #expect(Bool(false)) }
            #expect(cause.isDenied == (code == EACCES) && cause.isReadOnly == (code == EROFS))
            // Who only looks needs neither.
            let image = try JournalImage.open(directory: Self.directory, fileSystem: copy)
            #expect(image.refused.isEmpty)
            image.close()
        }
    }
}
