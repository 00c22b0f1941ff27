import DeadLetters
import JSON
import Records
import Spool
import Telemetry

/// What became of a record, as its receipt tells.
struct ReceiptOutcome: Sendable {
    enum State: Sendable {
        case accepted
        /// nil: where is not known.
        case delivered(Delivery?)
        case dead(Reason)
        /// Settled, and no longer remembered how.
        case expired
        /// This gateway never gave out the receipt.
        case unknown
        /// What would tell is broken, in words.
        case damaged(String)
    }

    struct Reason: Sendable {
        var code: String
        var detail: String
        var atMs: Int64
        var discardedAtMs: Int64?
    }

    var state: State
    /// The record that took the place of this one, a dead letter that was sent again: the state is that one's.
    var redeliveredAs: LSN?

    var isDelivered: Bool { if case .delivered = state { true } else { false } }
    var isDead: Bool { if case .dead = state { true } else { false } }
    var isAccepted: Bool { if case .accepted = state { true } else { false } }
}

extension API {
    /// Reads the disk, so it belongs on `lookups`.
    func outcome(of lsn: LSN) throws -> ReceiptOutcome { try outcomes(of: [lsn])[0] }

    /// In the order of the LSNs. The spool is asked first: where it does not know a record's place, because it is dead,
    /// the dead letters do by then. Reads the disk, so it belongs on `lookups`.
    func outcomes(of lsns: [LSN]) throws -> [ReceiptOutcome] {
        let sorted = Set(lsns).sorted()
        let outcomes = try spool.outcomes(of: sorted)
        let open = outcomes.indices.filter { if case .delivered = outcomes[$0] { false } else { true } }
        let fates = try deadLetters.fates(of: open.map { sorted[$0] })
        // The store follows them to the last, so this is one step, or a few while one is being sent again; each is a
        // later record.
        var successors: [LSN] = []
        for case .redelivered(let successor) in fates { successors.append(successor) }
        let followed = successors.isEmpty ? [] : try self.outcomes(of: successors)
        var next = followed.makeIterator()
        var found: [LSN: ReceiptOutcome] = [:]
        found.reserveCapacity(sorted.count)
        for (lsn, outcome) in zip(sorted, outcomes) {
            if case .delivered(let delivery) = outcome { found[lsn] = ReceiptOutcome(state: .delivered(delivery)) }
        }
        for (index, fate) in zip(open, fates) {
            let lsn = sorted[index]
            switch fate {
            case .dead(let code, let detail, let atMs, let discardedAtMs):
                found[lsn] = ReceiptOutcome(
                    state: .dead(.init(code: code, detail: detail, atMs: atMs, discardedAtMs: discardedAtMs)))
            case .redelivered(let successor):
                guard var outcome = next.next() else { break }
                outcome.redeliveredAs = outcome.redeliveredAs ?? successor
                found[lsn] = outcome
            case .pending, nil:
                found[lsn] = try living(lsn, outcomes[index])
            }
        }
        return lsns.map { found[$0] ?? ReceiptOutcome(state: .unknown) }
    }

    /// Of a record that is no dead letter, nor was one as far as is remembered.
    private func living(_ lsn: LSN, _ outcome: Outcome) throws -> ReceiptOutcome {
        let state: ReceiptOutcome.State
        switch outcome {
        case .accepted: return ReceiptOutcome(state: .accepted)
        case .delivered(let delivery): return ReceiptOutcome(state: .delivered(delivery))
        case .settled: state = try deadLetters.hasForgotten ? .expired : .delivered(nil)
        case .untraced: state = try deadLetters.hasForgotten ? .expired : .unknown
        case .expired: state = .expired
        case .unknown: state = .unknown
        case .damaged(let detail): state = .damaged(detail)
        }
        // Nothing better is known of a record whose bytes were lost.
        return try lost(lsn) ?? ReceiptOutcome(state: state)
    }

    private func lost(_ lsn: LSN) throws -> ReceiptOutcome? {
        guard case .dead(let code, let detail, let atMs, _) = try deadLetters.quarantined(lsn) else { return nil }
        return ReceiptOutcome(state: .dead(.init(code: code, detail: detail, atMs: atMs, discardedAtMs: nil)))
    }

    func receipt(_ lsn: LSN) -> Receipt { Receipt(spool: spool.shortID, lsn: lsn) }
}

extension JSONWriter {
    /// `{"receipt":…,"state":…}` and what belongs to the state: the one form of an outcome everywhere.
    mutating func outcome(_ outcome: ReceiptOutcome, of receipt: Receipt) {
        object { writer in
            writer.key("receipt")
            writer.string(receipt.description)
            writer.key("state")
            switch outcome.state {
            case .accepted: writer.string("accepted")
            case .expired: writer.string("expired")
            case .unknown: writer.string("unknown")
            case .damaged: writer.string("damaged")
            case .delivered(let delivery):
                writer.string("delivered")
                guard let delivery else { break }
                writer.place(delivery.partition)
                writer.key("offset")
                writer.integer(delivery.offset)
                writer.key("timestamp")
                writer.string(rfc3339(milliseconds: delivery.timestampMs))
            case .dead(let reason):
                writer.string("dead")
                writer.key("reason")
                writer.object { writer in
                    writer.key("code")
                    writer.string(reason.code)
                    writer.key("detail")
                    writer.string(reason.detail)
                    writer.key("at")
                    writer.string(rfc3339(milliseconds: reason.atMs))
                }
                if let discardedAtMs = reason.discardedAtMs {
                    writer.key("discarded_at")
                    writer.string(rfc3339(milliseconds: discardedAtMs))
                }
            }
            if let successor = outcome.redeliveredAs {
                writer.key("redelivered_as")
                writer.string(Receipt(spool: receipt.spool, lsn: successor).description)
            }
        }
    }
}
