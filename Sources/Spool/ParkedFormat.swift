import Journal
import Primitives
import Records

/// The bytes of a parked file; docs/JOURNAL.md is normative and repeats these tables. All integers are little-endian.
///
/// A file is written once, synced, and only then named by CHECKPOINT (`parked_to`): what CHECKPOINT names is whole, or
/// damaged; there is no torn tail.
enum ParkedFormat {
    static let magic: UInt64 = 0x0A1A_4B52_4150_5250  // "PRPARK\x1A\n"
    static let frameMagic: UInt32 = 0x4650_5250  // "PRPF"
    static let version: UInt32 = 1
    /// Before each record's bytes: its LSN and their length.
    static let entryOverheadBytes = 12
}

/// The first 56 bytes of a parked file.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 8 | magic `PRPARK\x1A\n` |
/// | 8 | 4 | version |
/// | 12 | 4 | lane |
/// | 16 | 16 | journal UUID (upper half, lower half) |
/// | 32 | 4 | ordinal: 0 for the lane's first file |
/// | 36 | 4 | salt, random: the seed of every checksum of a frame here |
/// | 40 | 8 | from: the lane's records before are delivered, or in earlier files |
/// | 48 | 4 | header checksum of the end frame of the file before, 0 in the first |
/// | 52 | 4 | CRC32C of bytes 0 to 51 |
struct ParkedHeader: Equatable {
    static let bytes = 56

    var spool: SpoolID
    var lane: Int
    var ordinal: Int
    var salt: UInt32
    var from: LSN
    var previousChecksum: UInt32

    func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: Self.bytes)
        writer.integer(ParkedFormat.magic)
        writer.integer(ParkedFormat.version)
        writer.integer(UInt32(lane))
        writer.integer(spool.high)
        writer.integer(spool.low)
        writer.integer(UInt32(ordinal))
        writer.integer(salt)
        writer.integer(from.rawValue)
        writer.integer(previousChecksum)
        writer.integer(Format.checksum(writer.bytes[...], seed: 0))
        return writer.bytes
    }

    /// The header's own checksum: the predecessor of the first frame.
    static func checksum(of encoded: [UInt8]) -> UInt32 { encoded.littleEndian(at: bytes - 4) }
}

extension ParkedHeader {
    /// - Throws: in words, what is wrong with it.
    init(decoding bytes: [UInt8]) throws(MalformedBytes) {
        guard bytes.count == Self.bytes else { throw MalformedBytes("shorter than its header") }
        guard Format.checksum(bytes[..<(Self.bytes - 4)], seed: 0) == Self.checksum(of: bytes) else {
            throw MalformedBytes("header checksum")
        }
        var reader = ByteReader(bytes[...])
        guard try reader.integer(UInt64.self) == ParkedFormat.magic else { throw MalformedBytes("no magic") }
        let version = try reader.integer(UInt32.self)
        guard version == ParkedFormat.version else { throw MalformedBytes("version \(version)") }
        lane = Int(try reader.integer(UInt32.self))
        let (high, low) = (try reader.integer(UInt64.self), try reader.integer(UInt64.self))
        spool = SpoolID(high: high, low: low)
        ordinal = Int(try reader.integer(UInt32.self))
        salt = try reader.integer()
        from = LSN(rawValue: try reader.integer())
        previousChecksum = try reader.integer()
    }
}

/// The 40 bytes before the entries of a frame. The last frame of a file is its end: without entries, `first` is where
/// the file's range of LSNs ends, and `last` is how many records the file has.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 4 | magic `PRPF` |
/// | 4 | 4 | CRC32C of bytes 8 to 39, seeded with the file's salt |
/// | 8 | 4 | length of the body in bytes |
/// | 12 | 4 | CRC32C of the body, seeded with the salt |
/// | 16 | 4 | header checksum of the previous frame; of the first, the file header's |
/// | 20 | 4 | number of entries, 0 for the end |
/// | 24 | 8 | LSN of the first entry |
/// | 32 | 8 | LSN of the last entry |
struct ParkedFrameHeader: Equatable {
    static let bytes = 40

    var bodyBytes: Int
    var bodyChecksum: UInt32
    var previousChecksum: UInt32
    var count: Int
    var first: LSN
    var last: LSN
    var checksum: UInt32 = 0

    mutating func encoded(salt: UInt32) -> [UInt8] {
        var writer = ByteWriter(capacity: Self.bytes)
        writer.integer(ParkedFormat.frameMagic)
        writer.integer(UInt32(0))
        writer.integer(UInt32(bodyBytes))
        writer.integer(bodyChecksum)
        writer.integer(previousChecksum)
        writer.integer(UInt32(count))
        writer.integer(first.rawValue)
        writer.integer(last.rawValue)
        checksum = Format.checksum(writer.bytes[8...], seed: salt)
        writer.replace(at: 4, with: checksum)
        return writer.bytes
    }
}

extension ParkedFrameHeader {
    /// - Throws: in words, what is wrong with it. The body is not looked at.
    init(decoding bytes: [UInt8], salt: UInt32) throws(MalformedBytes) {
        guard bytes.count == Self.bytes else { throw MalformedBytes("the file ends within a frame") }
        var reader = ByteReader(bytes[...])
        guard try reader.integer(UInt32.self) == ParkedFormat.frameMagic else { throw MalformedBytes("no frame") }
        checksum = try reader.integer()
        guard Format.checksum(bytes[8...], seed: salt) == checksum else { throw MalformedBytes("frame checksum") }
        bodyBytes = Int(try reader.integer(UInt32.self))
        bodyChecksum = try reader.integer()
        previousChecksum = try reader.integer()
        count = Int(try reader.integer(UInt32.self))
        first = LSN(rawValue: try reader.integer())
        last = LSN(rawValue: try reader.integer())
    }
}
