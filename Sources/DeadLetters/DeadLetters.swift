public import Primitives
public import Records
public import Store

/// Limits of the dead-letter store.
public struct DeadLettersSettings: Sendable {
    /// Bytes of the file in use past which `addPending` fails as `full`: the lane keeps the record and tries again.
    public var bytesMax: Int64 = 1 << 30
    /// A longer detail is cut.
    public var detailBytesMax = 4_096
    /// Most that one `list` returns, whatever it asks for.
    public var listMax = 1_000

    public init() {}
}

/// The durable store of records that the broker refused, `dead-letters.sqlite`.
///
/// A dead letter is synced as pending before the hand-over that passes it, and made final after that hand-over was
/// committed. A crash in between leaves it pending; `reconcile` then decides by the broker's own checkpoint, so a
/// record is never both delivered and dead, and never neither.
///
/// Threads: any; calls wait for each other and block on the disk, so none belongs on an HTTP thread. Everything that
/// changes something is synced when it returns.
public final class DeadLetters: Sendable {
    public static let fileName = "dead-letters.sqlite"

    static let schema = Schema(
        // "PRdl"
        applicationID: 0x5052_646c,
        migrations: [
            """
            -- lsn: order-preserving, see Value.init(lsn). state: DeadLetter.State.
            CREATE TABLE dead_letters (
                lsn INTEGER PRIMARY KEY,
                lane INTEGER NOT NULL,
                state INTEGER NOT NULL,
                at INTEGER NOT NULL,
                code TEXT NOT NULL,
                detail TEXT NOT NULL,
                record BLOB NOT NULL
            );
            -- Counting and paging must not read the records.
            CREATE INDEX dead_letters_state ON dead_letters (state, lsn);
            """
        ])

    // Held over the disk, unlike other locks: SQLite is what it guards, and every caller is about to wait for the same
    // disk anyway.
    private let file: Lock<DeadLetterFile>
    private let settings: DeadLettersSettings

    /// Opens the store in `directory`, creating both; its parent must exist.
    public init(
        directory: String, settings: DeadLettersSettings = DeadLettersSettings(),
        fileSystem: any FileSystem = SystemFileSystem()
    ) throws(StoreError) {
        do throws(FileSystemError) {
            try fileSystem.createDirectory(directory)
        } catch {
            throw StoreError(error.isNoSpace ? .full : .other, operation: "mkdir", detail: error.description)
        }
        let connection = try Connection.open(
            path: "\(directory)/\(Self.fileName)", schema: Self.schema, fileSystem: fileSystem)
        file = Lock(try DeadLetterFile(connection))
        self.settings = settings
    }

    /// Keeps a refused record until the hand-over that passes it is decided. Adding a pending one again replaces it;
    /// one that is final already stays as it is.
    ///
    /// - Throws: `full` past `DeadLettersSettings.bytesMax` or without space on the disk: nothing was kept, try again.
    public func addPending(
        lsn: LSN, lane: Int, encoded: ByteSlice, code: String, detail: String, atMs: Int64
    ) throws(StoreError) {
        let detail = Self.cut(detail, bytesMax: settings.detailBytesMax)
        let bytesMax = settings.bytesMax
        try file.withLock { (file) throws(StoreError) in
            let used = try file.connection.usedBytes()
            let added = Int64(encoded.count + code.utf8.count + detail.utf8.count)
            guard used + added <= bytesMax else {
                throw StoreError(
                    .full, operation: "add dead letter", detail: "\(used) bytes in use, the limit is \(bytesMax)")
            }
            try file.connection.transaction { () throws(StoreError) in
                try file.add.run(
                    Value(lsn: lsn), .integer(Int64(lane)), .integer(DeadLetter.State.pending.rawValue), .integer(atMs),
                    .text(code), .text(detail), .blob(encoded))
            }
        }
    }

    /// Makes a pending dead letter final, once the checkpoint that passes it is committed.
    ///
    /// - Returns: false when there is none with this LSN.
    public func finalize(lsn: LSN) throws(StoreError) -> Bool {
        try file.withLock { (file) throws(StoreError) in
            try file.connection.transaction { () throws(StoreError) in
                try file.finalize.run(.integer(DeadLetter.State.final.rawValue), Value(lsn: lsn))
                return file.connection.changes > 0
            }
        }
    }

    /// Decides what a crash left pending, by the checkpoint read back from the broker: at or under it the hand-over
    /// happened and they are dead; above it it did not, and they are removed before the lane tries them again.
    ///
    /// - Returns: those that became final, in order.
    public func reconcile(lane: Int, recoveredCheckpoint: LSN) throws(StoreError) -> [LSN] {
        try file.withLock { (file) throws(StoreError) in
            try file.connection.transaction { () throws(StoreError) in
                var dead: [LSN] = []
                let lane = Value.integer(Int64(lane))
                try file.pendingUpTo.forEach(lane, Value(lsn: recoveredCheckpoint)) { row throws(StoreError) in
                    dead.append(LSN(stored: row.integer(0)))
                    return .next
                }
                for lsn in dead {
                    try file.finalize.run(.integer(DeadLetter.State.final.rawValue), Value(lsn: lsn))
                }
                try file.removePending.run(lane, Value(lsn: recoveredCheckpoint))
                return dead
            }
        }
    }

    /// nil: no record with this LSN is dead or about to be.
    public func lookup(lsn: LSN) throws(StoreError) -> DeadLetter? {
        try file.withLock { (file) throws(StoreError) in
            try file.lookup.first(Value(lsn: lsn)) { (row) throws(StoreError) in try DeadLetter(row) }
        }
    }

    public func count(state: DeadLetter.State) throws(StoreError) -> Int {
        try file.withLock { (file) throws(StoreError) in
            Int(try file.count.first(.integer(state.rawValue)) { $0.integer(0) } ?? 0)
        }
    }

    /// A page in LSN order, beginning behind `after` (`.zero`: at the start).
    public func list(state: DeadLetter.State, after: LSN, limit: Int) throws(StoreError) -> [DeadLetter] {
        let limit = max(0, min(limit, settings.listMax))
        return try file.withLock { (file) throws(StoreError) in
            var page: [DeadLetter] = []
            try file.list.forEach(.integer(state.rawValue), Value(lsn: after), .integer(Int64(limit))) {
                row throws(StoreError) in
                page.append(try DeadLetter(row))
                return .next
            }
            return page
        }
    }

    /// Forgets a final dead letter and frees its space.
    ///
    /// - Returns: false when there is no final one with this LSN.
    public func discard(lsn: LSN) throws(StoreError) -> Bool {
        try file.withLock { (file) throws(StoreError) in
            try file.connection.transaction { () throws(StoreError) in
                try file.discard.run(Value(lsn: lsn), .integer(DeadLetter.State.final.rawValue))
                return file.connection.changes > 0
            }
        }
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
