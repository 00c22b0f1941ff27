public import Journal
import Primitives
public import Records

// What became of a record, for who has its receipt.

extension Spool {
    /// What became of a record. May block on the disk.
    ///
    /// Which places an epoch never used is known only while its segments exist: where everything was settled, a receipt
    /// that was made up is `expired`.
    public func outcome(of lsn: LSN) throws(JournalError) -> Outcome {
        if let known = outcomes.withLock({ $0.recent[lsn] }) { return .delivered(known) }
        guard lsn < journal.written, journal.isKnown(epoch: lsn.epoch) else { return .unknown }
        if let settled = settledOutcome(of: lsn) { return settled }
        let durable = journal.durable
        // Neither wholly delivered nor wholly waiting: the record itself tells its lane.
        let lane: UInt8?
        do throws(JournalError) {
            lane = try self.lane(of: lsn)
        } catch {
            // Its segment may have gone between the two looks.
            if let settled = settledOutcome(of: lsn) { return settled }
            throw error
        }
        // Again: it may have been delivered, and its segment deleted, while the journal was read.
        if let settled = settledOutcome(of: lsn) { return settled }
        guard let lane, Int(lane) < backlogs.count else {
            if lsn >= durable { return .accepted }
            // Its segment is gone, and it is not among what was parked of it.
            return lsn < state.withLock({ $0.cursors.released(durable: $0.durable) }) ? forgotten(lsn) : .unknown
        }
        let delivered = delivered(lane: Int(lane))
        if let known = outcomes.withLock({ $0.recent[lsn] }) { return .delivered(known) }
        return lsn > delivered ? .accepted : forgotten(lsn)
    }

    /// This process remembers what it delivered until it has delivered too much since; of what it recovered it knows
    /// only that it is settled.
    private func forgotten(_ lsn: LSN) -> Outcome { recovered.contains { $0.contains(lsn) } ? .settled : .expired }

    /// nil where the cursors alone do not tell.
    private func settledOutcome(of lsn: LSN) -> Outcome? {
        // The cursors first: `advance` remembers an outcome before they pass it.
        let settled = state.withLock { $0.cursors.settled(durable: $0.durable) }
        if let known = outcomes.withLock({ $0.recent[lsn] }) { return .delivered(known) }
        return lsn < settled ? forgotten(lsn) : nil
    }

    /// The lane of a record that was accepted; nil where no synced record stands. May block on the disk.
    public func lane(of lsn: LSN) throws(JournalError) -> UInt8? {
        let frame: JournalFrame?
        do throws(JournalError) {
            frame = try journal.reader(from: lsn).next()
        } catch {
            // Its segment may have gone meanwhile, because its lane was parked.
            if let lane = try parkedLane(of: lsn) { return lane }
            throw error
        }
        guard let frame, frame.first <= lsn, lsn < frame.end else { return try parkedLane(of: lsn) }
        var lane: UInt8?
        do throws(MalformedBytes) {
            try frame.forEachRecord { at, bytes in if at == lsn { lane = SpoolRecordCodec.lane(of: bytes) } }
        } catch {
            throw .corruption([lsn..<LSN(rawValue: lsn.rawValue + 1)], detail: error.what)
        }
        return lane
    }

    /// The same of a record that stands in parked files only.
    private func parkedLane(of lsn: LSN) throws(JournalError) -> UInt8? {
        let (places, damage) = state.withLock { state in
            let places = state.parked.lanes.compactMap { lane, files in
                files.place(of: lsn).map { (lane, $0.piece, $0.frame) }
            }
            return (places, state.parked.damage(at: lsn))
        }
        for (lane, piece, frame) in places where frame.header.first <= lsn {
            do throws(JournalError) {
                let entries = try piece.entries(of: frame, on: parkedFiles.fileSystem)
                if entries.contains(where: { $0.lsn == lsn }) { return UInt8(lane) }
            } catch {
                // Drained meanwhile.
                if case .io(let error) = error, error.isNotFound { continue }
                throw error
            }
        }
        if let damage { throw damage }
        return nil
    }
}
