import Primitives
import Records

/// Watches how lanes move, and says which one is to be parked: one that stands still while another delivers. A pure
/// value.
struct ParkingWatch {
    private struct Seen {
        var delivered: LSN
        var scanned: LSN
        /// When it last moved, or had nothing to do.
        var moved: MonotonicInstant
        /// nil: it delivered nothing yet.
        var deliveredAt: MonotonicInstant?
    }

    private let after: Duration
    private var seen: [Seen] = []

    init(after: Duration) { self.after = after }

    /// To be called every so often, with what is now.
    mutating func observe(_ cursors: LaneCursors, now: MonotonicInstant) {
        guard seen.count == cursors.lanes.count else {
            seen = cursors.lanes.map { Seen(delivered: $0.delivered, scanned: $0.scanned, moved: now) }
            return
        }
        for (index, lane) in cursors.lanes.enumerated() {
            let delivers = lane.delivered != seen[index].delivered
            // A lane looks through what is others' too; but that of a parked one moves by being parked.
            let looks = !lane.isParked && lane.scanned != seen[index].scanned
            if delivers { seen[index].deliveredAt = now }
            if delivers || looks || !lane.hasWork { seen[index].moved = now }
            seen[index].delivered = lane.delivered
            seen[index].scanned = lane.scanned
        }
    }

    /// Lanes that stand still although another delivers, those that pin most first.
    ///
    /// - Precondition: `observe` at `now`.
    func stuck(_ cursors: LaneCursors, now: MonotonicInstant) -> [Int] {
        cursors.lanes.indices
            .filter { lane in
                guard cursors.lanes[lane].hasWork, now - seen[lane].moved >= after else { return false }
                return cursors.lanes.indices.contains { isWell($0, while: lane, cursors, now) }
            }
            .sorted { cursors.lanes[$0].scanned < cursors.lanes[$1].scanned }
    }

    /// It delivered lately; or at least since the other one stands, and has had nothing to do since: at the quota
    /// nobody gets anything to deliver.
    private func isWell(_ lane: Int, while stuck: Int, _ cursors: LaneCursors, _ now: MonotonicInstant) -> Bool {
        guard lane != stuck, let deliveredAt = seen[lane].deliveredAt else { return false }
        if now - deliveredAt < after { return true }
        // (What both did between two looks says nothing about which was first.)
        let isLater = seen[stuck].deliveredAt.map { deliveredAt > $0 } ?? true
        return isLater && deliveredAt >= seen[stuck].moved && !cursors.lanes[lane].hasWork
    }
}
