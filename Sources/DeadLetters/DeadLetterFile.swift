import Primitives
import Records
import Store

/// The connection and its statements, together behind the lock of `DeadLetters`.
struct DeadLetterFile {
    let connection: Connection
    let add: Statement
    let finalize: Statement
    let pendingUpTo: Statement
    let removePending: Statement
    let lookup: Statement
    let count: Statement
    let list: Statement
    let discard: Statement

    init(_ connection: Connection) throws(StoreError) {
        self.connection = connection
        add = try Statement(
            connection,
            """
            INSERT INTO dead_letters (lsn, lane, state, at, code, detail, record) VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (lsn) DO UPDATE SET
                lane = excluded.lane, at = excluded.at, code = excluded.code, detail = excluded.detail,
                record = excluded.record
            WHERE state = \(DeadLetter.State.pending.rawValue)
            """)
        finalize = try Statement(connection, "UPDATE dead_letters SET state = ? WHERE lsn = ?")
        let pending = "state = \(DeadLetter.State.pending.rawValue) AND lane = ?"
        pendingUpTo = try Statement(
            connection, "SELECT lsn FROM dead_letters WHERE \(pending) AND lsn <= ? ORDER BY lsn")
        removePending = try Statement(connection, "DELETE FROM dead_letters WHERE \(pending) AND lsn > ?")
        let columns = "SELECT lsn, lane, state, at, code, detail, record FROM dead_letters"
        lookup = try Statement(connection, "\(columns) WHERE lsn = ?")
        count = try Statement(connection, "SELECT count(*) FROM dead_letters WHERE state = ?")
        list = try Statement(connection, "\(columns) WHERE state = ? AND lsn > ? ORDER BY lsn LIMIT ?")
        discard = try Statement(connection, "DELETE FROM dead_letters WHERE lsn = ? AND state = ?")
    }
}

extension DeadLetter {
    init(_ row: borrowing Row) throws(StoreError) {
        guard let state = State(rawValue: row.integer(2)), let code = try row.text(4), let detail = try row.text(5),
            let encoded = row.bytes(6)
        else { throw .malformed("dead_letters", "row \(row.integer(0))") }
        self.init(
            lsn: LSN(stored: row.integer(0)), lane: Int(row.integer(1)), state: state, encoded: encoded, code: code,
            detail: detail, atMs: row.integer(3))
    }
}

/// An LSN's epoch is Unix time in its upper half, so from 2038 on it does not fit a signed integer: its top bit is
/// flipped, which keeps the order.
extension LSN {
    init(stored: Int64) { self.init(rawValue: UInt64(bitPattern: stored) ^ 1 << 63) }
}

extension Value {
    init(lsn: LSN) { self = .integer(Int64(bitPattern: lsn.rawValue ^ 1 << 63)) }
}
