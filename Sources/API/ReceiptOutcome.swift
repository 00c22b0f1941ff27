import DeadLetters
import JSON
import Records
import Spool
import Telemetry

/// What became of a record, as its receipt tells.
struct ReceiptOutcome: Sendable {
    enum State: Sendable {
        case accepted
        case delivered(Delivery)
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
    }

    var state: State

    var isDelivered: Bool { if case .delivered = state { true } else { false } }
    var isDead: Bool { if case .dead = state { true } else { false } }
    var isAccepted: Bool { if case .accepted = state { true } else { false } }
}

extension API {
    /// Reads the disk, so it belongs on `lookups`.
    func outcome(of lsn: LSN) throws -> ReceiptOutcome {
        // From memory where possible: a record that was delivered is no dead letter.
        if let delivery = spool.deliveries(of: [lsn])[0] { return ReceiptOutcome(state: .delivered(delivery)) }
        if let dead = try dead(lsn) { return dead }
        switch try spool.outcome(of: lsn) {
        case .accepted: return ReceiptOutcome(state: .accepted)
        case .delivered(let delivery): return ReceiptOutcome(state: .delivered(delivery))
        // It may have died between the two looks.
        case .expired: return try dead(lsn) ?? ReceiptOutcome(state: .expired)
        case .unknown: return ReceiptOutcome(state: .unknown)
        }
    }

    /// nil unless the record is among the dead letters for good.
    private func dead(_ lsn: LSN) throws -> ReceiptOutcome? {
        guard let dead = try deadLetters.lookup(lsn: lsn), dead.state == .final else { return nil }
        return ReceiptOutcome(state: .dead(.init(code: dead.code, detail: dead.detail, atMs: dead.atMs)))
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
            }
        }
    }
}
