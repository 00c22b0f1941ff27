/// Which file this is and what is in it: checked at every opening.
public struct Schema: Sendable {
    /// Goes into the file's header, so that a file of another application is never touched
    /// (<https://www.sqlite.org/pragma.html#pragma_application_id>). Not 0.
    public let applicationID: Int32
    /// SQL scripts in the order they came into being; the number of those applied is the file's `user_version`. A
    /// released one is never edited: add another.
    public let migrations: [String]

    public init(applicationID: Int32, migrations: [String]) {
        precondition(applicationID != 0 && !migrations.isEmpty)
        self.applicationID = applicationID
        self.migrations = migrations
    }

    var version: Int { migrations.count }
}

extension Schema {
    /// Applies what is missing, all of it in one transaction: a crash leaves the file as it was.
    func migrate(_ connection: Connection) throws(StoreError) {
        // Checked again inside the transaction, where nobody else can be migrating.
        try check(connection)
        try connection.transaction { () throws(StoreError) in
            let version = try check(connection)
            guard version < self.version else { return }
            for migration in migrations[version...] { try connection.execute(migration) }
            try connection.execute("PRAGMA application_id = \(applicationID)")
            try connection.execute("PRAGMA user_version = \(self.version)")
        }
    }

    /// - Returns: the file's version; 0 for an empty file.
    /// - Throws: `foreign` for another application's file, `newer` for a newer version's.
    @discardableResult
    func check(_ connection: Connection) throws(StoreError) -> Int {
        let found = try connection.integer("PRAGMA application_id")
        let version = Int(try connection.integer("PRAGMA user_version"))
        let objects = try connection.integer("SELECT count(*) FROM sqlite_schema")
        if found == 0, version == 0, objects == 0 { return 0 }
        guard found == Int64(applicationID) else {
            throw StoreError(
                .foreign, operation: "open \(connection.path)",
                detail: "application id \(found), expected \(applicationID)")
        }
        guard version <= self.version else {
            throw StoreError(
                .newer, operation: "open \(connection.path)",
                detail: "version \(version), this program knows up to \(self.version)")
        }
        return version
    }
}
