import Broker
import Primitives

/// Hand-outs so far of the records in a range of offsets.
struct AttemptRun: Hashable, Sendable {
    var offsets: Range<Int64>
    var attempts: UInt32
}

/// What a commit says beyond its offset: which offsets after it are acknowledged, and how often others were handed out.
///
/// It speaks of offsets, not of counts of records: compaction between two processes removes records, and a count would
/// then mark one that nobody acknowledged. Offsets in gaps count as acknowledged where that makes the text shorter;
/// no record ever appears there.
///
/// Text: `p1:` and base64 of: form (0 runs, 1 bitmap); runs: count, then for each the distance from the end of the one
/// before and the length; bitmap: length in bytes, then the bytes, least bit first, bit 0 the committed offset; then up
/// to the end runs of attempts: distance, length, attempts. Numbers are LEB128. Attempts that do not fit are left out,
/// low ones first: after a restart those records may be handed out more often than `max_deliveries` says.
struct CommitMetadata: Equatable, Sendable {
    static let prefix = "p1:"
    /// So many runs fit however long their numbers are.
    static let runsAlwaysFit = 128
    /// A window of so many offsets fits as a bitmap whatever is acknowledged in it.
    static let windowOffsetsMax: Int64 = 16_384
    static let bytesMax = (OffsetStoreLimits.metadataBytesMax - prefix.utf8.count) / 4 * 3

    /// Ascending, not touching, none at or below the committed offset.
    var acknowledged: [Range<Int64>] = []
    /// Ascending.
    var attempts: [AttemptRun] = []

    /// Empty when there is nothing to say. Where the runs do not fit, all of what was handed out and acknowledged lies
    /// in the window (`PartitionState.admits`), and beyond it there can only be a gap at the end: the bitmap tells of
    /// the window alone.
    func encode(committed: Int64) -> String {
        if acknowledged.isEmpty, attempts.isEmpty { return "" }
        var bytes = runs(committed)
        if let last = acknowledged.last {
            let isWhole = last.upperBound - committed <= Self.windowOffsetsMax
            if isWhole || bytes.count > Self.bytesMax {
                let bitmap = bitmap(committed, upTo: min(last.upperBound, committed + Self.windowOffsetsMax))
                if bitmap.count < bytes.count { bytes = bitmap }
            }
        }
        return Self.prefix + Base64.encode(bytes + attempts(committed, bytesMax: Self.bytesMax - bytes.count))
    }

    private func attempts(_ committed: Int64, bytesMax: Int) -> [UInt8] {
        var least: UInt32 = 1
        while true {
            var bytes: [UInt8] = []
            var previous = committed
            var isWhole = true
            for run in attempts where run.attempts >= least {
                var piece: [UInt8] = []
                piece.appendVarint(UInt64(run.offsets.lowerBound - previous))
                piece.appendVarint(UInt64(run.offsets.count))
                piece.appendVarint(UInt64(run.attempts))
                guard bytes.count + piece.count <= bytesMax else {
                    isWhole = false
                    break
                }
                bytes += piece
                previous = run.offsets.upperBound
            }
            // Lower ones made room enough, or doing without more of them would leave nothing.
            guard !isWhole, attempts.contains(where: { $0.attempts > least }) else { return bytes }
            least = least > .max / 2 ? .max : least * 2
        }
    }

    private func runs(_ committed: Int64) -> [UInt8] {
        var bytes: [UInt8] = [0]
        bytes.appendVarint(UInt64(acknowledged.count))
        var previous = committed
        for range in acknowledged {
            bytes.appendVarint(UInt64(range.lowerBound - previous))
            bytes.appendVarint(UInt64(range.count))
            previous = range.upperBound
        }
        return bytes
    }

    private func bitmap(_ committed: Int64, upTo end: Int64) -> [UInt8] {
        var bits = [UInt8](repeating: 0, count: Int(end - committed + 7) / 8)
        for range in acknowledged where range.lowerBound < end {
            for offset in range.clamped(to: committed..<end) {
                bits[Int(offset - committed) / 8] |= 1 << UInt8((offset - committed) % 8)
            }
        }
        var bytes: [UInt8] = [1]
        bytes.appendVarint(UInt64(bits.count))
        return bytes + bits
    }

    init(acknowledged: [Range<Int64>] = [], attempts: [AttemptRun] = []) {
        self.acknowledged = acknowledged
        self.attempts = attempts
    }

    /// Text without our prefix is another tool's and says nothing to us.
    init(decoding text: String, committed: Int64) throws(MalformedBytes) {
        guard text.hasPrefix(Self.prefix) else { return }
        guard let bytes = Base64.decode(text.dropFirst(Self.prefix.count)) else { throw MalformedBytes("base64") }
        var reader = ByteReader(bytes[...])
        switch try reader.integer(UInt8.self) {
        case 0:
            let count = try reader.varint()
            // A run takes two bytes at least.
            guard count <= UInt64(reader.remaining / 2) else { throw MalformedBytes("run count \(count)") }
            var end = committed
            for _ in 0..<count {
                let range = try reader.range(after: end)
                acknowledged.append(range)
                end = range.upperBound
            }
        case 1:
            let count = try reader.varint()
            guard count <= UInt64(reader.remaining) else { throw MalformedBytes("bitmap length \(count)") }
            for (index, byte) in try reader.slice(Int(count)).enumerated() {
                for bit in 0..<8 where byte & 1 << UInt8(bit) != 0 { try set(committed, index * 8 + bit) }
            }
        case let form: throw MalformedBytes("metadata form \(form)")
        }
        var end = committed
        while reader.remaining > 0 {
            let range = try reader.range(after: end)
            attempts.append(AttemptRun(offsets: range, attempts: UInt32(clamping: try reader.varint())))
            end = range.upperBound
        }
    }

    private mutating func set(_ committed: Int64, _ bit: Int) throws(MalformedBytes) {
        let (offset, overflow) = committed.addingReportingOverflow(Int64(bit))
        guard !overflow, offset < Int64.max else { throw MalformedBytes("offset overflow") }
        if let last = acknowledged.last, last.upperBound == offset {
            acknowledged[acknowledged.count - 1] = last.lowerBound..<offset + 1
        } else {
            acknowledged.append(offset..<offset + 1)
        }
    }
}

extension [UInt8] {
    fileprivate mutating func appendVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }
}

extension ByteReader {
    fileprivate mutating func varint() throws(MalformedBytes) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 63, by: 7) {
            let byte = try integer(UInt8.self)
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw MalformedBytes("number over 63 bits")
    }

    fileprivate mutating func range(after end: Int64) throws(MalformedBytes) -> Range<Int64> {
        let (distance, length) = (Int64(try varint()), Int64(try varint()))
        let (lower, first) = end.addingReportingOverflow(distance)
        let (upper, second) = lower.addingReportingOverflow(length)
        guard !first, !second, length > 0 else { throw MalformedBytes("range") }
        return lower..<upper
    }
}
