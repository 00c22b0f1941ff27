public import Primitives

/// Log sequence number: names one record of one spool for ever. The epoch is in the upper 32 bits, the sequence within
/// it in the lower; every start of a spool takes a new, greater epoch, so no LSN is used twice. Receipts contain it.
public struct LSN: RawRepresentable, Comparable, Hashable, Sendable, CustomStringConvertible {
    public var rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public init(epoch: UInt32, sequence: UInt32) { rawValue = UInt64(epoch) << 32 | UInt64(sequence) }

    public static let zero = LSN(rawValue: 0)

    public var epoch: UInt32 { UInt32(rawValue >> 32) }
    public var sequence: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// The LSN `count` records later in the same epoch. - Precondition: stays within the epoch.
    public func advanced(by count: Int) -> LSN {
        let next = LSN(rawValue: rawValue + UInt64(count))
        precondition(next.epoch == epoch, "sequence overflow")
        return next
    }

    /// The number behind it, as the end of a range.
    public var next: LSN { LSN(rawValue: rawValue + 1) }

    public var description: String { String(rawValue) }
}

/// Identifies a spool: the UUID of its journal.
public struct SpoolID: Hashable, Sendable, CustomStringConvertible {
    /// 16 bytes, big-endian halves as in RFC 9562.
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public static func random() -> SpoolID {
        // RFC 9562, version 4 and variant bits.
        SpoolID(
            high: UInt64.random(in: .min ... .max) & ~0xF000 | 0x4000,
            low: UInt64.random(in: .min ... .max) & ~(0b11 << 62) | 0b10 << 62)
    }

    /// From `bytes`; nil when there are not 16.
    public init?(bytes: ByteSlice) {
        guard bytes.count == 16 else { return nil }
        self.init(
            high: bytes.littleEndian(at: bytes.startIndex, as: UInt64.self).byteSwapped,
            low: bytes.littleEndian(at: bytes.startIndex + 8, as: UInt64.self).byteSwapped)
    }

    /// The 16 bytes in their order (RFC 9562).
    public var bytes: ByteSlice {
        var writer = ByteWriter(capacity: 16)
        writer.integer(high.byteSwapped)
        writer.integer(low.byteSwapped)
        return writer.bytes[...]
    }

    /// Eight characters of lower-case base 32 from the leading 40 bits: the gateway's name in receipts.
    public var short: String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
        let characters = (0..<8).map { alphabet[Int(high >> (59 - 5 * UInt64($0)) & 31)] }
        return String(decoding: characters, as: UTF8.self)
    }

    /// The canonical text form of the UUID.
    public var description: String {
        func hex(_ value: UInt64, _ digits: Int) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: digits - text.utf8.count) + text
        }
        return [
            hex(high >> 32, 8), hex(high >> 16 & 0xFFFF, 4), hex(high & 0xFFFF, 4), hex(low >> 48, 4),
            hex(low & 0xFFFF_FFFF_FFFF, 12),
        ].joined(separator: "-")
    }
}

/// `<spool id of 8 characters>-<LSN>`, what a client keeps to ask what became of its record.
public struct Receipt: Hashable, Sendable, CustomStringConvertible {
    public let spool: String
    public let lsn: LSN

    public init(spool: String, lsn: LSN) {
        self.spool = spool
        self.lsn = lsn
    }

    /// nil when the text is no receipt of any gateway.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == 8,
            parts[0].utf8.allSatisfy({ $0 >= 97 && $0 <= 122 || $0 >= 50 && $0 <= 55 }),
            let first = parts[1].utf8.first, first >= 49, first <= 57, let lsn = UInt64(parts[1])
        else { return nil }
        self.init(spool: String(parts[0]), lsn: LSN(rawValue: lsn))
    }

    public var description: String { "\(spool)-\(lsn)" }
}
