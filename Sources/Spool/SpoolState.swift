import Primitives
import Records

/// What every request, every commit and every lane of a spool looks at; a value behind one lock.
struct SpoolState {
    var cursors: LaneCursors
    var parked: ParkedLanes
    var usedBytes: Int64 = 0
    /// Why intake is closed for a reason outside the disk.
    var closedCode: String?
    /// A bit for each lane that cannot read what it has here, and so delivers nothing any more.
    var damaged: UInt64 = 0
    /// Everything below is synced.
    var durable: LSN

    /// Why a request for these lanes is not taken; nil when it is. (The journal may still refuse it.)
    ///
    /// - Parameter lanes: a bit for each.
    func refusal(lanes: UInt64, bytesMax: Int64) -> Refusal? {
        if let closedCode { return .closed(closedCode) }
        if damaged & lanes != 0 { return .damaged(lane: (damaged & lanes).trailingZeroBitCount) }
        if parked.refused & lanes != 0 { return .backlog(lane: (parked.refused & lanes).trailingZeroBitCount) }
        return usedBytes >= bytesMax ? .quota : nil
    }

    enum Refusal {
        case closed(String)
        case damaged(lane: Int)
        case backlog(lane: Int)
        case quota
    }

    mutating func advance(lane: Int, delivered: LSN, undelivered: LSN) {
        if cursors.lanes[lane].advance(delivered: delivered, undelivered: undelivered) { parked.drained(lane) }
    }

    // MARK: - Parking

    /// Where the copy of a lane's records begins.
    struct ParkingStart: Equatable {
        var delivered: LSN
        var parkedTo: LSN
        var from: LSN
        /// Everything up to here is to be copied, at least.
        var durable: LSN
        var ordinal: Int
        var previousChecksum: UInt32
        /// Bytes that all parked files have.
        var parkedBytes: Int64
    }

    /// nil when the lane needs nothing from the journal, or its last parked files are not gone yet.
    func parkingStart(_ lane: Int) -> ParkingStart? {
        let (cursor, files) = (cursors.lanes[lane], parked.lanes[lane])
        guard cursor.hasWork, files?.drained == nil, files?.damage == nil else { return nil }
        return ParkingStart(
            delivered: cursor.delivered, parkedTo: cursor.parkedTo, from: cursor.scanned, durable: durable,
            ordinal: files?.pieces.count ?? 0, previousChecksum: files?.pieces.last?.checksum ?? 0,
            parkedBytes: parked.bytes)
    }

    /// The lane's records from `start` to `end` were copied and synced.
    ///
    /// - Parameter piece: nil when there was none.
    /// - Returns: false when the lane delivered meanwhile: it is not parked (further), and the copy is to go.
    mutating func park(_ lane: Int, _ start: ParkingStart, piece: ParkedPiece?, end: LSN) -> Bool {
        let cursor = cursors.lanes[lane]
        guard cursor.delivered == start.delivered, cursor.parkedTo == start.parkedTo else { return false }
        if let piece {
            parked.add(piece, lane: lane)
            cursors.lanes[lane].park(to: end)
        } else {
            cursors.lanes[lane].scanned = max(cursor.scanned, end)
        }
        return true
    }

    /// A copy ended, or could not be made.
    mutating func parkingEnded(_ lane: Int) {
        if !cursors.lanes[lane].isParked { parked.refuse(lane, false) }
    }
}
