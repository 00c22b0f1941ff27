import Primitives
import Records
import Store

/// The connection, its statements and what they add up to, together behind the lock of `DeadLetters`.
struct DeadLetterFile {
    let connection: Connection
    let add: Statement
    let setState: Statement
    let decided: Statement
    let removePending: Statement
    let find: Statement
    let record: Statement
    let remove: Statement
    let release: Statement
    let end: Statement
    let addEnd: Statement
    let follow: Statement
    let forget: Statement
    let hasForgotten: Statement
    let addRange: Statement
    let range: Statement
    let oldest: Statement
    private let sums: Statement
    private let lists: [Statement]
    var totals = DeadLetterTotals()

    private static let columns = "lsn, lane, state, at, code, detail, topic, partition, timestamp, bytes"

    init(_ connection: Connection) throws(StoreError) {
        self.connection = connection
        let pending = "state = \(DeadLetter.State.pending.rawValue)"
        add = try Statement(
            connection,
            """
            INSERT INTO dead_letters (lsn, lane, state, at, code, topic, partition, timestamp, bytes, detail, record)
            VALUES (?, ?, \(DeadLetter.State.pending.rawValue), ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (lsn) DO UPDATE SET
                lane = excluded.lane, at = excluded.at, code = excluded.code, topic = excluded.topic,
                partition = excluded.partition, timestamp = excluded.timestamp, bytes = excluded.bytes,
                detail = excluded.detail, record = excluded.record
            WHERE \(pending)
            """)
        setState = try Statement(connection, "UPDATE dead_letters SET state = ?, epoch = ? WHERE lsn = ?")
        // A refused record is dead when the checkpoint passed it, a quarantined one when it did not.
        let quarantined = "(code = '\(DeadLetter.quarantinedCode)')"
        decided = try Statement(
            connection,
            "SELECT lsn FROM dead_letters WHERE \(pending) AND lane = ? AND (lsn <= ?) <> \(quarantined) ORDER BY lsn")
        removePending = try Statement(
            connection, "DELETE FROM dead_letters WHERE \(pending) AND lane = ? AND (lsn > ?) <> \(quarantined)")
        addRange = try Statement(
            connection,
            """
            INSERT INTO quarantined (first, past, at, detail) VALUES (?, ?, ?, ?)
            ON CONFLICT (first) DO UPDATE SET past = max(past, excluded.past)
            """)
        range = try Statement(
            connection, "SELECT at, detail FROM quarantined WHERE first <= ? AND past > ? ORDER BY first DESC LIMIT 1")
        find = try Statement(connection, "SELECT \(Self.columns) FROM dead_letters WHERE lsn = ?")
        record = try Statement(connection, "SELECT record FROM dead_letters WHERE lsn = ?")
        remove = try Statement(connection, "DELETE FROM dead_letters WHERE lsn = ?")
        release = try Statement(
            connection,
            """
            UPDATE dead_letters SET state = \(DeadLetter.State.final.rawValue)
            WHERE state = \(DeadLetter.State.redelivering.rawValue) AND lane = ? AND epoch < ?
            """)
        end = try Statement(connection, "SELECT successor, code, detail, at, discarded_at FROM ends WHERE lsn = ?")
        addEnd = try Statement(
            connection,
            "INSERT OR REPLACE INTO ends (lsn, successor, code, detail, at, discarded_at) VALUES (?, ?, ?, ?, ?, ?)")
        follow = try Statement(connection, "UPDATE ends SET successor = ? WHERE successor = ?")
        forget = try Statement(
            connection, "DELETE FROM ends WHERE number <= (SELECT max(number) FROM ends) - ?")
        // Numbers begin at 1 and are never given twice.
        hasForgotten = try Statement(
            connection,
            """
            SELECT coalesce(
                (SELECT min(number) FROM ends),
                1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'ends'), 0)) > 1
            """)
        oldest = try Statement(connection, "SELECT min(at) FROM dead_letters WHERE state <> 0")
        sums = try Statement(connection, "SELECT state, count(*), sum(bytes) FROM dead_letters GROUP BY state")
        lists = try [(false, false), (false, true), (true, false), (true, true)].map { topic, code throws(StoreError) in
            try Statement(connection, Self.list(topic: topic, code: code))
        }
        try count()
    }

    /// Each of the four has its index; rows come in the index's order, so a page costs what it holds.
    static func list(topic: Bool, code: Bool) -> String {
        let filter = (topic ? "AND topic = ? " : "") + (code ? "AND code = ? " : "")
        return """
            SELECT \(columns) FROM dead_letters WHERE state <> 0 \(filter)
            AND (at, lsn) > (?, ?) AND at < ? ORDER BY at, lsn LIMIT ?
            """
    }

    func list(_ query: DeadLetterQuery, limit: Int) throws(StoreError) -> [DeadLetter] {
        var after = DeadLetterQuery.Position(
            atMs: query.sinceMs.map { $0 == .min ? $0 : $0 - 1 } ?? .min, lsn: LSN(rawValue: .max))
        if let position = query.after, position.atMs > after.atMs { after = position }
        let statement = lists[(query.topic == nil ? 0 : 2) + (query.code == nil ? 0 : 1)]
        var values: [Value] = []
        if let topic = query.topic { values.append(.text(topic.text)) }
        if let code = query.code { values.append(.text(code)) }
        values += [
            .integer(after.atMs), Value(lsn: after.lsn), .integer(query.untilMs ?? .max), .integer(Int64(limit)),
        ]
        var page: [DeadLetter] = []
        try statement.forEach(values) { row throws(StoreError) in
            page.append(try DeadLetter(row))
            return .next
        }
        return page
    }

    /// Adds a pending one, or replaces it.
    mutating func addPending(
        _ lsn: LSN, _ lane: Int, _ spooled: SpoolRecord, _ record: ByteSlice, code: String, detail: String, atMs: Int64,
        instead previous: DeadLetter? = nil
    ) throws(StoreError) {
        try add.run(
            Value(lsn: lsn), .integer(Int64(lane)), .integer(atMs), .text(code), .text(spooled.topic.text),
            Value(spooled.partition.map { Int64($0) }), .integer(spooled.record.timestampMs),
            .integer(Int64(spooled.record.bytes)), .text(detail), .blob(record))
        if let previous { totals.remove(.pending, bytes: previous.bytes) }
        totals.add(.pending, bytes: spooled.record.bytes)
    }

    /// A dead letter, or one that was sent again or discarded.
    func isKnown(_ lsn: LSN) throws(StoreError) -> Bool {
        if try find(lsn) != nil { return true }
        return try end.first(Value(lsn: lsn)) { _ in true } ?? false
    }

    func fate(of lsn: LSN) throws(StoreError) -> DeadLetterFate? {
        if let letter = try find(lsn) {
            if letter.state == .pending { return .pending }
            return .dead(code: letter.code, detail: letter.detail, atMs: letter.atMs, discardedAtMs: nil)
        }
        return try end.first(Value(lsn: lsn)) { (row) throws(StoreError) in
            if let successor = row.optionalInteger(0) { return .redelivered(as: LSN(stored: successor)) }
            return .dead(
                code: try row.text(1) ?? "", detail: try row.text(2) ?? "", atMs: row.integer(3),
                discardedAtMs: row.integer(4))
        }
    }

    func find(_ lsn: LSN) throws(StoreError) -> DeadLetter? {
        try find.first(Value(lsn: lsn)) { (row) throws(StoreError) in try DeadLetter(row) }
    }

    /// Reads all of the index: for a start, and after what is rare.
    mutating func count() throws(StoreError) {
        var totals = DeadLetterTotals()
        try sums.forEach { row throws(StoreError) in
            guard let state = DeadLetter.State(rawValue: row.integer(0)) else {
                throw .malformed("dead_letters", "state \(row.integer(0))")
            }
            totals[state] = .init(count: Int(row.integer(1)), bytes: row.integer(2))
            return .next
        }
        self.totals = totals
    }
}

/// How many there are in each state, kept along so that nobody has to count.
struct DeadLetterTotals: Equatable {
    struct Sum: Equatable {
        var count = 0
        /// Of the records.
        var bytes: Int64 = 0
    }

    private var sums: [DeadLetter.State: Sum] = [:]

    subscript(state: DeadLetter.State) -> Sum {
        get { sums[state] ?? Sum() }
        set { sums[state] = newValue }
    }

    var bytes: Int64 { sums.values.reduce(0) { $0 + $1.bytes } }

    mutating func add(_ state: DeadLetter.State, bytes: Int) {
        self[state].count += 1
        self[state].bytes += Int64(bytes)
    }

    mutating func remove(_ state: DeadLetter.State, bytes: Int) {
        self[state].count -= 1
        self[state].bytes -= Int64(bytes)
    }
}

extension DeadLetter {
    init(_ row: borrowing Row) throws(StoreError) {
        guard let state = State(rawValue: row.integer(2)), let code = try row.text(4), let detail = try row.text(5),
            let topic = try row.text(6).flatMap({ TopicName($0) })
        else { throw .malformed("dead_letters", "row \(row.integer(0))") }
        self.init(
            lsn: LSN(stored: row.integer(0)), lane: Int(row.integer(1)), state: state, topic: topic,
            partition: row.optionalInteger(7).flatMap { Int32(exactly: $0) }, timestampMs: row.integer(8),
            bytes: Int(row.integer(9)), code: code, detail: detail, atMs: row.integer(3))
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
