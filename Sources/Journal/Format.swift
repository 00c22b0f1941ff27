import CChecksum
import Primitives
import Records

/// The bytes on disk; docs/JOURNAL.md is normative and repeats these tables. All integers are little-endian.
package enum Format {
    static let version: UInt32 = 1
    static let segmentMagic: UInt64 = 0x0A1A_4745_5352_5250  // "PRRSEG\x1A\n"
    static let frameMagic: UInt32 = 0x4652_5250  // "PRRF"
    /// Frames begin here, so that no frame shares a sector or page with the segment's header.
    static let segmentHeaderBytes = 4096
    static let frameHeaderBytes = 40
    static let alignment = 8
    /// Before each record's bytes: their length.
    static let recordLengthBytes = 4

    static func padded(_ count: Int) -> Int { (count + alignment - 1) & ~(alignment - 1) }

    /// CRC32C, as JOURNAL.md defines it; also of the spool's parked files.
    package static func checksum(_ bytes: some ContiguousBytesView, seed: UInt32) -> UInt32 {
        bytes.withBytes { postrider_crc32c(seed, $0.baseAddress, $0.count) }
    }
}

/// What a checksum can be taken over without a copy.
package protocol ContiguousBytesView {
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result
}

extension ArraySlice<UInt8>: ContiguousBytesView {
    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result { withUnsafeBytes(body) }
}

/// The first 80 bytes of a segment; zeros up to `Format.segmentHeaderBytes` follow.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 8 | magic `PRRSEG\x1A\n` |
/// | 8 | 4 | version |
/// | 12 | 4 | 0 |
/// | 16 | 16 | journal UUID (upper half, lower half) |
/// | 32 | 8 | base: the first LSN of the segment |
/// | 40 | 8 | base of the previous segment, 0 if this is the first |
/// | 48 | 8 | end of the previous segment: one past its last LSN, 0 if this is the first |
/// | 56 | 4 | epoch, equal to that of base |
/// | 60 | 4 | salt, random: the seed of every checksum of a frame here |
/// | 64 | 4 | header checksum of the last frame before this segment, 0 if there is none |
/// | 68 | 8 | 0 |
/// | 76 | 4 | CRC32C of bytes 0 to 75 |
struct SegmentHeader: Equatable {
    static let bytes = 80

    var spool: SpoolID
    var base: LSN
    var previousBase: LSN
    var previousEnd: LSN
    var salt: UInt32
    var previousChecksum: UInt32
    /// Its own checksum: the predecessor of the first frame.
    var checksum: UInt32 = 0

    func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: Format.segmentHeaderBytes)
        writer.integer(Format.segmentMagic)
        writer.integer(Format.version)
        writer.integer(UInt32(0))
        writer.integer(spool.high)
        writer.integer(spool.low)
        writer.integer(base.rawValue)
        writer.integer(previousBase.rawValue)
        writer.integer(previousEnd.rawValue)
        writer.integer(base.epoch)
        writer.integer(salt)
        writer.integer(previousChecksum)
        writer.integer(UInt64(0))
        writer.integer(Format.checksum(writer.bytes[...], seed: 0))
        writer.bytes += [UInt8](repeating: 0, count: Format.segmentHeaderBytes - writer.bytes.count)
        return writer.bytes
    }

    init(
        spool: SpoolID, base: LSN, previousBase: LSN, previousEnd: LSN, salt: UInt32, previousChecksum: UInt32
    ) {
        self.spool = spool
        self.base = base
        self.previousBase = previousBase
        self.previousEnd = previousEnd
        self.salt = salt
        self.previousChecksum = previousChecksum
        checksum = encoded().littleEndian(at: Self.bytes - 4, as: UInt32.self)
    }

    /// - Throws: in words, what is wrong with it.
    init(decoding bytes: ByteSlice) throws(MalformedBytes) {
        guard bytes.count >= Self.bytes else { throw MalformedBytes("segment shorter than its header") }
        let start = bytes.startIndex
        guard bytes.littleEndian(at: start, as: UInt64.self) == Format.segmentMagic else {
            throw MalformedBytes("no segment magic")
        }
        checksum = bytes.littleEndian(at: start + 76, as: UInt32.self)
        guard Format.checksum(bytes[start..<start + 76], seed: 0) == checksum else {
            throw MalformedBytes("segment header checksum")
        }
        let version = bytes.littleEndian(at: start + 8, as: UInt32.self)
        guard version == Format.version else { throw MalformedBytes("segment version \(version)") }
        spool = SpoolID(high: bytes.littleEndian(at: start + 16), low: bytes.littleEndian(at: start + 24))
        base = LSN(rawValue: bytes.littleEndian(at: start + 32))
        previousBase = LSN(rawValue: bytes.littleEndian(at: start + 40))
        previousEnd = LSN(rawValue: bytes.littleEndian(at: start + 48))
        let epoch = bytes.littleEndian(at: start + 56, as: UInt32.self)
        salt = bytes.littleEndian(at: start + 60)
        previousChecksum = bytes.littleEndian(at: start + 64)
        guard epoch == base.epoch, previousEnd <= base, previousBase <= previousEnd else {
            throw MalformedBytes("segment header fields contradict each other")
        }
    }

    /// `<base LSN, 20 digits>.seg`
    static func fileName(base: LSN) -> String {
        let digits = base.description
        return String(repeating: "0", count: 20 - digits.utf8.count) + digits + ".seg"
    }

    static func base(fromFileName name: String) -> LSN? {
        guard name.utf8.count == 24, name.hasSuffix(".seg"), let value = UInt64(name.dropLast(4)) else { return nil }
        return LSN(rawValue: value)
    }
}

/// The 40 bytes before the records of one group commit.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 4 | magic `PRRF` |
/// | 4 | 4 | CRC32C of bytes 8 to 39, seeded with the segment's salt |
/// | 8 | 4 | length of the body in bytes, without padding |
/// | 12 | 4 | CRC32C of the body, seeded with the salt |
/// | 16 | 4 | header checksum of the previous frame of the segment; of the first, the segment header's |
/// | 20 | 4 | number of records, 0 for an idle frame |
/// | 24 | 8 | LSN of the first record; for an idle frame, the next that will be given |
/// | 32 | 8 | `durable_lsn`: every record below it was synced when this frame was written |
struct FrameHeader: Equatable {
    var bodyBytes: Int
    var bodyChecksum: UInt32
    var previousChecksum: UInt32
    var count: Int
    var first: LSN
    var durable: LSN
    var checksum: UInt32 = 0

    /// One past the last LSN.
    var end: LSN { LSN(rawValue: first.rawValue + UInt64(count)) }

    /// Header, body and padding.
    var frameBytes: Int { Format.frameHeaderBytes + Format.padded(bodyBytes) }

    /// Writes the header over the first 40 bytes of `frame`, computing its checksum.
    mutating func encode(over frame: inout [UInt8], salt: UInt32) {
        frame.storeLittleEndian(Format.frameMagic, at: 0)
        frame.storeLittleEndian(UInt32(bodyBytes), at: 8)
        frame.storeLittleEndian(bodyChecksum, at: 12)
        frame.storeLittleEndian(previousChecksum, at: 16)
        frame.storeLittleEndian(UInt32(count), at: 20)
        frame.storeLittleEndian(first.rawValue, at: 24)
        frame.storeLittleEndian(durable.rawValue, at: 32)
        checksum = Format.checksum(frame[8..<Format.frameHeaderBytes], seed: salt)
        frame.storeLittleEndian(checksum, at: 4)
    }

    /// nil unless magic, checksum and ranges are right. Does not look at the body.
    ///
    /// - Parameters:
    ///   - bytes: at least the header; may be longer.
    ///   - bytesLeft: from the start of the header to the end of the segment's file.
    init?(decoding bytes: ByteSlice, bytesLeft: Int, segment: SegmentHeader) {
        guard bytes.count >= Format.frameHeaderBytes else { return nil }
        let start = bytes.startIndex
        guard bytes.littleEndian(at: start, as: UInt32.self) == Format.frameMagic else { return nil }
        checksum = bytes.littleEndian(at: start + 4)
        let covered = bytes[start + 8..<start + Format.frameHeaderBytes]
        guard Format.checksum(covered, seed: segment.salt) == checksum else { return nil }
        bodyBytes = Int(bytes.littleEndian(at: start + 8, as: UInt32.self))
        bodyChecksum = bytes.littleEndian(at: start + 12)
        previousChecksum = bytes.littleEndian(at: start + 16)
        count = Int(bytes.littleEndian(at: start + 20, as: UInt32.self))
        first = LSN(rawValue: bytes.littleEndian(at: start + 24))
        durable = LSN(rawValue: bytes.littleEndian(at: start + 32))
        guard frameBytes <= bytesLeft,
            count * Format.recordLengthBytes <= bodyBytes, (count == 0) == (bodyBytes == 0),
            first >= segment.base, first.epoch == segment.base.epoch,
            UInt64(first.sequence) + UInt64(count) <= UInt64(UInt32.max), durable <= first
        else { return nil }
    }

    init(
        bodyBytes: Int, bodyChecksum: UInt32, previousChecksum: UInt32, count: Int, first: LSN, durable: LSN
    ) {
        self.bodyBytes = bodyBytes
        self.bodyChecksum = bodyChecksum
        self.previousChecksum = previousChecksum
        self.count = count
        self.first = first
        self.durable = durable
    }
}
