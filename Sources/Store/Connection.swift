import CSQLite
public import Primitives

/// How a connection is opened.
public struct ConnectionSettings: Sendable {
    /// Of a file that is being created; a power of two from 512 to 65,536.
    public var pageBytes: Int32
    /// How long a call waits for another connection's lock before it fails as `busy`.
    public var busyTimeoutMs: Int32
    /// Page cache.
    public var cacheBytes: Int
    /// The write-ahead log is copied back by SQLite inside a commit past so many pages; 0: never, the owner calls
    /// `checkpoint`.
    public var automaticCheckpointPages: Int32
    /// Largest database, in pages; nil: SQLite's own limit. Reaching it is `full`.
    public var pagesMax: Int64?
    /// No other connection: the index of the log is in memory instead of a file beside it, so that opening needs no
    /// space on the disk (sqlite.org/wal.html, "Use of WAL Without Shared-Memory").
    public var isExclusive: Bool

    public init(
        pageBytes: Int32 = 4096, busyTimeoutMs: Int32 = 5000, cacheBytes: Int = 8 << 20,
        automaticCheckpointPages: Int32 = 1000, pagesMax: Int64? = nil, isExclusive: Bool = false
    ) {
        self.pageBytes = pageBytes
        self.busyTimeoutMs = busyTimeoutMs
        self.cacheBytes = cacheBytes
        self.automaticCheckpointPages = automaticCheckpointPages
        self.pagesMax = pagesMax
        self.isExclusive = isExclusive
    }
}

/// One connection to one SQLite file: WAL, `synchronous=FULL`, so that what `commit` returned for is on the disk.
///
/// Threads: one at a time. The type is not `Sendable`, so the compiler holds its owner to that: keep it with its
/// statements behind a lock, or give it to one thread. Every call may block on the disk.
public final class Connection {
    public let path: String
    let handle: OpaquePointer

    /// Bytes that the log file keeps after it was copied back.
    static let logBytesKept = 64 << 20

    private init(path: String, flags: Int32) throws(StoreError) {
        var handle: OpaquePointer?
        // NOMUTEX: the thread rule above is the lock.
        let result = sqlite3_open_v2(path, &handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard result == SQLITE_OK, let handle else {
            let error = StoreError(database: handle, result: result, operation: "open \(path)")
            sqlite3_close_v2(handle)
            throw error
        }
        self.path = path
        self.handle = handle
    }

    // v2: the file stays open until the last statement is gone too.
    deinit { sqlite3_close_v2(handle) }

    /// Opens for reading and writing; creates the file, brings its schema up to date and makes its name durable.
    ///
    /// - Throws: `foreign`, `newer`, or what the disk says.
    public static func open(
        path: String, schema: Schema, settings: ConnectionSettings = ConnectionSettings(),
        fileSystem: any FileSystem = SystemFileSystem()
    ) throws(StoreError) -> Connection {
        let connection = try Connection(path: path, flags: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
        try connection.prepare(settings)
        // Before WAL is asked for: that would already write to somebody else's file.
        try schema.check(connection)
        // The page size of an existing file does not change.
        try connection.execute("PRAGMA page_size = \(settings.pageBytes)")
        guard try connection.text("PRAGMA journal_mode = WAL") == "wal" else {
            throw StoreError(.other, operation: "open \(path)", detail: "the file system does not support WAL")
        }
        try connection.execute(
            """
            PRAGMA synchronous = FULL;
            PRAGMA wal_autocheckpoint = \(settings.automaticCheckpointPages);
            PRAGMA journal_size_limit = \(logBytesKept);
            PRAGMA secure_delete = OFF
            """)
        if let pagesMax = settings.pagesMax { try connection.execute("PRAGMA max_page_count = \(pagesMax)") }
        try schema.migrate(connection)
        try connection.limitCache(settings)
        try connection.proveLog()
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        do throws(FileSystemError) {
            try fileSystem.syncDirectory(directory)
        } catch {
            throw StoreError(error.isNoSpace ? .full : .other, operation: "open \(path)", detail: error.description)
        }
        return connection
    }

    /// Opens for reading only. The file exists and has this very version: a writer was opened before.
    public static func openReadOnly(
        path: String, schema: Schema, settings: ConnectionSettings = ConnectionSettings()
    ) throws(StoreError) -> Connection {
        let connection = try Connection(path: path, flags: SQLITE_OPEN_READONLY)
        try connection.prepare(settings)
        let version = try schema.check(connection)
        guard version == schema.version else {
            throw StoreError(
                .other, operation: "open \(path)",
                detail: "version \(version) where \(schema.version) is needed: open it for writing first")
        }
        try connection.limitCache(settings)
        return connection
    }

    /// Copies back what the log holds, so that it is written once more. After a failed sync the kernel may go on to
    /// show pages that never reached the disk, and count them as written, so that no later sync writes them (Rebello et
    /// al., USENIX ATC 2020): what this process reads there, and would act upon, could be gone with the power.
    private func proveLog() throws(StoreError) {
        do throws(StoreError) {
            try checkpoint(.truncate)
        } catch {
            // Without space, or while somebody reads, the log stays as it was: that is no reason not to start.
            guard error.isRetriable else { throw error }
        }
    }

    private func prepare(_ settings: ConnectionSettings) throws(StoreError) {
        sqlite3_busy_timeout(handle, settings.busyTimeoutMs)
        try execute("PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY")
        // Before the log is looked at.
        if settings.isExclusive { try execute("PRAGMA locking_mode = EXCLUSIVE") }
    }

    /// Once the file's page size is known: SQLite makes a number of pages of the bytes when they are set, and keeps
    /// that number when the size of a page changes.
    private func limitCache(_ settings: ConnectionSettings) throws(StoreError) {
        try execute("PRAGMA cache_size = -\(settings.cacheBytes >> 10)")
    }

    /// Memory of the page cache.
    var cacheUsedBytes: Int {
        var (used, highest): (Int32, Int32) = (0, 0)
        sqlite3_db_status(handle, SQLITE_DBSTATUS_CACHE_USED, &used, &highest, 0)
        return Int(used)
    }

    /// Runs statements without parameters, dropping rows.
    public func execute(_ script: String) throws(StoreError) {
        let result = sqlite3_exec(handle, script, nil, nil, nil)
        guard result == SQLITE_OK else { throw error(result, script) }
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE.
    public var changes: Int { Int(sqlite3_changes64(handle)) }

    /// Rowid of the last INSERT.
    public var lastInsertedID: Int64 { sqlite3_last_insert_rowid(handle) }

    /// Changes what `ConnectionSettings.pagesMax` set; never below the pages in use.
    public func limitPages(to pages: Int64) throws(StoreError) {
        try execute("PRAGMA max_page_count = \(pages)")
    }

    /// Bytes of the file that hold something, as this connection sees it; pages that became free do not count.
    public func usedBytes() throws(StoreError) -> Int64 {
        let pages = try integer("PRAGMA page_count") - integer("PRAGMA freelist_count")
        return try pages * integer("PRAGMA page_size")
    }

    /// Pages written to the log since the last call.
    public func takePagesWritten() -> Int {
        var (current, high): (Int32, Int32) = (0, 0)
        let result = sqlite3_db_status(handle, SQLITE_DBSTATUS_CACHE_WRITE, &current, &high, 1)
        // Fails on an unknown verb only.
        return result == SQLITE_OK ? Int(current) : 0
    }

    func integer(_ sql: String) throws(StoreError) -> Int64 {
        try Statement(self, sql).first { row in row.integer(0) } ?? 0
    }

    func text(_ sql: String) throws(StoreError) -> String? {
        try Statement(self, sql).first { (row) throws(StoreError) in try row.text(0) } ?? nil
    }

    func error(_ result: Int32, _ operation: String) -> StoreError {
        StoreError(database: handle, result: result, operation: String(operation.prefix(60)))
    }
}
