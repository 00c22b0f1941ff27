import CoreMetrics
public import Records
public import Store

/// What becomes of a final dead letter.
///
///     final ──claim──▶ redelivering ──link──▶ gone; its receipt follows to the new record
///       │   ◀──give back, release──┘
///       └──discard──▶ gone; its receipt says dead, and since when discarded
///
/// It is sent again by a new record in the spool that carries its LSN. The order makes that once, whatever fails when:
/// 1. `claimForRedelivery` is durable before the new record goes to the spool.
/// 2. `link` is durable before the new record is handed over: the lane that meets it sees to that, and whoever
///    submitted it does so too, as soon as it is synced. The payload is freed then; it is in the spool.
/// 3. A claim is given back by whoever submitted when the spool refused the record for certain; where that is not
///    certain, the lane meets the record or the next process decides.
/// 4. A claim of an earlier process is released when the lane has read through everything that was recovered and did
///    not meet the record: it never reached the spool.
extension DeadLetters {
    /// - Parameter epoch: of this process.
    /// - Returns: the record, to be submitted with `redelivers` set.
    public func claimForRedelivery(lsn: LSN, epoch: UInt32) throws(StoreError) -> DeadLetterClaim<SpoolRecord> {
        try change { (file) throws(StoreError) in
            let claim = try file.claim(lsn)
            guard case .done(let letter) = claim else { return claim.failure() }
            guard let bytes = try file.record.first(Value(lsn: lsn), body: { $0.bytes(0) }) ?? nil else {
                return .unknown
            }
            var spooled = try Self.decode(bytes, of: lsn)
            spooled.redelivers = lsn
            try file.move(letter, to: .redelivering, epoch: epoch)
            return .done(spooled)
        }
    }

    /// The spool refused the record, and nothing of it is stored.
    public func giveBack(lsn: LSN) throws(StoreError) {
        try change { (file) throws(StoreError) in
            guard let letter = try file.find(lsn), letter.state == .redelivering else { return }
            try file.move(letter, to: .final)
        }
    }

    /// The spool holds these records, synced, each with the dead letter that it sends again. Repeating it changes
    /// nothing.
    public func link(_ links: [(dead: LSN, successor: LSN)]) throws(StoreError) {
        try change { (file) throws(StoreError) in
            for link in links {
                guard let letter = try file.find(link.dead), letter.state != .pending else { continue }
                try file.end(letter, discardedAtMs: nil, successor: link.successor)
                // Receipts follow in one step, however often it was sent.
                try file.follow.run(Value(lsn: link.successor), Value(lsn: link.dead))
                metrics.redelivered.increment()
            }
            try forget(&file)
        }
    }

    /// The lane has read through what was recovered: what earlier processes claimed and it did not meet is not in the
    /// spool.
    public func release(lane: Int, before epoch: UInt32) throws(StoreError) {
        try change { (file) throws(StoreError) in
            try file.release.run(.integer(Int64(lane)), .integer(Int64(epoch)))
            if file.connection.changes > 0 { try file.count() }
        }
    }

    /// Forgets a final dead letter and frees its space. Its receipt still says that it is dead.
    public func discard(lsn: LSN, atMs: Int64) throws(StoreError) -> DeadLetterClaim<Void> {
        try change { (file) throws(StoreError) in
            let claim = try file.claim(lsn)
            guard case .done(let letter) = claim else { return claim.failure() }
            try file.end(letter, discardedAtMs: atMs, successor: nil)
            try forget(&file)
            metrics.discarded.increment()
            return .done(())
        }
    }

    private func forget(_ file: inout DeadLetterFile) throws(StoreError) {
        try file.forget.run(.integer(Int64(settings.endsKept)))
        metrics.forgotten.increment(by: file.connection.changes)
    }
}

extension DeadLetterFile {
    func claim(_ lsn: LSN) throws(StoreError) -> DeadLetterClaim<DeadLetter> {
        guard let letter = try find(lsn) else { return .unknown }
        return switch letter.state {
        case .pending: .pending
        case .final: .done(letter)
        case .redelivering: .redelivering
        }
    }

    mutating func move(_ letter: DeadLetter, to state: DeadLetter.State, epoch: UInt32 = 0) throws(StoreError) {
        try setState.run(.integer(state.rawValue), .integer(Int64(epoch)), Value(lsn: letter.lsn))
        totals.remove(letter.state, bytes: letter.bytes)
        totals.add(state, bytes: letter.bytes)
    }

    /// Takes the letter out and keeps what its receipt tells.
    mutating func end(_ letter: DeadLetter, discardedAtMs: Int64?, successor: LSN?) throws(StoreError) {
        let isDiscarded = successor == nil
        try addEnd.run(
            Value(lsn: letter.lsn), successor.map { Value(lsn: $0) } ?? .null,
            isDiscarded ? .text(letter.code) : .null, isDiscarded ? .text(letter.detail) : .null,
            isDiscarded ? .integer(letter.atMs) : .null, Value(discardedAtMs))
        try remove.run(Value(lsn: letter.lsn))
        totals.remove(letter.state, bytes: letter.bytes)
    }
}

extension DeadLetterClaim {
    /// - Precondition: not `done`.
    fileprivate func failure<Other>() -> DeadLetterClaim<Other> {
        switch self {
        case .done: preconditionFailure("a claim that was granted")
        case .unknown: .unknown
        case .pending: .pending
        case .redelivering: .redelivering
        }
    }
}
