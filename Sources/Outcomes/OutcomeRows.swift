import Primitives
public import Records
public import Store

/// A lane of a spool.
public struct OutcomeLane: Hashable, Sendable {
    public var spool: SpoolID
    public var lane: Int

    public init(spool: SpoolID, lane: Int) {
        self.spool = spool
        self.lane = lane
    }
}

/// The table of outcomes, as whoever writes the file sees it: one row a hand-over. In the embedded broker's file a part
/// of the hand-over's transaction; else in a file of its own (`OutcomeFile`).
///
/// Threads: those of its connection. Every call is made in a transaction of the caller's; where that is undone,
/// `totals` is loaded again.
public final class OutcomeRows {
    /// A migration of the file's schema. LSNs are order-preserving, see `Value.init(lsn:)`.
    public static let creation = """
        -- forgotten: retention took rows of hand-overs up to it; missing: some up to it have none for another reason.
        CREATE TABLE outcome_lanes (
            number INTEGER PRIMARY KEY,
            spool BLOB NOT NULL,
            lane INTEGER NOT NULL,
            forgotten INTEGER NOT NULL,
            missing INTEGER NOT NULL,
            UNIQUE (spool, lane)
        );
        -- number: in the order of the hand-overs. lane: its number. total_…: of all rows ever, up to this one. packed:
        -- see PackedDeliveries.
        CREATE TABLE outcomes (
            number INTEGER PRIMARY KEY,
            lane INTEGER NOT NULL,
            first INTEGER NOT NULL,
            last INTEGER NOT NULL,
            at INTEGER NOT NULL,
            records INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            total_records INTEGER NOT NULL,
            total_bytes INTEGER NOT NULL,
            packed BLOB NOT NULL
        );
        CREATE INDEX outcomes_last ON outcomes (lane, last, first);
        """

    private let insert: Statement
    private let oldest: Statement
    private let delete: Statement
    private let addLane: Statement
    private let updateLane: Statement
    private let lastOfLane: Statement
    private let overlapping: Statement
    private let voidAfter: Statement

    public init(_ connection: Connection) throws(StoreError) {
        insert = try Statement(
            connection,
            """
            INSERT INTO outcomes (number, lane, first, last, at, records, bytes, total_records, total_bytes, packed)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """)
        oldest = try Statement(
            connection,
            """
            SELECT number, lane, last, at, records, bytes, total_records, total_bytes FROM outcomes
            ORDER BY number LIMIT 1
            """)
        delete = try Statement(connection, "DELETE FROM outcomes WHERE number = ?")
        addLane = try Statement(
            connection, "INSERT INTO outcome_lanes (spool, lane, forgotten, missing) VALUES (?, ?, ?, ?)")
        updateLane = try Statement(
            connection, "UPDATE outcome_lanes SET forgotten = ?, missing = ? WHERE number = ?")
        lastOfLane = try Statement(connection, "SELECT max(last) FROM outcomes WHERE lane = ?")
        overlapping = try Statement(
            connection, "SELECT number, last FROM outcomes WHERE lane = ? AND last >= ? ORDER BY last LIMIT 1")
        voidAfter = try Statement(connection, "DELETE FROM outcomes WHERE lane = ? AND last > ?")
        self.connection = connection
    }

    private let connection: Connection

    // MARK: - Changes

    /// The row of a hand-over. What older rows say of the same records is void: they were handed over again.
    ///
    /// - Parameters:
    ///   - deliveries: in LSN order; none: nothing is kept.
    ///   - atMs: now, as retention sees it (`RetentionClock`).
    /// - Returns: what went for it.
    public func keep(
        _ deliveries: [Delivery], of key: OutcomeLane, atMs: Int64, _ settings: OutcomesSettings,
        _ totals: inout OutcomeTotals
    ) throws(StoreError) -> OutcomeChanges {
        guard let first = deliveries.first?.lsn, let last = deliveries.last?.lsn else { return OutcomeChanges() }
        let row = NewRow(
            lsns: first...last, records: deliveries.count, packed: PackedDeliveries.pack(deliveries), atMs: atMs)
        return try keep(row, of: key, settings, &totals)
    }

    /// The row of a hand-over that passes a dead record and delivers none: without it the lane's checkpoint would lie
    /// beyond its rows, which looks as if some were missing (`confirm`).
    ///
    /// - Returns: as `keep`.
    public func pass(
        _ lsn: LSN, of key: OutcomeLane, atMs: Int64, _ settings: OutcomesSettings, _ totals: inout OutcomeTotals
    ) throws(StoreError) -> OutcomeChanges {
        let row = NewRow(lsns: lsn...lsn, records: 0, packed: PackedDeliveries.pack(passing: lsn), atMs: atMs)
        return try keep(row, of: key, settings, &totals)
    }

    private struct NewRow {
        var lsns: ClosedRange<LSN>
        var records: Int
        var packed: ByteSlice
        var atMs: Int64
    }

    private func keep(
        _ row: NewRow, of key: OutcomeLane, _ settings: OutcomesSettings, _ totals: inout OutcomeTotals
    ) throws(StoreError) -> OutcomeChanges {
        try addLane(key, missing: .zero, &totals)
        guard var lane = totals.lanes[key] else { return OutcomeChanges() }
        if lane.last >= row.lsns.lowerBound {
            try supersede(from: row.lsns.lowerBound, &lane)
            totals.oldest = nil
        }
        let bytes = Int64(row.packed.count + OutcomesSettings.rowBytes)
        totals.number += 1
        totals.recordsEver += Int64(row.records)
        totals.bytesEver += bytes
        try insert.run(
            .integer(totals.number), .integer(lane.number), Value(lsn: row.lsns.lowerBound),
            Value(lsn: row.lsns.upperBound), .integer(row.atMs), .integer(Int64(row.records)), .integer(bytes),
            .integer(totals.recordsEver), .integer(totals.bytesEver), .blob(row.packed))
        lane.last = row.lsns.upperBound
        totals.lanes[key] = lane
        if totals.oldest == nil { try findOldest(&totals) }
        return try trim(settings, row.atMs, &totals)
    }

    /// A spool that was restored and told to send again: its records have new places. What else the older rows told is
    /// missing from then on.
    private func supersede(from first: LSN, _ lane: inout OutcomeTotals.Lane) throws(StoreError) {
        while let row = try overlapping.first(
            .integer(lane.number), Value(lsn: first),
            body: { (number: $0.integer(0), last: LSN(stored: $0.integer(1))) })
        {
            try delete.run(.integer(row.number))
            lane.missing = max(lane.missing, row.last)
        }
        try save(lane)
    }

    /// Rows of the lane that end beyond the LSN are of hand-overs that were not committed.
    ///
    /// - Returns: how many there were.
    public func void(after lsn: LSN, of key: OutcomeLane, _ totals: inout OutcomeTotals) throws(StoreError) -> Int {
        guard var lane = totals.lanes[key], lane.last > lsn else { return 0 }
        try voidAfter.run(.integer(lane.number), Value(lsn: lsn))
        let count = connection.changes
        lane.last = try last(of: lane.number)
        totals.lanes[key] = lane
        try findOldest(&totals)
        return count
    }

    /// The lane's hand-overs up to the LSN were committed, each after a `keep` or a `pass`. Where the rows end before,
    /// the file is older than the lane: what follows has none, and its last row may be of a hand-over that was not
    /// committed in the end, so it goes.
    ///
    /// - Returns: whether every one has a row, or is known to have none.
    public func confirm(
        through lsn: LSN, of key: OutcomeLane, _ totals: inout OutcomeTotals
    ) throws(StoreError) -> Bool {
        if let lane = totals.lanes[key] {
            if lsn <= max(lane.last, lane.forgotten, lane.missing) { return true }
            if lane.last > .zero { _ = try void(after: LSN(rawValue: lane.last.rawValue - 1), of: key, &totals) }
        }
        try missing(through: lsn, of: key, &totals)
        return lsn == .zero
    }

    /// Some hand-overs of the lane up to the LSN have no row.
    public func missing(through lsn: LSN, of key: OutcomeLane, _ totals: inout OutcomeTotals) throws(StoreError) {
        try addLane(key, missing: lsn, &totals)
        guard var lane = totals.lanes[key], lane.missing < lsn else { return }
        lane.missing = lsn
        try save(lane)
        totals.lanes[key] = lane
    }

    private func addLane(
        _ key: OutcomeLane, missing: LSN, _ totals: inout OutcomeTotals
    ) throws(StoreError) {
        guard totals.lanes[key] == nil else { return }
        try addLane.run(
            .blob(key.spool.bytes), .integer(Int64(key.lane)), Value(lsn: .zero), Value(lsn: missing))
        totals.lanes[key] = OutcomeTotals.Lane(number: connection.lastInsertedID, missing: missing)
    }

    private func save(_ lane: OutcomeTotals.Lane) throws(StoreError) {
        try updateLane.run(Value(lsn: lane.forgotten), Value(lsn: lane.missing), .integer(lane.number))
    }

    /// Removes the oldest rows that are too old or too much, at most `trimmedMax`. The newest stays.
    private func trim(
        _ settings: OutcomesSettings, _ nowMs: Int64, _ totals: inout OutcomeTotals
    ) throws(StoreError) -> OutcomeChanges {
        let oldestMs = nowMs - settings.retention.wholeMilliseconds
        var changes = OutcomeChanges()
        for _ in 0..<OutcomesSettings.trimmedMax {
            guard let row = totals.oldest, row.number < totals.number,
                row.atMs < oldestMs || totals.bytes > settings.bytesMax
            else { break }
            try delete.run(.integer(row.number))
            changes.expired += Int(row.records)
            if row.atMs >= oldestMs { changes.early += Int(row.records) }
            if let found = totals.lanes.first(where: { $0.value.number == row.lane }) {
                var lane = found.value
                lane.forgotten = max(lane.forgotten, row.last)
                try save(lane)
                totals.lanes[found.key] = lane
            }
            try findOldest(&totals)
        }
        return changes
    }

    // MARK: - Loading

    /// Reads a few rows, however many there are.
    public func load() throws(StoreError) -> OutcomeTotals {
        var totals = OutcomeTotals()
        let newest = try Statement(
            connection, "SELECT number, total_records, total_bytes FROM outcomes ORDER BY number DESC LIMIT 1"
        ).first { (number: $0.integer(0), records: $0.integer(1), bytes: $0.integer(2)) }
        if let newest {
            (totals.number, totals.recordsEver, totals.bytesEver) = (newest.number, newest.records, newest.bytes)
        }
        try Statement(connection, "SELECT number, spool, lane, forgotten, missing FROM outcome_lanes").forEach {
            row throws(StoreError) in
            guard let spool = SpoolID(bytes: row.bytes(1) ?? []) else {
                throw .malformed("outcome_lanes", "spool id")
            }
            totals.lanes[OutcomeLane(spool: spool, lane: Int(row.integer(2)))] = OutcomeTotals.Lane(
                number: row.integer(0), forgotten: LSN(stored: row.integer(3)), missing: LSN(stored: row.integer(4)))
            return .next
        }
        for (key, lane) in totals.lanes { totals.lanes[key]?.last = try last(of: lane.number) }
        try findOldest(&totals)
        return totals
    }

    private func last(of lane: Int64) throws(StoreError) -> LSN {
        let last = try lastOfLane.first(.integer(lane)) { $0.optionalInteger(0) }
        return last.flatMap { $0.map { LSN(stored: $0) } } ?? .zero
    }

    private func findOldest(_ totals: inout OutcomeTotals) throws(StoreError) {
        totals.oldest = try oldest.first { row in
            OutcomeTotals.Row(
                number: row.integer(0), lane: row.integer(1), last: LSN(stored: row.integer(2)), atMs: row.integer(3),
                records: row.integer(4), bytes: row.integer(5), totalRecords: row.integer(6),
                totalBytes: row.integer(7))
        }
    }
}

/// What the table adds up to, kept along so that nobody has to count: a value of the table's owner. Rows that were void
/// or superseded stay in the sums until the rows around them are gone.
public struct OutcomeTotals: Sendable {
    struct Lane: Sendable {
        var number: Int64
        /// The last LSN of its newest row; zero: it has none.
        var last = LSN.zero
        var forgotten = LSN.zero
        var missing = LSN.zero
    }

    struct Row: Sendable {
        var number: Int64
        var lane: Int64
        var last: LSN
        var atMs: Int64
        var records: Int64
        var bytes: Int64
        var totalRecords: Int64
        var totalBytes: Int64
    }

    var lanes: [OutcomeLane: Lane] = [:]
    var oldest: Row?
    /// Of the newest row.
    var number: Int64 = 0
    var recordsEver: Int64 = 0
    var bytesEver: Int64 = 0

    public init() {}

    public var rows: Int64 { oldest.map { number - $0.number + 1 } ?? 0 }
    public var records: Int64 { oldest.map { recordsEver - $0.totalRecords + $0.records } ?? 0 }
    public var bytes: Int64 { oldest.map { bytesEver - $0.totalBytes + $0.bytes } ?? 0 }
    /// When the oldest was kept; nil: there is none.
    public var oldestMs: Int64? { oldest?.atMs }
}

/// An LSN's epoch is Unix time in its upper half, so from 2038 on it does not fit a signed integer: its top bit is
/// flipped, which keeps the order.
extension LSN {
    init(stored: Int64) { self.init(rawValue: UInt64(bitPattern: stored) ^ 1 << 63) }
}

extension Value {
    init(lsn: LSN) { self = .integer(Int64(bitPattern: lsn.rawValue ^ 1 << 63)) }
}
