public import Journal
import Outcomes
import Primitives
public import Records
public import Store

// What became of a record, for who has its receipt.

/// Why outcomes cannot be told now.
public enum OutcomeError: Error, Sendable, CustomStringConvertible {
    case spool(JournalError)
    case kept(StoreError)

    public var description: String {
        switch self {
        case .spool(let error): error.description
        case .kept(let error): error.description
        }
    }
}

extension Spool {
    /// What became of a record. May block on the disk.
    public func outcome(of lsn: LSN) throws(OutcomeError) -> Outcome { try outcomes(of: [lsn])[0] }

    /// What became of records, in their order. May block on the disk.
    ///
    /// From memory, then from what is kept, and what is found nowhere from the lanes' cursors. Those are looked at
    /// before a last look at what is kept: who finds a record settled finds its place as well.
    ///
    /// - Parameter lsns: sorted.
    public func outcomes(of lsns: [LSN]) throws(OutcomeError) -> [Outcome] {
        let first = try find(lsns)
        let open = lsns.indices.filter { first.deliveries[$0] == nil }
        var outcomes = first.deliveries.map { $0.map(Outcome.delivered) ?? .unknown }
        if open.isEmpty { return outcomes }
        var settled: [Int] = []
        for (index, standing) in zip(open, try standings(of: open.map { lsns[$0] })) {
            switch standing {
            case .waits: outcomes[index] = .accepted
            case .settled: settled.append(index)
            case .unknown: outcomes[index] = .unknown
            case .damaged(let detail): outcomes[index] = .damaged(detail)
            }
        }
        if settled.isEmpty { return outcomes }
        let last = try find(settled.map { lsns[$0] })
        for (number, index) in settled.enumerated() {
            outcomes[index] =
                last.deliveries[number].map(Outcome.delivered) ?? settledOutcome(of: lsns[index], number, last)
        }
        return outcomes
    }

    /// Of a record whose place is not known.
    private func settledOutcome(of lsn: LSN, _ index: Int, _ found: FoundOutcomes) -> Outcome {
        if let damage = found.damages[index] { return .damaged(damage) }
        if lsn <= found.forgotten { return .expired }
        if recovered.contains(where: { $0.contains(lsn) }) { return .settled }
        return lsn <= found.missing ? .expired : .untraced
    }

    /// In memory and in what is kept.
    private func find(_ lsns: [LSN]) throws(OutcomeError) -> FoundOutcomes {
        let remembered = deliveries(of: lsns)
        let open = lsns.indices.filter { remembered[$0] == nil }
        var found = FoundOutcomes(deliveries: remembered)
        guard let reader = kept.withLock({ $0.reader }) else {
            found.missing = LSN(rawValue: .max)
            return found
        }
        if open.isEmpty { return found }
        // A hand-over counts once it is known to be committed, which is when the cursor passes it.
        let delivered = state.withLock { $0.cursors.lanes.map(\.delivered) }
        do throws(StoreError) {
            let kept = try reader.find(open.map { lsns[$0] }, of: id) { lane, last in
                delivered.indices.contains(lane) && last <= delivered[lane]
            }
            (found.forgotten, found.missing) = (kept.forgotten, kept.missing)
            for (number, index) in open.enumerated() {
                found.deliveries[index] = kept.deliveries[number]
                if let damage = kept.damages[number] { found.damages[index] = damage }
            }
        } catch {
            guard error.kind == .corrupt else { throw .kept(error) }
            for index in open { found.damages[index] = error.description }
        }
        return found
    }

    /// Where a record stands by the lanes' cursors.
    private enum Standing {
        /// In the spool, not known to be at the broker.
        case waits
        /// Delivered or dead, if it ever was.
        case settled
        case unknown
        case damaged(String)
    }

    private func standings(of lsns: [LSN]) throws(OutcomeError) -> [Standing] {
        let written = journal.written
        let settled = settledEnd
        var standings: [Standing] = lsns.map { lsn in
            guard lsn < written, journal.isKnown(epoch: lsn.epoch) else { return .unknown }
            return lsn < settled ? .settled : .waits
        }
        // Neither wholly delivered nor wholly waiting: the records themselves tell their lanes.
        let open = lsns.indices.filter { if case .waits = standings[$0] { true } else { false } }
        if open.isEmpty { return standings }
        let durable = journal.durable
        let places: [RecordPlace]
        do throws(JournalError) {
            places = try self.places(of: open.map { lsns[$0] })
        } catch {
            throw .spool(error)
        }
        // Again: they may have been delivered, and their segments deleted, while the journal was read.
        let (settledNow, released, delivered) = state.withLock { state in
            (
                state.cursors.settled(durable: state.durable), state.cursors.released(durable: state.durable),
                state.cursors.lanes.map(\.delivered)
            )
        }
        for (index, place) in zip(open, places) where standings.indices.contains(index) {
            let lsn = lsns[index]
            if lsn < settledNow {
                standings[index] = .settled
                continue
            }
            switch place {
            case .lane(let lane) where Int(lane) < delivered.count:
                standings[index] = lsn > delivered[Int(lane)] ? .waits : .settled
            case .damaged(let detail): standings[index] = .damaged(detail)
            // Its segment is gone, and it is not among what was parked of it.
            case .lane, .nowhere: standings[index] = lsn >= durable ? .waits : lsn < released ? .settled : .unknown
            }
        }
        return standings
    }

    /// Everything below is delivered or dead.
    private var settledEnd: LSN { state.withLock { $0.cursors.settled(durable: $0.durable) } }
}
