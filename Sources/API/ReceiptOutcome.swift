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
    func outcome(of lsn: LSN) throws -> ReceiptOutcome {
        if let known = try settled(lsn) { return known }
        let state: ReceiptOutcome.State
        switch try spool.outcome(of: lsn) {
        case .accepted: return ReceiptOutcome(state: .accepted)
        case .delivered(let delivery): return ReceiptOutcome(state: .delivered(delivery))
        // It may have died between the two looks.
        case .settled:
            if let known = try settled(lsn) { return known }
            state = try deadLetters.hasForgotten ? .expired : .delivered(nil)
        case .expired:
            if let known = try settled(lsn) { return known }
            state = .expired
        case .unknown: state = .unknown
        }
        // Nothing better is known of a record whose bytes were lost.
        return try lost(lsn) ?? ReceiptOutcome(state: state)
    }

    private func lost(_ lsn: LSN) throws -> ReceiptOutcome? {
        guard case .dead(let code, let detail, let atMs, _) = try deadLetters.quarantined(lsn) else { return nil }
        return ReceiptOutcome(state: .dead(.init(code: code, detail: detail, atMs: atMs, discardedAtMs: nil)))
    }

    /// nil unless it is known to be delivered or dead.
    private func settled(_ lsn: LSN) throws -> ReceiptOutcome? {
        // From memory where possible: a record that was delivered is no dead letter.
        if let delivery = spool.deliveries(of: [lsn])[0] { return ReceiptOutcome(state: .delivered(delivery)) }
        switch try deadLetters.fate(of: lsn) {
        case .dead(let code, let detail, let atMs, let discardedAtMs):
            return ReceiptOutcome(
                state: .dead(.init(code: code, detail: detail, atMs: atMs, discardedAtMs: discardedAtMs)))
        case .redelivered(let successor):
            // The store follows them to the last, so this is one step, or a few while one is being sent again; each
            // is a later record.
            var outcome = try self.outcome(of: successor)
            outcome.redeliveredAs = outcome.redeliveredAs ?? successor
            return outcome
        case .pending, nil:
            return nil
        }
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
