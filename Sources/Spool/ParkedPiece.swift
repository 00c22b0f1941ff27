import Journal
import Primitives
import Records

/// One record of a parked lane: its LSN in the journal that it came from, and its bytes there.
typealias ParkedEntry = (lsn: LSN, bytes: ByteSlice)

/// One parked file, with the places of its frames: what a reader needs to find an LSN. Some 60 bytes for each frame.
struct ParkedPiece: Sendable {
    struct Frame: Sendable {
        /// Of its header, from the start of the file.
        var offset: Int64
        var header: ParkedFrameHeader
    }

    var path: String
    var header: ParkedHeader
    var frames: [Frame] = []
    /// The lane's undelivered records below stand in this file or an earlier one.
    var end: LSN
    var records = 0
    /// Length of the file.
    var bytes = Int64(ParkedHeader.bytes)
    /// Header checksum of its last frame; when it is whole, of its end frame.
    var checksum: UInt32

    /// The frame that holds `lsn`, or the first after it; nil when all are before it.
    func frame(at lsn: LSN) -> Frame? {
        var low = 0
        var high = frames.count
        while low < high {
            let middle = (low + high) / 2
            if frames[middle].header.last < lsn { low = middle + 1 } else { high = middle }
        }
        return low < frames.count ? frames[low] : nil
    }

    /// The records of one of its frames, in LSN order. Blocks on the disk.
    ///
    /// - Throws: `JournalError.corruption` when they are broken, `.io` when the disk refused.
    func entries(of frame: Frame, on fileSystem: any FileSystem) throws(JournalError) -> [ParkedEntry] {
        let bytes = try body(of: frame, on: fileSystem)
        do throws(MalformedBytes) {
            guard bytes.count == frame.header.bodyBytes,
                Format.checksum(bytes[...], seed: header.salt) == frame.header.bodyChecksum
            else { throw MalformedBytes("checksum") }
            var entries: [ParkedEntry] = []
            entries.reserveCapacity(frame.header.count)
            var reader = ByteReader(bytes[...])
            while let entry = try Self.next(&reader) { entries.append(entry) }
            return entries
        } catch {
            let lost = frame.header.first..<LSN(rawValue: frame.header.last.rawValue + 1)
            throw .corruption([lost], detail: "\(path): \(error.what)")
        }
    }

    /// What stands in a frame whose body's checksum is wrong, as far as lengths and LSNs make sense. Blocks on the
    /// disk.
    func unverifiedEntries(of frame: Frame, on fileSystem: any FileSystem) throws(JournalError) -> [ParkedEntry] {
        let bytes = try body(of: frame, on: fileSystem)
        var entries: [ParkedEntry] = []
        var reader = ByteReader(bytes[...])
        do throws(MalformedBytes) {
            while entries.count < frame.header.count, let entry = try Self.next(&reader) {
                guard entry.lsn >= entries.last?.lsn.next ?? frame.header.first, entry.lsn <= frame.header.last else {
                    break
                }
                entries.append(entry)
            }
        } catch {
            // Where a length broke, nothing behind it can be found.
        }
        return entries
    }

    private func body(of frame: Frame, on fileSystem: any FileSystem) throws(JournalError) -> [UInt8] {
        do throws(FileSystemError) {
            let file = try fileSystem.open(path, .readOnly)
            return try file.read(frame.header.bodyBytes, at: frame.offset + Int64(ParkedFrameHeader.bytes))
        } catch {
            throw .io(error)
        }
    }

    private static func next(_ reader: inout ByteReader) throws(MalformedBytes) -> ParkedEntry? {
        guard reader.remaining > 0 else { return nil }
        let lsn = LSN(rawValue: try reader.integer())
        return (lsn, try reader.slice(Int(reader.integer(UInt32.self))))
    }

    /// Finds the frames of a file that is whole. Bodies are not read: that is for who reads the records. Blocks on the
    /// disk.
    ///
    /// - Parameter previous: the lane's file before.
    /// - Throws: `JournalError.unreadable`, with what is wrong, or `.io`.
    static func open(
        _ path: String, spool: SpoolID, lane: Int, after previous: ParkedPiece?, on fileSystem: any FileSystem
    ) throws(JournalError) -> ParkedPiece {
        let file: any File
        let size: Int64
        var head: [UInt8]
        do throws(FileSystemError) {
            file = try fileSystem.open(path, .readOnly)
            size = try file.size()
            head = try file.read(ParkedHeader.bytes, at: 0)
        } catch {
            throw .io(error)
        }
        var piece: ParkedPiece?
        while true {
            do throws(MalformedBytes) {
                if piece != nil {
                    if try piece?.take(head, fileBytes: size) == true, let piece { return piece }
                } else {
                    let first = try ParkedPiece(path: path, header: head)
                    try first.checkPlace(spool: spool, lane: lane, after: previous)
                    piece = first
                }
            } catch {
                throw .unreadable(path: path, reason: error.what)
            }
            do throws(FileSystemError) {
                head = try file.read(ParkedFrameHeader.bytes, at: piece?.bytes ?? 0)
            } catch {
                throw .io(error)
            }
        }
    }

    private init(path: String, header bytes: [UInt8]) throws(MalformedBytes) {
        let header = try ParkedHeader(decoding: bytes)
        self.init(path: path, header: header, encoded: bytes)
    }

    /// Nothing but its header.
    init(path: String, header: ParkedHeader, encoded: [UInt8]) {
        self.path = path
        self.header = header
        end = header.from
        checksum = ParkedHeader.checksum(of: encoded)
    }

    private func checkPlace(spool: SpoolID, lane: Int, after previous: ParkedPiece?) throws(MalformedBytes) {
        guard header.spool == spool, header.lane == lane, header.ordinal == (previous?.header.ordinal ?? -1) + 1,
            header.previousChecksum == previous?.checksum ?? 0, header.from >= previous?.end ?? .zero
        else { throw MalformedBytes("it is not the file that follows") }
    }

    /// Adds the next frame. - Returns: true when it is the end of the file.
    private mutating func take(_ head: [UInt8], fileBytes: Int64) throws(MalformedBytes) -> Bool {
        let frame = try ParkedFrameHeader(decoding: head, salt: header.salt)
        guard frame.previousChecksum == checksum, frame.first >= end,
            Int64(frame.bodyBytes) <= fileBytes - bytes - Int64(ParkedFrameHeader.bytes)
        else { throw MalformedBytes("a frame that does not follow, at \(bytes)") }
        if frame.count == 0 {
            guard frame.bodyBytes == 0, frame.last.rawValue == UInt64(records) else {
                throw MalformedBytes("end of \(frame.last) records instead of \(records)")
            }
            end = frame.first
        } else {
            guard frame.first <= frame.last, frame.count * ParkedFormat.entryOverheadBytes <= frame.bodyBytes else {
                throw MalformedBytes("a frame that contradicts itself, at \(bytes)")
            }
            frames.append(Frame(offset: bytes, header: frame))
        }
        add(frame)
        return frame.count == 0
    }

    /// Counts a frame that stands at its end.
    mutating func add(_ frame: ParkedFrameHeader) {
        checksum = frame.checksum
        records += frame.count
        bytes += Int64(ParkedFrameHeader.bytes + frame.bodyBytes)
        if frame.count > 0 { end = LSN(rawValue: frame.last.rawValue + 1) }
    }
}

/// Writes one parked file. One thread; blocks on the disk.
struct ParkedPieceWriter {
    /// A sync at least every so many bytes, so that no single one keeps the journal's waiting.
    private static let syncBytes = 8 << 20

    private var piece: ParkedPiece
    private let file: any File
    private let frameBytes: Int
    private var body = ByteWriter()
    private var gathered: (count: Int, first: LSN, last: LSN)?
    private var unsynced = 0

    init(
        path: String, header: ParkedHeader, frameBytes: Int, on fileSystem: any FileSystem
    ) throws(FileSystemError) {
        self.frameBytes = frameBytes
        file = try fileSystem.open(path, .createOrTruncate)
        let encoded = header.encoded()
        try file.writeAll(encoded, at: 0)
        piece = ParkedPiece(path: path, header: header, encoded: encoded)
    }

    /// Length of the file if it were finished now.
    var bytes: Int64 {
        piece.bytes + Int64(body.bytes.count) + Int64(ParkedFrameHeader.bytes) * (gathered == nil ? 1 : 2)
    }

    /// - Precondition: after everything added before.
    mutating func add(_ entry: ParkedEntry) throws(FileSystemError) {
        body.integer(entry.lsn.rawValue)
        body.integer(UInt32(entry.bytes.count))
        body.bytes.append(contentsOf: entry.bytes)
        gathered = (gathered.map { $0.count + 1 } ?? 1, gathered?.first ?? entry.lsn, entry.lsn)
        if body.bytes.count >= frameBytes { try flush() }
    }

    private mutating func flush() throws(FileSystemError) {
        guard let (count, first, last) = gathered else { return }
        let offset = piece.bytes
        let header = try write(count: count, first: first, last: last)
        piece.frames.append(ParkedPiece.Frame(offset: offset, header: header))
        body.bytes.removeAll(keepingCapacity: body.bytes.capacity <= 2 * frameBytes)
        gathered = nil
    }

    private mutating func write(count: Int, first: LSN, last: LSN) throws(FileSystemError) -> ParkedFrameHeader {
        let salt = piece.header.salt
        var header = ParkedFrameHeader(
            bodyBytes: body.bytes.count, bodyChecksum: Format.checksum(body.bytes[...], seed: salt),
            previousChecksum: piece.checksum, count: count, first: first, last: last)
        try file.writeAll(header.encoded(salt: salt), at: piece.bytes)
        try file.writeAll(body.bytes, at: piece.bytes + Int64(ParkedFrameHeader.bytes))
        unsynced += body.bytes.count
        if unsynced >= Self.syncBytes {
            try file.syncData()
            unsynced = 0
        }
        piece.add(header)
        return header
    }

    /// Writes what was gathered and the end, and syncs the file; its name is the caller's to sync.
    ///
    /// - Parameter end: nothing of the lane that should be in the file lies between the last record and here.
    mutating func finish(at end: LSN) throws(FileSystemError) -> ParkedPiece {
        try flush()
        body.bytes.removeAll()
        _ = try write(count: 0, first: end, last: LSN(rawValue: UInt64(piece.records)))
        piece.end = end
        try file.syncData()
        file.close()
        return piece
    }
}
