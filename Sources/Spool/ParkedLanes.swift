import Journal
import Primitives
import Records

/// Of a lane that is parked.
public struct ParkedRecords: Hashable, Sendable {
    /// In its parked files, delivered ones included: the files go when all of them are delivered.
    public var records: Int
    /// Length of its parked files.
    public var bytes: Int64
}

/// The parked files of one lane.
struct ParkedLane {
    /// In the order of their records.
    var pieces: [ParkedPiece] = []
    /// What a start found broken: of the records past the pieces' end nothing can be read.
    var damage: JournalError?
    /// The change that drained the lane; its files go when a CHECKPOINT that knows of it is synced.
    var drained: UInt64?

    var end: LSN { pieces.last?.end ?? .zero }
    var records: Int { pieces.reduce(0) { $0 + $1.records } }
    var bytes: Int64 { pieces.reduce(0) { $0 + $1.bytes } }

    /// Where the lane's first record at or after `lsn` stands; nil when there is none.
    func place(of lsn: LSN) -> (piece: ParkedPiece, frame: ParkedPiece.Frame)? {
        for piece in pieces where piece.end > lsn {
            if let frame = piece.frame(at: lsn) { return (piece, frame) }
        }
        return nil
    }
}

/// All parked lanes of a spool; a value behind the spool's lock.
struct ParkedLanes {
    /// By lane; those that have files.
    private(set) var lanes: [Int: ParkedLane] = [:]
    /// A bit for each lane whose topics are refused: it is being parked, or is parked.
    private(set) var refused: UInt64 = 0
    /// Changes that CHECKPOINT has to know of: so far, in the last one that was made, in the last that was synced.
    private var changes: UInt64 = 0
    private var encoded: UInt64 = 0
    private var synced: UInt64 = 0

    var bytes: Int64 { lanes.values.reduce(0) { $0 + $1.bytes } }
    var count: Int { refused.nonzeroBitCount }

    func isRefused(_ lane: Int) -> Bool { refused & 1 << UInt64(lane) != 0 }

    /// Why nobody knows which lane's record this is, or was: a start found the files broken that may have it.
    func damage(at lsn: LSN) -> JournalError? {
        lanes.values.lazy.compactMap(\.damage).first { damage in
            guard case .corruption(let lost, _) = damage else { return false }
            return lost.contains { $0.contains(lsn) }
        }
    }

    mutating func recovered(_ parked: ParkedLane, lane: Int) {
        lanes[lane] = parked
        refuse(lane, true)
    }

    mutating func refuse(_ lane: Int, _ refuses: Bool) {
        let bit = UInt64(1) << UInt64(lane)
        if refuses { refused |= bit } else { refused &= ~bit }
    }

    /// One more file, synced.
    mutating func add(_ piece: ParkedPiece, lane: Int) {
        lanes[lane, default: ParkedLane()].pieces.append(piece)
        changes += 1
    }

    /// All of it is delivered: its topics are accepted again.
    mutating func drained(_ lane: Int) {
        changes += 1
        lanes[lane]?.drained = changes
        refuse(lane, false)
    }

    /// CHECKPOINT was made of what is now.
    mutating func checkpointMade() { encoded = changes }

    mutating func checkpointSynced() { synced = encoded }

    /// Lanes whose files nobody needs any more, with the files.
    var removable: [(lane: Int, paths: [String])] {
        lanes.sorted { $0.key < $1.key }.compactMap { lane, parked in
            parked.drained.flatMap { $0 <= synced ? (lane, parked.pieces.map(\.path)) : nil }
        }
    }

    mutating func removed(_ lane: Int) { lanes[lane] = nil }
}
