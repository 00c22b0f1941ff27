import CSQLite
import Glibc

/// What SQLite refused. The kind says what to do; code and detail are SQLite's own
/// (<https://www.sqlite.org/rescode.html>).
public struct StoreError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        /// Another connection holds the lock and did not let go within the busy timeout.
        case busy
        /// No space: `SQLITE_FULL`, or an I/O error whose errno is `ENOSPC` or `EDQUOT`.
        case full
        /// The file is damaged, or holds what this program never wrote.
        case corrupt
        /// The file, its directory or its file system refuses writes.
        case readonly
        /// A file of another application.
        case foreign
        /// Written by a newer version of this program.
        case newer
        case other
    }

    public let kind: Kind
    /// SQLite's extended result code; 0 where this module found the fault itself.
    public let code: Int32
    /// What was being done, for example `commit`, or the start of the statement.
    public let operation: String
    public let detail: String

    public init(_ kind: Kind, code: Int32 = 0, operation: String, detail: String) {
        self.kind = kind
        self.code = code
        self.operation = operation
        self.detail = detail
    }

    /// No space now, may be better later.
    public var isNoSpace: Bool { kind == .full }

    /// The same call may succeed later with nothing changed but the machine's state.
    public var isRetriable: Bool { kind == .busy || kind == .full || code & 0xFF == SQLITE_NOMEM }

    /// A sync failed for another reason than space. What was written before is in an unknown state, and a later sync
    /// that succeeds proves nothing (Rebello et al., USENIX ATC 2020): let recovery at the next start decide.
    public var isSyncFailure: Bool {
        kind == .other && (code == storeSyncFailure || code == storeDirectorySyncFailure)
    }

    /// What the operator does about it.
    public var advice: String {
        switch kind {
        case .busy: "find the other process that has the file open"
        case .full: "free space on the file system, or raise the limit"
        case .corrupt: "check the disk, then restore the file from a backup"
        case .readonly: "check ownership and mount options of the directory"
        case .foreign: "name another directory"
        case .newer: "run the version that wrote the file, or a newer one"
        case .other: "look up the SQLite code"
        }
    }

    public var description: String { "\(operation): \(detail) (\(kind.rawValue), SQLite code \(code)): \(advice)" }

    /// The stored bytes are not of the form this program writes.
    public static func malformed(_ operation: String, _ detail: String) -> StoreError {
        StoreError(.corrupt, operation: operation, detail: detail)
    }
}

// Composed in C by a macro that Swift does not import.
private let storeSyncFailure = SQLITE_IOERR | 4 << 8
private let storeDirectorySyncFailure = SQLITE_IOERR | 5 << 8

extension StoreError {
    /// From the connection's last error. `result` is what the call returned: the connection may know more.
    init(database: OpaquePointer?, result: Int32, operation: String) {
        guard let database else {
            self.init(.other, code: result, operation: operation, detail: String(cString: sqlite3_errstr(result)))
            return
        }
        let extended = sqlite3_extended_errcode(database)
        // Some results (misuse) are not stored on the connection.
        let code = extended & 0xFF == result & 0xFF ? extended : result
        let detail =
            code == extended ? String(cString: sqlite3_errmsg(database)) : String(cString: sqlite3_errstr(result))
        let kind: Kind
        switch code & 0xFF {
        case SQLITE_BUSY, SQLITE_LOCKED: kind = .busy
        case SQLITE_FULL: kind = .full
        case SQLITE_CORRUPT, SQLITE_NOTADB: kind = .corrupt
        case SQLITE_READONLY, SQLITE_PERM: kind = .readonly
        case SQLITE_IOERR, SQLITE_CANTOPEN:
            let errno = sqlite3_system_errno(database)
            kind = errno == ENOSPC || errno == EDQUOT ? .full : errno == EROFS ? .readonly : .other
        default: kind = .other
        }
        self.init(kind, code: code, operation: operation, detail: detail)
    }
}
