public import CoreMetrics
public import Primitives
public import Records
public import Store

/// Limits of the dead-letter store.
public struct DeadLettersSettings: Sendable {
    /// Bytes of the file in use past which `addPending` fails as `full`: the lane keeps the record and tries again.
    public var bytesMax: Int64 = 1 << 30
    /// A longer detail is cut.
    public var detailBytesMax = 4_096
    /// Most that one `list` returns, whatever it asks for: the largest page, and one more that tells of the next.
    public var listMax = 1_001
    /// Letters that were sent again or discarded and of which receipts still tell; the oldest go first.
    public var endsKept = 100_000

    public init() {}
}

/// The durable store of records that the broker refused, `dead-letters.sqlite`.
///
/// A dead letter is synced as pending before the hand-over that passes it, and made final after that hand-over was
/// committed. A crash in between leaves it pending; `reconcile` then decides by the broker's own checkpoint, so a
/// record is never both delivered and dead, and never neither. What becomes of a final one is in
/// `DeadLetters+Redelivery.swift`.
///
/// Threads: any; calls wait for each other and block on the disk, so none belongs on an HTTP thread. Everything that
/// changes something is synced when it returns.
public final class DeadLetters: Sendable {
    public static let fileName = "dead-letters.sqlite"

    // Held over the disk, unlike other locks: SQLite is what it guards, and every caller is about to wait for the same
    // disk anyway.
    let file: Lock<DeadLetterFile>
    let settings: DeadLettersSettings
    let metrics: DeadLetterMetrics

    /// Opens the store in `directory`, creating both; its parent must exist.
    ///
    /// - Parameter metrics: where its series go.
    public init(
        directory: String, settings: DeadLettersSettings = DeadLettersSettings(),
        fileSystem: any FileSystem = SystemFileSystem(), metrics: any MetricsFactory = MetricsSystem.factory
    ) throws(StoreError) {
        self.metrics = DeadLetterMetrics(metrics)
        do throws(FileSystemError) {
            try fileSystem.createDirectory(directory)
        } catch {
            throw StoreError(error.isNoSpace ? .full : .other, operation: "mkdir", detail: error.description)
        }
        let connection = try Connection.open(
            path: "\(directory)/\(Self.fileName)", schema: Self.schema, fileSystem: fileSystem)
        try Self.fillIn(connection)
        file = Lock(try DeadLetterFile(connection))
        self.settings = settings
        try change { (_) throws(StoreError) in }
    }

    /// Changes the file in one transaction, and reports what there is then.
    func change<Result>(
        _ body: (inout DeadLetterFile) throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        try file.withLock { (file) throws(StoreError) in
            let before = file.totals
            let connection = file.connection
            let result: Result
            do throws(StoreError) {
                result = try connection.transaction { () throws(StoreError) in try body(&file) }
            } catch {
                file.totals = before
                throw error
            }
            metrics.report(
                file.totals,
                oldestMs: try file.oldest.first { $0.optionalInteger(0) } ?? nil)
            return result
        }
    }

    /// Keeps a refused record until the hand-over that passes it is decided. Adding a pending one again replaces it;
    /// one that is final already stays as it is.
    ///
    /// - Throws: `full` past `DeadLettersSettings.bytesMax` or without space on the disk: nothing was kept, try again.
    public func addPending(
        lsn: LSN, lane: Int, _ spooled: SpoolRecord, code: String, detail: String, atMs: Int64
    ) throws(StoreError) {
        let detail = Self.cut(detail, bytesMax: settings.detailBytesMax)
        let bytesMax = settings.bytesMax
        let record = Self.encoded(spooled, lane: lane)
        try change { (file) throws(StoreError) in
            let used = try file.connection.usedBytes()
            let added = Int64(record.count + code.utf8.count + detail.utf8.count)
            guard used + added <= bytesMax else {
                Limit.deadLetterBytes.reached()
                throw StoreError(
                    .full, operation: "add dead letter", detail: "\(used) bytes in use, the limit is \(bytesMax)")
            }
            let previous = try file.find(lsn)
            if let previous, previous.state != .pending { return }
            try file.addPending(
                lsn, lane, spooled, record, code: code, detail: detail, atMs: atMs, instead: previous)
        }
    }

    /// Makes a pending dead letter final, once the checkpoint that passes it is committed.
    ///
    /// - Returns: false when there is none with this LSN.
    public func finalize(lsn: LSN) throws(StoreError) -> Bool {
        var dead: String?
        let isKnown = try change { (file) throws(StoreError) in
            guard let letter = try file.find(lsn) else { return false }
            if letter.state == .pending {
                try file.move(letter, to: .final)
                dead = letter.code
            }
            return true
        }
        if let dead { metrics.countDead(dead) }
        return isKnown
    }

    /// Decides what a crash left pending, by the checkpoint read back from the broker: at or under it the hand-over
    /// happened and they are dead; above it it did not, and they are removed before the lane tries them again. Of
    /// quarantined records the other way round: at or under it they were delivered, above it they are dead.
    ///
    /// - Returns: those that became final, in order.
    public func reconcile(lane: Int, recoveredCheckpoint: LSN) throws(StoreError) -> [LSN] {
        let (dead, codes) = try change { (file) throws(StoreError) -> ([LSN], [String]) in
            var (dead, codes): ([LSN], [String]) = ([], [])
            let lane = Value.integer(Int64(lane))
            try file.decided.forEach(lane, Value(lsn: recoveredCheckpoint)) { row throws(StoreError) in
                dead.append(LSN(stored: row.integer(0)))
                return .next
            }
            for lsn in dead {
                if let letter = try file.find(lsn) { codes.append(letter.code) }
                try file.setState.run(.integer(DeadLetter.State.final.rawValue), .integer(0), Value(lsn: lsn))
            }
            try file.removePending.run(lane, Value(lsn: recoveredCheckpoint))
            if !dead.isEmpty || file.connection.changes > 0 { try file.count() }
            return (dead, codes)
        }
        for code in codes { metrics.countDead(code) }
        return dead
    }

    // MARK: - Looking

    /// nil: no record with this LSN is dead or about to be.
    public func lookup(lsn: LSN) throws(StoreError) -> DeadLetter? {
        try file.withLock { (file) throws(StoreError) in try file.find(lsn) }
    }

    /// The record itself; nil as for `lookup`.
    public func record(lsn: LSN) throws(StoreError) -> SpoolRecord? {
        try file.withLock { (file) throws(StoreError) in
            guard let bytes = try file.record.first(Value(lsn: lsn), body: { $0.bytes(0) }) ?? nil else { return nil }
            return try Self.decode(bytes, of: lsn)
        }
    }

    /// Also of those that were sent again or discarded, the last `endsKept`; nil: nothing is known of it.
    public func fate(of lsn: LSN) throws(StoreError) -> DeadLetterFate? { try fates(of: [lsn])[0] }

    /// The same of each.
    public func fates(of lsns: [LSN]) throws(StoreError) -> [DeadLetterFate?] {
        try file.withLock { (file) throws(StoreError) in
            var fates: [DeadLetterFate?] = []
            fates.reserveCapacity(lsns.count)
            for lsn in lsns { fates.append(try file.fate(of: lsn)) }
            return fates
        }
    }

    /// Whether any dead letter is gone without a trace: then a record of which nothing is known may have been one.
    public var hasForgotten: Bool {
        get throws(StoreError) {
            try file.withLock { (file) throws(StoreError) in
                try file.hasForgotten.first { $0.integer(0) != 0 } ?? false
            }
        }
    }

    public func count(state: DeadLetter.State) -> Int { file.withLock { $0.totals[state].count } }

    /// A page; at most `DeadLettersSettings.listMax`. Costs what the page holds, and reads no record.
    public func list(_ query: DeadLetterQuery) throws(StoreError) -> [DeadLetter] {
        try file.withLock { (file) throws(StoreError) in
            try file.list(query, limit: max(0, min(query.limit, settings.listMax)))
        }
    }

    static func encoded(_ spooled: SpoolRecord, lane: Int) -> ByteSlice {
        var record = ByteWriter(capacity: SpoolRecordCodec.encodedBytes(spooled))
        SpoolRecordCodec.encode(spooled, lane: UInt8(lane), to: &record)
        return record.bytes[...]
    }

    /// At a character's end.
    private static func cut(_ text: String, bytesMax: Int) -> String {
        var text = text[...]
        while text.utf8.count > bytesMax {
            text = text.prefix(min(text.count - 1, bytesMax))
        }
        return String(text)
    }
}
