import Primitives
public import Records
public import Store

/// What is kept of some records.
public struct FoundOutcomes: Sendable {
    /// In the order of the LSNs asked for; nil: no row that counts has it.
    public var deliveries: [Delivery?]
    /// Why a row cannot be read that may have had it, by the index of the LSN.
    public var damages: [Int: String] = [:]
    /// Retention took rows up to it, of some lane.
    public var forgotten = LSN.zero
    /// Up to it rows are missing for another reason, of some lane.
    public var missing = LSN.zero

    public init(deliveries: [Delivery?]) { self.deliveries = deliveries }
}

/// Looks outcomes up, on a connection of its own: neither waits for a hand-over nor holds one up.
///
/// Any thread may call. Calls wait for each other and block on the disk, so none belongs on an HTTP thread.
public final class OutcomeReader: Sendable {
    /// Pages of the file that stay in memory.
    private static let cacheBytes = 4 << 20

    // Held over the disk: SQLite is what it guards, and who looks up is about to wait for the same disk anyway.
    private let file: Lock<File>

    private struct File {
        let connection: Connection
        let lanes: Statement
        let row: Statement
        let packed: Statement
        var rowsRead = 0
    }

    private struct LaneRow {
        var number: Int64
        var lane: Int
    }

    /// - Parameter path: of a file that has the table; its owner opened it before.
    public init(path: String, schema: Schema) throws(StoreError) {
        let connection = try Connection.openReadOnly(
            path: path, schema: schema, settings: ConnectionSettings(cacheBytes: Self.cacheBytes))
        file = Lock(
            File(
                connection: connection,
                lanes: try Statement(
                    connection, "SELECT number, lane, forgotten, missing FROM outcome_lanes WHERE spool = ?"),
                // All of it stands in the index.
                row: try Statement(
                    connection,
                    "SELECT number, first, last FROM outcomes WHERE lane = ? AND last >= ? ORDER BY last LIMIT 1"),
                packed: try Statement(connection, "SELECT packed FROM outcomes WHERE number = ?")))
    }

    /// Rows that were unpacked so far: the work of look-ups.
    package var rowsRead: Int { file.withLock { $0.rowsRead } }

    /// Where records of a spool are. Each row is read and unpacked once, whatever is asked of it.
    ///
    /// - Parameters:
    ///   - lsns: sorted.
    ///   - counts: whether a lane's hand-over up to this LSN is known to be committed. Others do not count yet.
    public func find(
        _ lsns: [LSN], of spool: SpoolID, counts: (_ lane: Int, _ last: LSN) -> Bool
    ) throws(StoreError) -> FoundOutcomes {
        var found = FoundOutcomes(deliveries: Array(repeating: nil, count: lsns.count))
        try file.withLock { (file) throws(StoreError) in
            try file.connection.beginRead()
            do throws(StoreError) {
                for lane in try lanes(of: spool, file, &found) { try look(in: lane, &file, lsns, counts, &found) }
            } catch {
                try file.connection.rollback()
                throw error
            }
            try file.connection.commit()
        }
        // What one lane has, a broken row of another never had.
        for index in found.damages.keys where found.deliveries[index] != nil { found.damages[index] = nil }
        return found
    }

    private func lanes(of spool: SpoolID, _ file: File, _ found: inout FoundOutcomes) throws(StoreError) -> [LaneRow] {
        var lanes: [LaneRow] = []
        try file.lanes.forEach(.blob(spool.bytes)) { row throws(StoreError) in
            lanes.append(LaneRow(number: row.integer(0), lane: Int(row.integer(1))))
            found.forgotten = max(found.forgotten, LSN(stored: row.integer(2)))
            found.missing = max(found.missing, LSN(stored: row.integer(3)))
            return .next
        }
        return lanes
    }

    /// From row to row, and past what lies between two: a lane's rows do not overlap.
    private func look(
        in lane: LaneRow, _ file: inout File, _ lsns: [LSN], _ counts: (Int, LSN) -> Bool, _ found: inout FoundOutcomes
    ) throws(StoreError) {
        var index = 0
        while index < lsns.count {
            let row = try file.row.first(.integer(lane.number), Value(lsn: lsns[index])) { row in
                (number: row.integer(0), first: LSN(stored: row.integer(1)), last: LSN(stored: row.integer(2)))
            }
            // A later one counts even less.
            guard let row, counts(lane.lane, row.last) else { return }
            let begin = lsns.firstIndexInOrder(from: index) { $0 >= row.first }
            let end = lsns.firstIndexInOrder(from: begin) { $0 > row.last }
            if begin < end {
                file.rowsRead += 1
                let packed = try file.packed.first(.integer(row.number)) { $0.bytes(0) } ?? nil
                do throws(MalformedBytes) {
                    guard row.first <= row.last else { throw MalformedBytes("a row's LSNs") }
                    try PackedDeliveries.find(lsns[begin..<end], in: packed ?? [], range: row.first...row.last) {
                        found.deliveries[$0] = $1
                    }
                } catch {
                    for index in begin..<end { found.damages[index] = "row \(row.number): \(error.what)" }
                }
            }
            // The row's end lies at or beyond what was looked for, so this goes on.
            index = max(end, index + 1)
        }
    }
}

extension Array {
    /// First index at or after `from` whose element satisfies the predicate, which holds for all after it.
    fileprivate func firstIndexInOrder(from: Int, _ isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (from, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
