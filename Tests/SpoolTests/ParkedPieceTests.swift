import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct ParkedPieceTests {
    private static let spool = SpoolID(high: 7, low: 9)
    private static let path = "/parked"

    @discardableResult
    private func write(
        _ entries: [ParkedEntry], end: UInt64, after previous: ParkedPiece? = nil, frameBytes: Int = 25,
        on disk: FakeFileSystem
    ) throws -> ParkedPiece {
        let header = ParkedHeader(
            spool: Self.spool, lane: 3, ordinal: (previous?.header.ordinal ?? -1) + 1, salt: 77,
            from: previous?.end ?? LSN(rawValue: 2), previousChecksum: previous?.checksum ?? 0)
        var writer = try ParkedPieceWriter(path: Self.path, header: header, frameBytes: frameBytes, on: disk)
        for entry in entries { try writer.add(entry) }
        let expected = writer.bytes
        let piece = try writer.finish(at: LSN(rawValue: end))
        #expect(piece.bytes == expected && piece.bytes == Int64(disk.contents(Self.path)?.count ?? 0))
        return piece
    }

    private func open(_ disk: FakeFileSystem, after previous: ParkedPiece? = nil) throws -> ParkedPiece {
        try ParkedPiece.open(Self.path, spool: Self.spool, lane: 3, after: previous, on: disk)
    }

    private func entry(_ lsn: UInt64, _ text: String) -> ParkedEntry { (LSN(rawValue: lsn), Array(text.utf8)[...]) }

    private func texts(_ piece: ParkedPiece, _ disk: FakeFileSystem) throws -> [String] {
        try piece.frames.flatMap { try piece.entries(of: $0, on: disk) }.map {
            "\($0.lsn) \(String(decoding: $0.bytes, as: UTF8.self))"
        }
    }

    /// LSNs with gaps, over two epochs; the last frame holds one entry.
    private var entries: [ParkedEntry] {
        [
            entry(3, "three"), entry(5, ""), entry(6, "six is longer than a frame may be, by far"),
            entry(9 << 32, "another epoch"), entry(9 << 32 + 8, "last"),
        ]
    }

    @Test func piece_HoldsWhatWasWritten_AndFindsEachFrameByLSN() throws {
        let disk = FakeFileSystem()
        let written = try write(entries, end: 9 << 32 + 20, on: disk)
        let piece = try open(disk)
        #expect(try texts(piece, disk) == entries.map { "\($0.lsn) \(String(decoding: $0.bytes, as: UTF8.self))" })
        #expect(piece.records == 5 && piece.end == LSN(rawValue: 9 << 32 + 20) && piece.frames.count == 4)
        #expect(piece.checksum == written.checksum && piece.bytes == written.bytes)
        let places: [(asked: UInt64, found: UInt64)] = [
            (0, 3), (3, 3), (5, 3), (6, 6), (7, 9 << 32), (9 << 32 + 1, 9 << 32 + 8),
        ]
        for (asked, found) in places {
            #expect(piece.frame(at: LSN(rawValue: asked))?.header.first.rawValue == found, "\(asked)")
        }
        #expect(piece.frame(at: LSN(rawValue: 9 << 32 + 9)) == nil)
    }

    /// CHECKPOINT proved it whole, so nothing that is wrong with it may pass for anything else.
    @Test func piece_IsRefused_WhenAnyByteIsWrongOrMissing() throws {
        let disk = FakeFileSystem()
        try write(entries, end: 9 << 32 + 20, on: disk)
        let good = disk.contents(Self.path)!
        for index in good.indices {
            disk.overwrite(Self.path) { $0[index] ^= 0x10 }
            #expect(throws: JournalError.self, "byte \(index)") { _ = try texts(try open(disk), disk) }
            disk.overwrite(Self.path) { $0 = Array(good[..<index]) }
            #expect(throws: JournalError.self, "cut at \(index)") { _ = try texts(try open(disk), disk) }
            disk.overwrite(Self.path) { $0 = good }
        }
        #expect(try texts(try open(disk), disk).count == 5)
    }

    @Test func piece_IsRefused_WhenItIsNotTheNextOfItsLane() throws {
        let disk = FakeFileSystem()
        let first = try write(entries, end: 9 << 32 + 20, on: disk)
        #expect(throws: JournalError.self) { try open(disk, after: first) }
        #expect(throws: JournalError.self) {
            try ParkedPiece.open(Self.path, spool: Self.spool, lane: 2, after: nil, on: disk)
        }
        #expect(throws: JournalError.self) {
            try ParkedPiece.open(Self.path, spool: SpoolID(high: 7, low: 8), lane: 3, after: nil, on: disk)
        }
        try write([entry(9 << 32 + 30, "next")], end: 9 << 32 + 40, after: first, on: disk)
        #expect(try texts(try open(disk, after: first), disk) == ["\(UInt64(9 << 32 + 30)) next"])
        #expect(throws: JournalError.self) { try open(disk) }
        // The same numbers, but of a file before it that is another one.
        var other = first
        other.checksum ^= 1
        #expect(throws: JournalError.self) { try open(disk, after: other) }
    }
}
