import Testing

@testable import Store

@Suite struct CacheTests {
    /// The page size of a file is settled after it was opened, new or not.
    @Test func pageCache_StaysWithinItsBytes_WhateverThePageSize() throws {
        let settings = ConnectionSettings(pageBytes: 16_384, cacheBytes: 1 << 20)
        let slack = 256 << 10
        try withTemporaryFile { path in
            let writer = try Connection.open(path: path, schema: schemaOne, settings: settings)
            for _ in 0..<8 {
                try writer.execute(
                    """
                    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                    INSERT INTO things (body) SELECT zeroblob(1000) FROM n
                    """)
                // What is dirty cannot leave before it is in the log.
                try writer.checkpoint(.truncate)
            }
            #expect(writer.cacheUsedBytes > 1 << 19)
            #expect(writer.cacheUsedBytes < settings.cacheBytes + slack)
            let reader = try Connection.openReadOnly(path: path, schema: schemaOne, settings: settings)
            let again = try Connection.open(path: path, schema: schemaOne, settings: settings)
            for connection in [reader, again] {
                _ = try connection.integer("SELECT sum(length(body)) + count(hex(body)) FROM things")
                #expect(connection.cacheUsedBytes > 1 << 19)
                #expect(connection.cacheUsedBytes < settings.cacheBytes + slack)
            }
        }
    }
}
