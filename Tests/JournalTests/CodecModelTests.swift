import Glibc
import JournalAttack
import Primitives
import Records
import TestSupport
import Testing

/// Everything that a disk can do to a journal's bytes, held against an independent reading of docs/JOURNAL.md.
@Suite struct CodecModelTests {
    private static let swaps = 150
    private static let splices = 200

    /// Every byte and bit of every kind of journal; else of one kind, and samples of the others.
    private static let isThorough = getenv("POSTRIDER_TEST_THOROUGH") != nil

    private func journal(_ kind: GeneratedJournal.Kind) throws -> GeneratedJournal {
        var random = SeededGenerator(printingFor: "codec model")
        return try GeneratedJournal(kind, random: &random)
    }

    private func expectNone(_ verdict: Verdict, _ name: String, _ location: SourceLocation = #_sourceLocation) {
        for violation in verdict.violations.prefix(20) { Issue.record("\(violation)", sourceLocation: location) }
        let count = verdict.violations.count
        #expect(count == 0, sourceLocation: location)
        print("codec model, \(name): \(verdict.counts)")
    }

    private func files(_ journal: GeneratedJournal) -> [String] {
        journal.segments + [GeneratedJournal.directory + "/META", GeneratedJournal.directory + "/CHECKPOINT"]
    }

    /// Bytes that mean something, and how many of their bits: of a slot file the beginning of both slots.
    private func places(
        _ path: String, _ journal: GeneratedJournal, header: Int, body: Int
    ) -> [(byte: Int, isHeader: Bool)] {
        let count = journal.contents(path).count
        guard path.hasSuffix(".seg") else { return [0, count / 2].flatMap { ($0..<$0 + 96).map { ($0, true) } } }
        let all = Self.isThorough || journal.kind == .unverified && journal.segments.last == path
        let headers = Verdict.headerBytes(journal.contents(path))
        let bodies = stride(from: 4096, to: count, by: all ? body : 16 * body).filter { !headers.contains($0) }
        let some = headers.sorted().enumerated().filter { all || $0.offset % header == 0 }.map(\.element)
        return some.map { ($0, true) } + bodies.map { ($0, false) }
    }

    @Test(arguments: GeneratedJournal.Kind.allCases)
    func undamaged_IsReadWhole(kind: GeneratedJournal.Kind) throws {
        var verdict = Verdict(try journal(kind))
        try verdict.check([], again: true)
        expectNone(verdict, "undamaged, \(kind)")
        #expect(verdict.counts.whole == 1)
        #expect(verdict.counts.records > 10)
    }

    @Test(arguments: GeneratedJournal.Kind.allCases)
    func truncation_AtEveryByte_GivesAPrefixOrIsRefused(kind: GeneratedJournal.Kind) throws {
        let journal = try journal(kind)
        var verdict = Verdict(journal)
        for path in files(journal) {
            for (byte, _) in places(path, journal, header: 8, body: 1) {
                try verdict.check([.truncate(path, bytes: byte)])
            }
        }
        expectNone(verdict, "truncated, \(kind)")
        #expect(verdict.counts.corrupt > 0 && verdict.counts.whole > 0 && verdict.counts.unreadable > 0)
        if kind == .unverified { #expect(verdict.counts.torn > 0) }
    }

    @Test(arguments: GeneratedJournal.Kind.allCases)
    func bitFlip_InEveryHeaderAndInBodies_GivesAPrefixOrIsRefused(kind: GeneratedJournal.Kind) throws {
        let journal = try journal(kind)
        var random = SeededGenerator(printingFor: "codec model")
        var verdict = Verdict(journal)
        for path in files(journal) {
            let all = Self.isThorough || kind == .unverified && journal.segments.last == path
            for (byte, isHeader) in places(path, journal, header: 2, body: 4) {
                let bits = all && isHeader ? Array(0..<8) : [Int.random(in: 0..<8, using: &random)]
                for bit in bits { try verdict.check([.flip(path, bit: byte * 8 + bit)]) }
            }
        }
        expectNone(verdict, "flipped, \(kind)")
        #expect(verdict.counts.corrupt > 0 && verdict.counts.whole > 0)
        // (In other kinds CHECKPOINT may be written right after the last record, and proves it.)
        if kind == .unverified { #expect(verdict.counts.torn > 0) }
    }

    @Test(arguments: GeneratedJournal.Kind.allCases)
    func sectors_ZeroedSwappedAndRepeated_GiveAPrefixOrAreRefused(kind: GeneratedJournal.Kind) throws {
        let journal = try journal(kind)
        var random = SeededGenerator(printingFor: "codec model")
        var verdict = Verdict(journal)
        let sectors = files(journal).flatMap { path in
            (0..<journal.contents(path).count / Damage.sectorBytes).map { (path, $0) }
        }
        for (path, sector) in sectors where path.hasSuffix(".seg") || sector % 16 == 0 {
            try verdict.check([.zeroSector(path, sector)], again: true)
        }
        let inSegments = sectors.filter { $0.0.hasSuffix(".seg") && $0.1 % 12 >= 8 || $0.1 == 0 }
        for _ in 0..<Self.swaps {
            let (a, b) = (inSegments.randomElement(using: &random)!, inSegments.randomElement(using: &random)!)
            try verdict.check([.swapSectors(a.0, a.1, with: b.0, b.1)])
            try verdict.check([.repeatSector(a.0, a.1, over: b.0, b.1)])
        }
        expectNone(verdict, "sectors, \(kind)")
        #expect(verdict.counts.corrupt > 0)
    }

    @Test(arguments: GeneratedJournal.Kind.allCases)
    func segments_DeletedBroughtBackAndSpliced_GiveAPrefixOrAreRefused(kind: GeneratedJournal.Kind) throws {
        let journal = try journal(kind)
        let other = try self.journal(kind)
        var random = SeededGenerator(printingFor: "codec model")
        var verdict = Verdict(journal)
        let segments = journal.segments
        for path in segments {
            try verdict.check([.delete(path)], again: true)
            for second in segments where second > path { try verdict.check([.delete(path), .delete(second)]) }
            // Of another epoch or base, under this name.
            for second in segments where second != path {
                try verdict.check([.replace(path, journal.contents(second))])
            }
        }
        for (path, bytes) in journal.earlier.sorted(by: { $0.key < $1.key }) {
            try verdict.check([.replace(path, bytes)], again: true)
            for second in segments { try verdict.check([.replace(path, bytes), .delete(second)]) }
        }
        for path in other.segments { try verdict.check([.replace(path, other.contents(path))]) }
        for _ in 0..<Self.splices {
            let (from, into) = (segments.randomElement(using: &random)!, segments.randomElement(using: &random)!)
            let start = 4096 + 8 * Int.random(in: 0..<256, using: &random)
            let end = start + Int.random(in: 40..<1024, using: &random)
            let at = 4096 + 8 * Int.random(in: 0..<256, using: &random)
            try verdict.check([.splice(from: from, start..<end, into: into, at: at)])
        }
        expectNone(verdict, "spliced, \(kind)")
        #expect(verdict.counts.corrupt > 0 && verdict.counts.whole > 0 && verdict.counts.unreadable > 0)
    }

    /// What the fuzzer does, for as many inputs as there is time for here.
    @Test func fuzzInputs_GiveAPrefixOrAreRefused() throws {
        var random = SeededGenerator(printingFor: "codec model, fuzz")
        let fuzz = try FuzzInput(seed: random.next())
        let inputs = Self.isThorough ? 20_000 : 1000
        for _ in 0..<inputs {
            let input = (0..<Int.random(in: 9...41, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            let violations = try fuzz.run(input)
            #expect(violations.isEmpty, "\(input): \(violations)")
        }
        print("codec model, fuzz: inputs=\(inputs)")
    }

    /// Megabytes of what a client takes for frames, in a torn frame, so that all of it is searched.
    @Test func clientBytesThatLookLikeFrames_AreSearchedInLinearTime() throws {
        var read: [Int] = []
        for quarters in [2, 8] {
            let disk = try GeneratedJournal.torn(holding: lookalikes(quarters << 18))
            let before = disk.bytesRead
            #expect(try GeneratedJournal.recoveredRecords(disk) == 1)
            read.append(disk.bytesRead - before)
        }
        // Four times the bytes, four times the reading; what every start reads makes it less.
        #expect(read[1] <= 4 * read[0], "read: \(read)")
        print("codec model, lookalikes: bytes_read=\(read[0] + read[1])")
    }

    /// Headers with plausible fields and great lengths, at every place where one could begin; only the salt is missing.
    private func lookalikes(_ count: Int) -> [UInt8] {
        var frame = Array("PRRF".utf8) + [1, 2, 3, 4]
        frame += [0xFF, 0xFF, 0x3F, 0, 9, 9, 9, 9, 0, 0, 0, 0, 1, 0, 0, 0]
        return Array(repeatElement(frame, count: count / frame.count).joined())
    }

    /// A disk that forgets nothing, and a recovery that believes everything: the model must notice.
    @Test func verdict_FindsWhatIsPlanted() throws {
        let journal = try journal(.unverified)
        var verdict = Verdict(journal, promising: journal.records.map { .init(lsn: $0.lsn, bytes: $0.bytes + [1]) })
        try verdict.check([])
        #expect(verdict.violations.contains { $0.contains("altered or invented") })
        let one = GeneratedJournal.Accepted(lsn: journal.records.last!.lsn.advanced(by: 1), bytes: [])
        var missing = Verdict(journal, promising: journal.records + [one])
        try missing.check([])
        #expect(missing.violations.contains { $0.contains("is given up") })
    }
}
