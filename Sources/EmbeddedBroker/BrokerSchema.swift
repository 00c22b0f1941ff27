import Outcomes
import Store

/// The file's tables. Topics and partitions have numbers that are never used again, so rows that outlive a topic can
/// not be taken for a later one's.
enum BrokerSchema {
    static let schema = Schema(
        // "PRbk"
        applicationID: 0x5052_626b,
        migrations: [
            """
            -- state 0: live; 1: deleted, and a record accepted for it dies; 2: deleted, the name was created again.
            CREATE TABLE topics (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL,
                state INTEGER NOT NULL DEFAULT 0,
                partitions INTEGER,
                retention_ms INTEGER,
                retention_bytes INTEGER,
                record_bytes_max INTEGER
            );
            CREATE UNIQUE INDEX topics_live ON topics (name) WHERE state = 0;

            -- Records have offsets low ..< next. Chunk: see TimeIndex. doomed: the topic is gone, the records not yet.
            CREATE TABLE partitions (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                topic INTEGER NOT NULL,
                partition INTEGER NOT NULL,
                low INTEGER NOT NULL DEFAULT 0,
                next INTEGER NOT NULL DEFAULT 0,
                bytes INTEGER NOT NULL DEFAULT 0,
                chunk_start INTEGER NOT NULL DEFAULT 0,
                chunk_timestamp INTEGER NOT NULL DEFAULT \(Int64.min + 1),
                doomed INTEGER NOT NULL DEFAULT 0,
                UNIQUE (topic, partition)
            );

            -- id: partition number << 40 | offset, so that a partition is one range.
            CREATE TABLE records (
                id INTEGER PRIMARY KEY,
                timestamp INTEGER NOT NULL,
                key BLOB,
                value BLOB,
                headers BLOB
            );

            -- id: of the last record of a chunk; timestamp: the greatest in it.
            CREATE TABLE times (id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL);

            CREATE TABLE sinks (
                spool BLOB NOT NULL,
                lane INTEGER NOT NULL,
                generation INTEGER NOT NULL,
                lsn INTEGER,
                epoch INTEGER,
                nonce INTEGER,
                PRIMARY KEY (spool, lane)
            ) WITHOUT ROWID;

            CREATE TABLE outcomes (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                spool BLOB NOT NULL,
                lane INTEGER NOT NULL,
                first_lsn INTEGER NOT NULL,
                last_lsn INTEGER NOT NULL,
                records INTEGER NOT NULL,
                packed BLOB NOT NULL
            );

            CREATE TABLE consumers (name TEXT PRIMARY KEY, definition BLOB NOT NULL) WITHOUT ROWID;

            CREATE TABLE offsets (
                consumer TEXT NOT NULL,
                topic INTEGER NOT NULL,
                partition INTEGER NOT NULL,
                committed INTEGER NOT NULL,
                metadata TEXT NOT NULL,
                PRIMARY KEY (consumer, topic, partition)
            ) WITHOUT ROWID;
            """,
            """
            -- There are no records below first; those in first ..< low were purged and are not removed yet.
            ALTER TABLE partitions ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
            UPDATE partitions SET first = low;
            """,
            // In the new table every row is complete in itself, and has a checksum. What was handed over before has
            // none. (LSNs are stored with their top bit flipped there; zero is 1 << 63.)
            "DROP TABLE outcomes;" + OutcomeRows.creation + """
                INSERT INTO outcome_lanes (spool, lane, forgotten, missing)
                SELECT spool, lane, 1 << 63, CASE WHEN lsn < 0 THEN lsn - (1 << 63) ELSE lsn + (1 << 63) END
                FROM sinks WHERE lsn IS NOT NULL;
                """,
        ])
}

/// A record's primary key.
enum RecordKey {
    static let offsetBits: Int64 = 40
    /// Offsets of a partition stay below it: 10^12.
    static let offsetEnd: Int64 = 1 << offsetBits
    /// Partition numbers stay below it: 8 million over the file's life.
    static let partitionEnd: Int64 = 1 << (63 - offsetBits)

    static func key(partition number: Int64, offset: Int64) -> Int64 { number << offsetBits | offset }

    static func offset(of key: Int64) -> Int64 { key & (offsetEnd - 1) }
}
