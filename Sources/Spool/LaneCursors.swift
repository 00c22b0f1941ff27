import Primitives
import Records

/// How far one lane is.
struct LaneCursor: Hashable {
    /// Its last LSN that is committed at the broker.
    var delivered = LSN.zero
    /// It needs nothing below from the journal: what is its own there is delivered, or parked.
    var scanned = LSN.zero
    /// End of the last frame that holds records of the lane.
    var wanted = LSN.zero
    /// What is its own and undelivered below stands in its parked files; zero while it is not parked.
    var parkedTo = LSN.zero

    /// In the journal.
    var hasWork: Bool { scanned < wanted }
    var isParked: Bool { parkedTo > .zero }
    /// Where the lane begins to read after a start.
    var undelivered: LSN { isParked ? LSN(rawValue: delivered.rawValue + 1) : scanned }

    /// Records of the lane were published among these. A lane that was idle begins there: what lies between is others'.
    mutating func found(in lsns: Range<LSN>) {
        if !hasWork { scanned = max(scanned, lsns.lowerBound) }
        wanted = lsns.upperBound
    }

    /// Only ever forward.
    ///
    /// - Parameter undelivered: nothing of the lane below is undelivered, wherever it stands.
    /// - Returns: true when the lane was parked and now is not: its parked files hold nothing undelivered.
    mutating func advance(delivered: LSN, undelivered: LSN) -> Bool {
        self.delivered = max(self.delivered, delivered)
        scanned = max(scanned, undelivered)
        guard isParked, undelivered >= parkedTo else { return false }
        parkedTo = .zero
        return true
    }

    /// Its own records from `scanned` to here are in its parked files, synced.
    mutating func park(to lsn: LSN) {
        parkedTo = lsn
        scanned = max(scanned, lsn)
    }
}

/// All lanes of a spool; a value behind the spool's lock.
///
/// In CHECKPOINT: form (1 byte, 1), number of lanes (1), then for each `delivered` (8), `scanned` (8) and `parked_to`
/// (8, 0 while it is not parked).
struct LaneCursors {
    private static let form: UInt8 = 1

    var lanes: [LaneCursor]

    init(lanes: Int) { self.lanes = Array(repeating: LaneCursor(), count: lanes) }

    /// No lane needs anything below from the journal.
    func released(durable: LSN) -> LSN {
        lanes.map { $0.hasWork ? $0.scanned : durable }.min() ?? durable
    }

    /// Everything below is delivered or dead.
    func settled(durable: LSN) -> LSN {
        lanes.reduce(released(durable: durable)) { $1.isParked ? min($0, $1.undelivered) : $0 }
    }

    func encoded(durable: LSN) -> [UInt8] {
        var writer = ByteWriter(capacity: 2 + 24 * lanes.count)
        writer.integer(Self.form)
        writer.integer(UInt8(lanes.count))
        for lane in lanes {
            writer.integer(lane.delivered.rawValue)
            writer.integer((lane.hasWork ? lane.scanned : durable).rawValue)
            writer.integer(lane.parkedTo.rawValue)
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
            lanes[index].parkedTo = LSN(rawValue: try reader.integer())
            // (A lane that read ahead of what was published may have been parked past it.)
            lanes[index].scanned = max(lanes[index].scanned, lanes[index].parkedTo)
            // The broker told what it has, and the lane had not yet looked through its files.
            if lanes[index].delivered.rawValue &+ 1 >= lanes[index].parkedTo.rawValue { lanes[index].parkedTo = .zero }
        }
        guard reader.remaining == 0 else { throw MalformedBytes("lane cursors") }
    }
}
