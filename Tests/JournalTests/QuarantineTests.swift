import Glibc
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// Looking at a damaged journal, restoring headers, and accepting a loss.
@Suite struct QuarantineTests {
    private static let directory = JournalHarness.directory

    /// Several segments, closed in order.
    private func journal(requests: Int = 60) throws -> (disk: FakeFileSystem, records: [(lsn: LSN, text: String)]) {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        for request in 0..<requests { #expect(harness.append(scriptedRecords(request)).value != nil) }
        let records = try harness.read()
        harness.close()
        return (disk.withoutPower(.losesEverythingUnsynced), records)
    }

    private func image(_ disk: FakeFileSystem) throws -> JournalImage {
        try JournalImage.open(directory: Self.directory, fileSystem: disk)
    }

    /// Records and damages as a look at it finds them.
    private func look(_ disk: FakeFileSystem) throws -> (texts: [LSN: String], damages: [JournalDamage], start: Bool) {
        let image = try image(disk)
        defer { image.close() }
        var texts: [LSN: String] = [:]
        var damages: [JournalDamage] = []
        var scan = image.scan()
        while let step = try scan.next() {
            switch step {
            case .frame(let frame):
                try frame.forEachRecord { texts[$0] = String(decoding: $1, as: UTF8.self) }
            case .damage(let damage): damages.append(damage)
            }
        }
        return (texts, damages, image.refused.isEmpty)
    }

    private func accept(_ disk: FakeFileSystem) throws {
        let found = try look(disk).damages
        let image = try JournalImage.open(directory: Self.directory, forWriting: true, fileSystem: disk)
        defer { image.close() }
        try disk.createDirectory(image.quarantineDirectory)
        for damage in found where damage.kind == .replaced { try image.setAside(try #require(damage.path)) }
        try image.quarantine(found.map(\.lsns) + image.refused)
    }

    private func segments(_ disk: FakeFileSystem) -> [String] { disk.paths.filter { $0.hasSuffix(".seg") } }

    @Test func image_SeesEveryRecord_AndWritesNothing() throws {
        let (disk, records) = try journal()
        let calls = disk.calls
        let found = try look(disk)
        #expect(found.damages.isEmpty && found.start)
        #expect(found.texts == Dictionary(uniqueKeysWithValues: records.map { ($0.lsn, $0.text) }))
        #expect(disk.calls == calls, "it wrote: \(disk.log[calls...])")
        let harness = try JournalHarness(disk)
        #expect(throws: JournalError.self) { try image(disk) }
        harness.close()
        #expect(throws: JournalError.self) { try image(FakeFileSystem()) }
    }

    /// How a disk breaks a place of a segment.
    enum Break: CaseIterable { case body, header, sectors, rest, removed }

    private func breakIt(_ disk: FakeFileSystem, _ path: String, _ how: Break) throws {
        let body = Format.segmentHeaderBytes + Format.frameHeaderBytes
        switch how {
        case .body: disk.overwrite(path) { $0[body + 2] ^= 1 }
        case .header: disk.overwrite(path) { $0[body - 20] ^= 1 }
        case .sectors: disk.overwrite(path) { for at in 4096..<8192 { $0[at] = 0xA5 } }
        case .rest: disk.overwrite(path) { for at in 6000..<$0.count { $0[at] = 0 } }
        case .removed:
            try disk.remove(path)
            try disk.syncDirectory(Self.directory)
        }
    }

    @Test(arguments: Break.allCases)
    func acceptedLoss_LosesWhatIsBroken_AndNothingElse(how: Break) throws {
        let (original, records) = try journal()
        let all = Dictionary(uniqueKeysWithValues: records.map { ($0.lsn, $0.text) })
        for path in segments(original).dropLast() {
            let disk = original.killed()
            try breakIt(disk, path, how)
            let found = try look(disk)
            let lost = found.damages.map(\.lsns)
            #expect(!lost.isEmpty, "\(path)")
            // What is named is what is missing, to the record.
            let left = all.filter { record in !lost.contains { $0.contains(record.key) } }
            let isNamed = found.texts == left
            #expect(isNamed, "\(path)")
            #expect(left.count < all.count)
            try accept(disk)
            #expect(try look(disk).start)
            let harness = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
            let read = try harness.read()
            let isExact = Dictionary(uniqueKeysWithValues: read.map { ($0.lsn, $0.text) }) == left
            #expect(isExact, "\(path)")
            #expect(read.map(\.lsn) == read.map(\.lsn).sorted())
            #expect(lost.allSatisfy(harness.journal.isQuarantined))
            #expect(harness.append(["new"]).value != nil)
            #expect(try harness.texts().last == "new")
            harness.close()
        }
    }

    @Test func acceptedLoss_StaysOne_OverLaterStarts() throws {
        let (disk, records) = try journal()
        let path = try #require(segments(disk).first)
        try breakIt(disk, path, .header)
        try accept(disk)
        for _ in 0..<3 {
            let harness = try JournalHarness(disk)
            #expect(try harness.read().count < records.count)
            harness.close()
        }
        // Another place is another decision.
        try breakIt(disk, segments(disk)[1], .sectors)
        let image = try image(disk)
        #expect(!image.quarantined.isEmpty)
        var standings: [JournalImage.Standing] = []
        var scan = image.scan()
        while let step = try scan.next() {
            if case .damage(let damage) = step { standings.append(image.standing(of: damage.lsns)) }
        }
        image.close()
        #expect(standings.contains(.quarantined))
        #expect(standings.contains(.stopsReaders) || standings.contains(.refusesStart))
    }

    @Test func scan_NamesTheRecordsOfABrokenBody() throws {
        let (disk, records) = try journal()
        let path = try #require(segments(disk).first)
        try breakIt(disk, path, .body)
        let damage = try #require(try look(disk).damages.first)
        let frame = try #require(damage.brokenFrames.first)
        #expect(damage.kind == .unreadable && damage.path == path)
        #expect(damage.lsns == frame.first..<frame.first.advanced(by: frame.count))
        let image = try image(disk)
        let unverified = try image.unverifiedRecords(of: frame, at: path)
        image.close()
        // The broken byte is in a length: nothing behind it makes sense. Elsewhere all are there.
        #expect(unverified.isEmpty)
        disk.overwrite(path) {
            $0[Format.segmentHeaderBytes + 42] ^= 1
            $0[Format.segmentHeaderBytes + 46] ^= 1
        }
        let again = try self.image(disk)
        let changed = try again.unverifiedRecords(of: frame, at: path)
        again.close()
        #expect(changed.map(\.lsn) == Array(records[..<frame.count].map(\.lsn)))
    }

    @Test func lostHeaders_AreMadeAnew_ExactlyAsTheyWere() throws {
        let (original, records) = try journal()
        let all = segments(original)
        for broken in [[0], [1], [all.count - 2], [1, 2], [0, 1, 2]] {
            let disk = original.killed()
            for index in broken {
                disk.overwrite(all[index]) { for at in 0..<Format.segmentHeaderBytes { $0[at] = 0 } }
            }
            var rounds = 0
            while true {
                let image = try JournalImage.open(directory: Self.directory, forWriting: true, fileSystem: disk)
                defer { image.close() }
                if image.restorableFiles.isEmpty { break }
                rounds += 1
                try #require(rounds <= broken.count)
                try image.restoreHeaders()
            }
            let after = disk.withoutPower(.losesEverythingUnsynced)
            for index in broken { #expect(after.contents(all[index]) == original.contents(all[index]), "\(broken)") }
            let harness = try JournalHarness(after)
            #expect(try harness.texts() == records.map(\.text))
            harness.close()
        }
    }

    @Test func lostHeader_IsNotMadeAnew_WhereAnythingContradicts() throws {
        let (original, _) = try journal()
        let path = segments(original)[1]
        let first = Format.segmentHeaderBytes
        // Of the first frame: its magic, the checksum that names the header, a byte of its body.
        for at in [first, first + 16, first + Format.frameHeaderBytes + 9] {
            let disk = original.killed()
            disk.overwrite(path) {
                $0[3] ^= 1
                $0[at] ^= 1
            }
            let image = try image(disk)
            #expect(image.restorableFiles.isEmpty && image.unreadableFiles.count == 1)
            #expect(!image.refused.isEmpty)
            image.close()
        }
    }

    @Test func seed_IsFoundFromAChecksum() {
        var random = SeededGenerator(seed: 7)
        for length in [0, 1, 31, 32, 100] {
            let bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let seed = UInt32.random(in: .min ... .max, using: &random)
            let checksum = Format.checksum(bytes[...], seed: seed)
            #expect(HeaderRestore.seed(ofChecksum: checksum, over: bytes[...]) == seed)
        }
    }

    @Test func replacedSegment_IsSetAside_AndNoRecordOfItIsRead() throws {
        let (disk, records) = try journal()
        // Bodies and frames are good, but fewer than there were: the next segment names another last frame.
        let path = segments(disk)[1]
        disk.overwrite(JournalHarness.directory + "/CHECKPOINT") { bytes in
            for at in bytes.indices { bytes[at] = 0 }
        }
        _ = try SlotFile.create(
            Checkpoint.kind, in: Self.directory, payload: Checkpoint().encoded(), on: disk)
        let info = try #require(disk.contents(path))
        let header = try SegmentHeader(decoding: info[...])
        var walk = try SegmentWalk(header: header, file: try disk.open(path, .readOnly))
        var frames: [DiskFrame] = []
        while case .frame(let frame) = try walk.next(verifiedBelow: .zero) { frames.append(frame) }
        // The same LSNs, other bytes: as of another history of this journal.
        var image = header.encoded()
        var chain = header.checksum
        for frame in frames where frame.header.count > 0 {
            let encoded = FrameEncoder.encode(
                body: (frame.body.map { $0 == UInt8(ascii: "x") ? UInt8(ascii: "y") : $0 })[...],
                count: frame.header.count, first: frame.header.first, durable: frame.header.durable,
                previousChecksum: chain, salt: header.salt)
            image += encoded.bytes
            chain = encoded.header.checksum
        }
        disk.overwrite(path) { $0 = image }
        let found = try look(disk)
        #expect(found.damages.map(\.kind) == [.replaced])
        #expect(!found.start)
        try accept(disk)
        let harness = try JournalHarness(disk.withoutPower(.losesEverythingUnsynced))
        let lost = try #require(found.damages.first?.lsns)
        #expect(try harness.texts() == records.filter { !lost.contains($0.lsn) }.map(\.text))
        harness.close()
        #expect(disk.paths.contains { $0.hasPrefix(Self.directory + "/quarantine/") })
    }

    @Test func quarantine_JoinsRanges_AndHasALimit() {
        func range(_ from: UInt64, _ to: UInt64) -> Range<LSN> { LSN(rawValue: from)..<LSN(rawValue: to) }
        var meta = Meta(spool: .random(), lanes: 8)
        let isTaken = meta.quarantine([range(5, 8), range(20, 30), range(8, 10), range(3, 6)], released: .zero)
        #expect(isTaken)
        #expect(meta.quarantined == [range(3, 10), range(20, 30)])
        #expect(meta.isQuarantined(range(4, 10)))
        #expect(!meta.isQuarantined(range(4, 11)))
        let many = (0..<UInt64(Meta.quarantinedMax)).map { range(100 + 2 * $0, 101 + 2 * $0) }
        let before = meta
        let isTooMany = !meta.quarantine(many, released: .zero)
        #expect(isTooMany)
        #expect(meta == before)
        // Those that nobody needs make room.
        let hasRoom = meta.quarantine(many, released: LSN(rawValue: 30))
        #expect(hasRoom)
        #expect(meta.quarantined == many)
        let decoded = try? Meta(decoding: meta.encoded()[...])  // try?: nil is unequal
        #expect(decoded == meta)
    }
}
