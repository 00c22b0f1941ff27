import Primitives
import Records
import Store

extension DeadLetters {
    static let schema = Schema(
        // "PRdl"
        applicationID: 0x5052_646c,
        migrations: [
            """
            -- lsn: order-preserving, see Value.init(lsn). state: DeadLetter.State.
            CREATE TABLE dead_letters (
                lsn INTEGER PRIMARY KEY,
                lane INTEGER NOT NULL,
                state INTEGER NOT NULL,
                at INTEGER NOT NULL,
                code TEXT NOT NULL,
                detail TEXT NOT NULL,
                record BLOB NOT NULL
            );
            -- Counting and paging must not read the records.
            CREATE INDEX dead_letters_state ON dead_letters (state, lsn);
            """,
            """
            DROP INDEX dead_letters_state;
            ALTER TABLE dead_letters RENAME TO dead_letters_1;
            -- The record is last, so that no other column lies behind its overflow pages. topic: empty in what came
            -- from the first version, until it is filled in from the record. epoch: of the process that sends again.
            CREATE TABLE dead_letters (
                lsn INTEGER PRIMARY KEY,
                lane INTEGER NOT NULL,
                state INTEGER NOT NULL,
                at INTEGER NOT NULL,
                code TEXT NOT NULL,
                topic TEXT NOT NULL,
                partition INTEGER,
                timestamp INTEGER NOT NULL,
                bytes INTEGER NOT NULL,
                epoch INTEGER NOT NULL DEFAULT 0,
                detail TEXT NOT NULL,
                record BLOB NOT NULL
            );
            INSERT INTO dead_letters (lsn, lane, state, at, code, topic, timestamp, bytes, detail, record)
                SELECT lsn, lane, state, at, code, '', 0, length(record), detail, record FROM dead_letters_1;
            DROP TABLE dead_letters_1;
            CREATE INDEX dead_letters_state ON dead_letters (state, lane, lsn, bytes);
            CREATE INDEX dead_letters_at ON dead_letters (at, lsn) WHERE state <> 0;
            CREATE INDEX dead_letters_topic ON dead_letters (topic, at, lsn) WHERE state <> 0;
            CREATE INDEX dead_letters_code ON dead_letters (code, at, lsn) WHERE state <> 0;
            CREATE INDEX dead_letters_topic_code ON dead_letters (topic, code, at, lsn) WHERE state <> 0;
            -- What receipts still tell of those that are gone. successor: sent again as that record; else discarded.
            CREATE TABLE ends (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                lsn INTEGER NOT NULL UNIQUE,
                successor INTEGER,
                code TEXT,
                detail TEXT,
                at INTEGER,
                discarded_at INTEGER
            );
            CREATE INDEX ends_successor ON ends (successor) WHERE successor IS NOT NULL;
            """,
            """
            -- Ranges of the spool that an operator quarantined: what was undelivered in them and is no dead letter
            -- itself is lost. past: one past the last.
            CREATE TABLE quarantined (
                first INTEGER PRIMARY KEY,
                past INTEGER NOT NULL,
                at INTEGER NOT NULL,
                detail TEXT NOT NULL
            );
            """,
        ])

    /// What the first version did not keep beside the record.
    static func fillIn(_ connection: Connection) throws(StoreError) {
        let next = try Statement(connection, "SELECT lsn, record FROM dead_letters WHERE topic = '' LIMIT 1")
        let update = try Statement(
            connection, "UPDATE dead_letters SET topic = ?, partition = ?, timestamp = ?, bytes = ? WHERE lsn = ?")
        try connection.transaction { () throws(StoreError) in
            while let (lsn, record) = try next.first(body: { row in
                (lsn: LSN(stored: row.integer(0)), record: row.bytes(1) ?? [])
            }) {
                let spooled = try decode(record, of: lsn)
                try update.run(
                    .text(spooled.topic.text), Value(spooled.partition.map { Int64($0) }),
                    .integer(spooled.record.timestampMs), .integer(Int64(spooled.record.bytes)), Value(lsn: lsn))
            }
        }
    }

    static func decode(_ record: ByteSlice, of lsn: LSN) throws(StoreError) -> SpoolRecord {
        do throws(MalformedBytes) {
            return try SpoolRecordCodec.decode(record)
        } catch {
            throw .malformed("dead_letters", "record \(lsn): \(error.what)")
        }
    }
}
