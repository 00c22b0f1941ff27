import Store
import TestSupport
import Testing

/// Runs `body` with the path of a file that does not exist yet, in a directory removed afterwards.
func withTemporaryFile(_ body: (String) throws -> Void) throws {
    let directory = try TemporaryDirectory()
    try body("\(directory.path)/test.sqlite")
    withExtendedLifetime(directory) {}
}

let schemaOne = Schema(applicationID: 77, migrations: ["CREATE TABLE things (id INTEGER PRIMARY KEY, body BLOB)"])
let schemaTwo = Schema(
    applicationID: 77, migrations: schemaOne.migrations + ["ALTER TABLE things ADD COLUMN note TEXT"])

/// The error that `body` throws.
func storeError(_ body: () throws -> Void) throws -> StoreError {
    do {
        try body()
    } catch let error as StoreError {
        return error
    }
    Issue.record("no error was thrown")
    throw StoreError(.other, operation: "test", detail: "no error")
}

extension Connection {
    func count(_ table: String = "things") throws -> Int64 {
        try Statement(self, "SELECT count(*) FROM \(table)").first { $0.integer(0) } ?? -1
    }
}
