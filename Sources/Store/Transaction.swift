import CSQLite

extension Connection {
    /// False once a transaction ended, also when SQLite itself rolled it back: on a full disk and some I/O errors it
    /// does (<https://www.sqlite.org/lang_transaction.html>, section 3).
    public var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// Takes the write lock at once, so that later statements cannot fail as `busy`.
    public func begin() throws(StoreError) { try execute("BEGIN IMMEDIATE") }

    /// A snapshot for reading: every SELECT until `commit` or `rollback` sees the same state.
    public func beginRead() throws(StoreError) { try execute("BEGIN DEFERRED") }

    /// When it returns the transaction is on the disk. When it throws nothing of it will be seen by this process; only
    /// after a failed sync and a crash is that not certain (`StoreError.isSyncFailure`).
    public func commit() throws(StoreError) {
        do throws(StoreError) {
            try execute("COMMIT")
        } catch {
            try rollback()
            throw error
        }
    }

    /// Undoes the transaction if there still is one.
    public func rollback() throws(StoreError) {
        if isInTransaction { try execute("ROLLBACK") }
    }

    /// Runs `body` in a transaction of its own: committed when it returns, undone when it throws.
    public func transaction<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        try begin()
        let result: Result
        do throws(StoreError) {
            result = try body()
        } catch {
            try rollback()
            throw error
        }
        try commit()
        return result
    }

    /// Runs `body` inside the open transaction so that its failure undoes only what it did.
    ///
    /// - Returns: what `body` returned or threw. After a failure look at `isInTransaction`: when SQLite gave up the
    ///   whole transaction, everything before `body` is undone too.
    /// - Throws: when the savepoint itself failed; roll back.
    public func savepoint<Success, Failure>(
        _ body: () throws(Failure) -> Success
    ) throws(StoreError) -> Result<Success, Failure> {
        precondition(isInTransaction, "a savepoint outside a transaction would commit on release")
        try execute("SAVEPOINT job")
        let outcome: Result<Success, Failure>
        do throws(Failure) {
            outcome = .success(try body())
        } catch {
            outcome = .failure(error)
        }
        switch outcome {
        case .success: try execute("RELEASE job")
        case .failure: if isInTransaction { try execute("ROLLBACK TO job; RELEASE job") }
        }
        return outcome
    }
}

/// What a checkpoint of the write-ahead log left (<https://www.sqlite.org/c3ref/wal_checkpoint_v2.html>).
public struct LogState: Equatable, Sendable {
    /// Pages in the log.
    public let pages: Int
    /// Of them already copied back into the database; as many as `pages`: the log starts over.
    public let pagesCopied: Int
}

extension Connection {
    public enum CheckpointMode: Sendable {
        /// Copies what no reader holds back; never waits.
        case passive
        /// Waits for readers, up to the busy timeout, so that the log starts over.
        case restart
        /// As `restart`, and cuts the log file to nothing.
        case truncate
    }

    /// Copies the log back into the database and syncs both.
    ///
    /// - Throws: `busy` when a reader or writer did not let go; the copying done until then counts.
    @discardableResult
    public func checkpoint(_ mode: CheckpointMode) throws(StoreError) -> LogState {
        let verb =
            switch mode {
            case .passive: SQLITE_CHECKPOINT_PASSIVE
            case .restart: SQLITE_CHECKPOINT_RESTART
            case .truncate: SQLITE_CHECKPOINT_TRUNCATE
            }
        var (pages, copied): (Int32, Int32) = (0, 0)
        let result = sqlite3_wal_checkpoint_v2(handle, nil, verb, &pages, &copied)
        guard result == SQLITE_OK else { throw error(result, "checkpoint") }
        return LogState(pages: Int(pages), pagesCopied: Int(copied))
    }
}
