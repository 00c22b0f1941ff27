import CSQLite
public import Primitives

/// A value bound to a parameter.
public enum Value: Sendable {
    case null
    case integer(Int64)
    case text(String)
    case blob(ByteSlice)

    /// nil is NULL; an empty slice is an empty blob.
    @inline(__always)
    public init(_ bytes: ByteSlice?) { self = bytes.map(Value.blob) ?? .null }

    /// nil is NULL.
    @inline(__always)
    public init(_ integer: Int64?) { self = integer.map(Value.integer) ?? .null }
}

/// What `Statement.forEach` does after a row.
public enum RowStep: Sendable {
    case next, stop
}

/// A prepared statement, kept by its owner and run many times. The thread rule of its connection applies.
///
/// Values are bound without a copy: SQLite reads the caller's bytes while the call runs, and the statement is reset
/// before the call returns.
public final class Statement {
    private let connection: Connection
    private let handle: OpaquePointer
    private let sql: String

    public init(_ connection: Connection, _ sql: String) throws(StoreError) {
        var handle: OpaquePointer?
        let result = sqlite3_prepare_v3(
            connection.handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &handle, nil)
        guard result == SQLITE_OK, let handle else { throw connection.error(result, sql) }
        self.connection = connection
        self.handle = handle
        self.sql = sql
    }

    deinit { sqlite3_finalize(handle) }

    /// Runs it to its end, dropping rows.
    public func run(_ values: Value...) throws(StoreError) {
        try execute(values) { _ throws(StoreError) in .next }
    }

    /// Calls `body` for each row, until it says `stop`.
    public func forEach(
        _ values: Value..., body: (borrowing Row) throws(StoreError) -> RowStep
    ) throws(StoreError) {
        try execute(values, body)
    }

    /// As above, for a statement whose number of parameters depends on something.
    public func forEach(
        _ values: [Value], body: (borrowing Row) throws(StoreError) -> RowStep
    ) throws(StoreError) {
        try execute(values, body)
    }

    /// The first row; nil when there is none.
    public func first<Result>(
        _ values: Value..., body: (borrowing Row) throws(StoreError) -> Result
    ) throws(StoreError) -> Result? {
        var found: Result?
        try execute(values) { (row) throws(StoreError) in
            found = try body(row)
            return .stop
        }
        return found
    }

    private func execute(
        _ values: [Value], _ body: (borrowing Row) throws(StoreError) -> RowStep
    ) throws(StoreError) {
        precondition(values.count == Int(sqlite3_bind_parameter_count(handle)), "parameters of \(sql)")
        var failure: StoreError?
        let result = withBound(values, from: 0) { failure = step(body) }
        // Before the bytes go out of scope nothing of them may stay bound; both calls only repeat an earlier error.
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
        if let failure { throw failure }
        if result != SQLITE_OK { throw connection.error(result, sql) }
    }

    private func step(_ body: (borrowing Row) throws(StoreError) -> RowStep) -> StoreError? {
        // The bytes belong to this scope's callers, so it resets itself, whatever way it ends.
        defer { sqlite3_reset(handle) }
        while true {
            switch sqlite3_step(handle) {
            case SQLITE_DONE: return nil
            case SQLITE_ROW:
                do throws(StoreError) {
                    if try body(Row(handle: handle)) == .stop { return nil }
                } catch {
                    return error
                }
            case let result: return connection.error(result, sql)
            }
        }
    }

    /// Recursion, because a slice's bytes may only be looked at inside its own closure.
    private func withBound(_ values: [Value], from index: Int, _ body: () -> Void) -> Int32 {
        guard index < values.count else {
            body()
            return SQLITE_OK
        }
        let position = Int32(index + 1)
        let result: Int32
        switch values[index] {
        case .null: result = sqlite3_bind_null(handle, position)
        case .integer(let integer): result = sqlite3_bind_int64(handle, position, integer)
        case .text(var text):
            return text.withUTF8 { utf8 in
                // A nil pointer would bind NULL. A nil destructor is SQLITE_STATIC: SQLite makes no copy.
                let result = utf8.withMemoryRebound(to: CChar.self) { characters in
                    characters.isEmpty
                        ? sqlite3_bind_text(handle, position, "", 0, nil)
                        : sqlite3_bind_text64(
                            handle, position, characters.baseAddress, UInt64(characters.count), nil, UInt8(SQLITE_UTF8))
                }
                return result == SQLITE_OK ? withBound(values, from: index + 1, body) : result
            }
        case .blob(let slice):
            return slice.withUnsafeBytes { raw in
                let result =
                    raw.isEmpty
                    ? sqlite3_bind_zeroblob(handle, position, 0)
                    : sqlite3_bind_blob64(handle, position, raw.baseAddress, UInt64(raw.count), nil)
                return result == SQLITE_OK ? withBound(values, from: index + 1, body) : result
            }
        }
        return result == SQLITE_OK ? withBound(values, from: index + 1, body) : result
    }
}

/// The row a statement stands on; not to be kept. Columns count from 0.
public struct Row: ~Copyable {
    fileprivate let handle: OpaquePointer

    public func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    /// 0 for NULL.
    public func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    public func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

    /// Of a blob; 0 for NULL.
    public func byteCount(_ column: Int32) -> Int { Int(sqlite3_column_bytes(handle, column)) }

    /// A copy; nil for NULL.
    public func bytes(_ column: Int32) -> ByteSlice? {
        guard !isNull(column) else { return nil }
        // The order matters: asking for the length first could convert.
        let pointer = sqlite3_column_blob(handle, column)
        let count = Int(sqlite3_column_bytes(handle, column))
        return ByteSlice(UnsafeRawBufferPointer(start: pointer, count: pointer == nil ? 0 : count))
    }

    /// A copy; nil for NULL. - Throws: `corrupt` when it is not UTF-8.
    public func text(_ column: Int32) throws(StoreError) -> String? {
        guard let bytes = bytes(column) else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .malformed("column \(column)", "text is not UTF-8")
        }
        return text
    }
}
