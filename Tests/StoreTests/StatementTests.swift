import Primitives
import Store
import Testing

@Suite struct StatementTests {
    @Test(arguments: [(nil, nil), (0, ""), (3, "ä\u{0}z"), (70_000, "plain")] as [(Int?, String?)])
    func values_ComeBackAsTheyWere(count: Int?, text: String?) throws {
        let bytes = count.map { (0..<$0).map { UInt8(truncatingIfNeeded: $0) } }
        try withTemporaryFile { path in
            let connection = try Connection.open(path: path, schema: schemaTwo)
            let insert = try Statement(connection, "INSERT INTO things (id, body, note) VALUES (?, ?, ?)")
            try insert.run(.integer(.min), Value(bytes.map { $0[...] }), text.map(Value.text) ?? .null)
            let read = try Statement(connection, "SELECT id, body, note FROM things").first {
                (row) throws(StoreError) in
                (row.integer(0), row.bytes(1).map { [UInt8]($0) }, try row.text(2), row.byteCount(1))
            }
            let row = try #require(read)
            #expect(row.0 == .min)
            #expect(row.1?.count == count)
            let same = row.1 == bytes
            #expect(same)
            #expect(row.2 == text)
            #expect(row.3 == count ?? 0)
        }
    }

    @Test func statement_CanRunAgain_AfterAnErrorAndAfterAnEarlyStop() throws {
        try withTemporaryFile { path in
            let connection = try Connection.open(path: path, schema: schemaOne)
            let insert = try Statement(connection, "INSERT INTO things (id) VALUES (?)")
            try insert.run(.integer(1))
            let error = try storeError { try insert.run(.integer(1)) }
            #expect(error.kind == .other)
            #expect(error.detail.contains("UNIQUE"))
            try insert.run(.integer(2))
            let select = try Statement(connection, "SELECT id FROM things ORDER BY id")
            for _ in 0..<2 {
                let id = try select.first { $0.integer(0) }
                #expect(id == 1)
            }
        }
    }

    @Test func statement_Throws_WhenTheSQLIsWrongOrTextIsNotUTF8() throws {
        try withTemporaryFile { path in
            let connection = try Connection.open(path: path, schema: schemaTwo)
            let syntax = try storeError { _ = try Statement(connection, "SELEC 1") }
            #expect(syntax.detail.contains("syntax"))
            try connection.execute("INSERT INTO things (note) VALUES (CAST(x'FF' AS TEXT))")
            let error = try storeError {
                _ = try Statement(connection, "SELECT note FROM things").first { (row) throws(StoreError) in
                    try row.text(0)
                }
            }
            #expect(error.kind == .corrupt, "\(error)")
        }
    }

    @Test func everyKind_SaysWhatToDo() {
        for kind in StoreError.Kind.allCases {
            let error = StoreError(kind, code: 1, operation: "commit", detail: "it broke")
            #expect(!error.advice.isEmpty)
            #expect(error.description.contains("commit") && error.description.contains("it broke"))
            #expect(error.isRetriable == (kind == .busy || kind == .full))
        }
        #expect(StoreError(.other, code: 1034, operation: "commit", detail: "fsync").isSyncFailure)
        #expect(!StoreError(.full, code: 1034, operation: "commit", detail: "fsync").isSyncFailure)
    }
}
