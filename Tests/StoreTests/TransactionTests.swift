import Primitives
import Store
import Testing

@Suite struct TransactionTests {
    @Test func begin_IsBusyAndRetriable_WhenAnotherConnectionWrites() throws {
        try withTemporaryFile { path in
            let settings = ConnectionSettings(busyTimeoutMs: 20)
            let first = try Connection.open(path: path, schema: schemaOne, settings: settings)
            let second = try Connection.open(path: path, schema: schemaOne, settings: settings)
            try first.begin()
            let error = try storeError { try second.begin() }
            #expect(error.kind == .busy)
            #expect(error.isRetriable)
            #expect(!error.isNoSpace)
            try first.rollback()
            try second.begin()
            #expect(second.isInTransaction)
        }
    }

    @Test func transaction_IsFullRetriableAndUndone_WhenThereIsNoSpace() throws {
        try withTemporaryFile { path in
            let connection = try Connection.open(
                path: path, schema: schemaOne, settings: ConnectionSettings(pagesMax: 16))
            let insert = try Statement(connection, "INSERT INTO things (body) VALUES (?)")
            let body = Value.blob(ByteSlice(repeating: 1, count: 4000))
            try connection.transaction { () throws(StoreError) in try insert.run(body) }
            let error = try storeError {
                try connection.transaction { () throws(StoreError) in for _ in 0..<100 { try insert.run(body) } }
            }
            #expect(error.kind == .full)
            #expect(error.isNoSpace)
            #expect(error.isRetriable)
            #expect(!connection.isInTransaction)
            #expect(try connection.count() == 1)
            // Space again: the very same connection goes on.
            try connection.limitPages(to: 1000)
            try connection.transaction { () throws(StoreError) in for _ in 0..<100 { try insert.run(body) } }
            #expect(try connection.count() == 101)
        }
    }

    @Test func transaction_IsUndone_WhenTheBodyThrows() throws {
        try withTemporaryFile { path in
            let connection = try Connection.open(path: path, schema: schemaOne)
            let error = try storeError {
                try connection.transaction { () throws(StoreError) in
                    try connection.execute("INSERT INTO things (id) VALUES (1)")
                    throw StoreError.malformed("test", "thrown by the body")
                }
            }
            #expect(error.kind == .corrupt)
            #expect(try connection.count() == 0)
        }
    }

    @Test func savepoint_UndoesOnlyItself_WhenItsBodyThrows() throws {
        try withTemporaryFile { path in
            let connection = try Connection.open(path: path, schema: schemaOne)
            try connection.begin()
            for id in 1...3 {
                let result = try connection.savepoint { () throws(StoreError) in
                    try connection.execute("INSERT INTO things (id) VALUES (\(id))")
                    if id == 2 { throw StoreError.malformed("test", "thrown by the body") }
                }
                switch result {
                case .success: #expect(id != 2)
                case .failure: #expect(id == 2)
                }
            }
            try connection.commit()
            var ids: [Int64] = []
            try Statement(connection, "SELECT id FROM things ORDER BY id").forEach { row in
                ids.append(row.integer(0))
                return .next
            }
            #expect(ids == [1, 3])
        }
    }

    @Test func savepoint_TellsThatTheTransactionIsGone_WhenTheDiskIsFull() throws {
        try withTemporaryFile { path in
            let connection = try Connection.open(
                path: path, schema: schemaOne, settings: ConnectionSettings(pagesMax: 16))
            let insert = try Statement(connection, "INSERT INTO things (body) VALUES (?)")
            try connection.begin()
            let result = try connection.savepoint { () throws(StoreError) in
                for _ in 0..<100 { try insert.run(.blob(ByteSlice(repeating: 1, count: 4000))) }
            }
            guard case .failure(let error) = result else {
                Issue.record("the disk was not full")
                return
            }
            #expect(error.kind == .full)
            try connection.rollback()
            #expect(try connection.count() == 0)
        }
    }

    @Test func checkpoint_LetsTheLogStartOver() throws {
        try withTemporaryFile { path in
            let connection = try Connection.open(
                path: path, schema: schemaOne, settings: ConnectionSettings(automaticCheckpointPages: 0))
            _ = connection.takePagesWritten()
            try connection.execute("INSERT INTO things (body) VALUES (zeroblob(100000))")
            #expect(connection.takePagesWritten() >= 24)
            let state = try connection.checkpoint(.passive)
            #expect(state.pages >= 24)
            #expect(state.pagesCopied == state.pages)
            #expect(try connection.checkpoint(.truncate).pages == 0)
            #expect(try connection.usedBytes() > 100_000)
        }
    }
}
