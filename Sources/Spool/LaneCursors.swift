import Primitives
import Records

/// How far one lane is.
struct LaneCursor: Hashable {
    /// Its last LSN that is committed at the broker.
    var delivered = LSN.zero
    /// Nothing of its own below is undelivered.
    var scanned = LSN.zero
    /// End of the last frame that holds records of the lane.
    var wanted = LSN.zero

    var hasWork: Bool { scanned < wanted }

    /// Records of the lane were published among these. A lane that was idle begins there: what lies between is others'.
    mutating func found(in lsns: Range<LSN>) {
        if !hasWork { scanned = max(scanned, lsns.lowerBound) }
        wanted = lsns.upperBound
    }
}

/// All lanes of a spool; a value behind the spool's lock.
///
/// In CHECKPOINT: form (1 byte, 1), number of lanes (1), then for each `delivered` (8), `scanned` (8) and `parked_to`
/// (8, 0 until lanes can be parked).
struct LaneCursors {
    private static let form: UInt8 = 1

    var lanes: [LaneCursor]

    init(lanes: Int) { self.lanes = Array(repeating: LaneCursor(), count: lanes) }

    /// No lane needs anything below.
    func released(durable: LSN) -> LSN {
        lanes.map { $0.hasWork ? $0.scanned : durable }.min() ?? durable
    }

    func encoded(durable: LSN) -> [UInt8] {
        var writer = ByteWriter(capacity: 2 + 24 * lanes.count)
        writer.integer(Self.form)
        writer.integer(UInt8(lanes.count))
        for lane in lanes {
            writer.integer(lane.delivered.rawValue)
            writer.integer((lane.hasWork ? lane.scanned : durable).rawValue)
            writer.integer(UInt64(0))
        }
        return writer.bytes
    }

    /// - Parameter bytes: empty for a new spool.
    init(decoding bytes: [UInt8], lanes count: Int) throws(MalformedBytes) {
        self.init(lanes: count)
        if bytes.isEmpty { return }
        var reader = ByteReader(bytes[...])
        guard try reader.integer(UInt8.self) == Self.form, Int(try reader.integer(UInt8.self)) == count else {
            throw MalformedBytes("lane cursors")
        }
        for index in 0..<count {
            lanes[index].delivered = LSN(rawValue: try reader.integer())
            lanes[index].scanned = LSN(rawValue: try reader.integer())
            guard try reader.integer(UInt64.self) == 0 else { throw MalformedBytes("a parked lane of a newer version") }
        }
        guard reader.remaining == 0 else { throw MalformedBytes("lane cursors") }
    }
}
