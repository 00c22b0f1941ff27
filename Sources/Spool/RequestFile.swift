import Primitives
import Records
import Store

/// `requests.sqlite` in the spool's directory. Not there before the first request with a key or a sequence.
final class RequestFile: RequestStore {
    static let name = "requests.sqlite"
    /// What was set aside last.
    static let asideName = "requests.sqlite.broken"

    private let directory: String
    private let fileSystem: any FileSystem
    // Held over the disk: SQLite is what it guards, and one thread uses it at a time.
    private let opened = Lock<Opened?>(nil)

    private struct Opened {
        let connection: Connection
        let setHead: Statement
        let expireKeys: Statement
        let addKeys: Statement
        let forget: Statement
        let setProducer: Statement
    }

    private static let schema = Schema(
        // "PRrq"
        applicationID: 0x5052_7271,
        migrations: [
            """
            -- The bytes are those of RequestRows. last: LSN of the row's last key, order-preserving (storedLSN).
            CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL);
            CREATE TABLE keys (last INTEGER PRIMARY KEY, entries BLOB NOT NULL);
            CREATE TABLE producers (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, state BLOB NOT NULL);
            """
        ])

    init(directory: String, fileSystem: any FileSystem) {
        self.directory = directory
        self.fileSystem = fileSystem
    }

    private var path: String { directory + "/" + Self.name }

    func head() throws(StoreError) -> RequestHead? {
        do throws(FileSystemError) {
            // Asked first: whoever uses no keys shall not get the file.
            guard try fileSystem.exists(path) else { return nil }
        } catch {
            throw StoreError(.other, operation: "look for \(path)", detail: error.description)
        }
        return try withOpened { (file) throws(StoreError) in
            try Statement(file.connection, "SELECT state FROM head").first { (row) throws(StoreError) in
                let bytes = row.bytes(0) ?? []
                return try Self.decoded { () throws(MalformedBytes) in try RequestRows.head(bytes) }
            }
        }
    }

    func forEachRow(_ visit: (RequestRow) -> Void) throws(StoreError) {
        try withOpened { (file) throws(StoreError) in
            let keys = try Statement(file.connection, "SELECT entries FROM keys ORDER BY last")
            try keys.forEach { row throws(StoreError) in
                do throws(MalformedBytes) {
                    visit(.keys(try RequestRows.keys(row.bytes(0) ?? [])))
                } catch {
                    visit(.unreadable(error.what))
                }
                return .next
            }
            let producers = try Statement(file.connection, "SELECT state FROM producers")
            try producers.forEach { row throws(StoreError) in
                do throws(MalformedBytes) {
                    let producer = try RequestRows.producer(row.bytes(0) ?? [])
                    visit(.producer(producer.name, producer.state))
                } catch {
                    visit(.unreadable(error.what))
                }
                return .next
            }
        }
    }

    func save(_ change: RequestChange) throws(StoreError) {
        try withOpened { (file) throws(StoreError) in try Self.save(change, to: file) }
    }

    func replace(with change: RequestChange) throws(StoreError) {
        close()
        let new = path + ".new"
        try onDisk("replace requests") { () throws(FileSystemError) in try remove(new, "-wal", "-shm", "") }
        do {
            let file = try open(new)
            try Self.save(change, to: file)
            // What is renamed is one file.
            try file.connection.execute("PRAGMA journal_mode = DELETE")
        }
        try onDisk("replace requests") { () throws(FileSystemError) in
            // A log that stays would be taken for the new file's.
            try remove(path, "-wal", "-shm")
            try fileSystem.syncDirectory(directory)
            try fileSystem.rename(new, to: path)
            try fileSystem.syncDirectory(directory)
        }
    }

    private static func save(_ change: RequestChange, to file: Opened) throws(StoreError) {
        try file.connection.transaction { () throws(StoreError) in
            if change.replacesAll { try file.connection.execute("DELETE FROM keys; DELETE FROM producers") }
            try file.expireKeys.run(.integer(Self.stored(change.keysFrom)))
            for name in change.forgotten { try file.forget.run(Self.value(name)) }
            for entries in change.keys {
                guard let last = entries.last else { continue }
                try file.addKeys.run(
                    .integer(Self.stored(last.first)), .blob(RequestRows.encode(entries)[...]))
            }
            for (name, state) in change.producers {
                try file.setProducer.run(Self.value(name), .blob(RequestRows.encode(name, state)[...]))
            }
            try file.setHead.run(.blob(RequestRows.encode(change.head)[...]))
        }
    }

    func setAside() throws(StoreError) {
        close()
        try onDisk("set requests aside") { () throws(FileSystemError) in
            // A log that stays would be taken for the next file's.
            try remove(path, "-wal", "-shm")
            if try fileSystem.exists(path) { try fileSystem.rename(path, to: directory + "/" + Self.asideName) }
            try fileSystem.syncDirectory(directory)
        }
    }

    private func remove(_ path: String, _ endings: String...) throws(FileSystemError) {
        for ending in endings where try fileSystem.exists(path + ending) { try fileSystem.remove(path + ending) }
    }

    private func onDisk(_ operation: String, _ body: () throws(FileSystemError) -> Void) throws(StoreError) {
        do throws(FileSystemError) {
            try body()
        } catch {
            throw StoreError(error.isNoSpace ? .full : .other, operation: operation, detail: error.description)
        }
    }

    func close() { opened.withLock { $0 = nil } }

    private func withOpened<Result>(
        _ body: (Opened) throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        try opened.withLock { (opened) throws(StoreError) in
            if let file = opened { return try body(file) }
            let file = try open(path)
            opened = file
            return try body(file)
        }
    }

    private func open(_ path: String) throws(StoreError) -> Opened {
        let connection = try Connection.open(
            path: path, schema: Self.schema, settings: ConnectionSettings(isExclusive: true), fileSystem: fileSystem)
        return Opened(
            connection: connection,
            setHead: try Statement(connection, "INSERT OR REPLACE INTO head (id, state) VALUES (1, ?)"),
            expireKeys: try Statement(connection, "DELETE FROM keys WHERE last < ?"),
            addKeys: try Statement(connection, "INSERT OR REPLACE INTO keys (last, entries) VALUES (?, ?)"),
            forget: try Statement(connection, "DELETE FROM producers WHERE name = ?"),
            setProducer: try Statement(
                connection,
                """
                INSERT INTO producers (name, state) VALUES (?, ?)
                ON CONFLICT (name) DO UPDATE SET state = excluded.state
                """))
    }

    /// An LSN's epoch is Unix time in its upper half, so from 2038 on it does not fit a signed integer: its top bit is
    /// flipped, which keeps the order.
    private static func stored(_ lsn: LSN) -> Int64 { Int64(bitPattern: lsn.rawValue ^ 1 << 63) }

    private static func value(_ name: Digest) -> Value {
        var writer = ByteWriter(capacity: 16)
        RequestRows.encode(name, to: &writer)
        return .blob(writer.bytes[...])
    }

    private static func decoded<Result>(_ decode: () throws(MalformedBytes) -> Result) throws(StoreError) -> Result {
        do throws(MalformedBytes) {
            return try decode()
        } catch {
            throw .malformed("requests", error.what)
        }
    }
}
