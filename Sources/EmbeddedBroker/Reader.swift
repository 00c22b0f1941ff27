import Broker
import Primitives
import Records
import Store

/// Reads what is committed. Owned by the reader thread, which answers in the order of the calls.
final class Reader {
    let connection: Connection
    let statements: ReaderStatements
    let settings: EmbeddedBrokerSettings

    init(path: String, settings: EmbeddedBrokerSettings) throws(StoreError) {
        self.settings = settings
        connection = try Connection.openReadOnly(path: path, schema: BrokerSchema.schema)
        statements = try ReaderStatements(connection)
    }

    /// The reader thread's body. Returns after `queue.stop()`.
    func run(_ queue: JobQueue<Reader>) {
        while let jobs = queue.takeAll() {
            for job in jobs {
                do throws(JobFailure) {
                    let answer = try job.run(self)
                    answer()
                } catch {
                    job.fail(error.brokerError)
                }
            }
        }
    }

    /// Runs `body` on one state of the file.
    func snapshot<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        try connection.beginRead()
        let result: Result
        do throws(StoreError) {
            result = try body()
        } catch {
            try connection.rollback()
            throw error
        }
        try connection.commit()
        return result
    }
}

/// Statements of the reader, prepared once.
struct ReaderStatements {
    let watermarks: Statement
    let records: Statement
    let committed: Statement
    let times: Statement
    let firstAtOrAfter: Statement

    init(_ connection: Connection) throws(StoreError) {
        watermarks = try Statement(connection, "SELECT low, next FROM partitions WHERE number = ? AND doomed = 0")
        records = try Statement(
            connection,
            "SELECT id, timestamp, key, value, headers FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?")
        committed = try Statement(
            connection,
            """
            SELECT t.name, o.partition, o.committed, o.metadata
            FROM offsets o JOIN topics t ON t.number = o.topic WHERE o.consumer = ? AND t.state = 0
            """)
        times = try Statement(connection, "SELECT id, timestamp FROM times WHERE id >= ? AND id < ? ORDER BY id")
        firstAtOrAfter = try Statement(
            connection, "SELECT id FROM records WHERE id BETWEEN ? AND ? AND timestamp >= ? ORDER BY id LIMIT 1")
    }
}

extension Reader {
    /// nil: there is no such partition any more.
    func watermarks(of number: Int64) throws(StoreError) -> (low: Int64, next: Int64)? {
        try statements.watermarks.first(.integer(number)) { (low: $0.integer(0), next: $0.integer(1)) }
    }

    /// One range scan. - Returns: nil when the partition is gone.
    func fetch(_ request: FetchRequest, partition number: Int64) throws(StoreError) -> FetchResult? {
        try snapshot { () throws(StoreError) in
            guard let marks = try watermarks(of: number) else { return nil }
            let from = max(request.offset, marks.low)
            let end = min(request.endOffset ?? marks.next, marks.next)
            var result = FetchResult(
                records: [], nextOffset: max(from, end), lowWatermark: marks.low, highWatermark: marks.next)
            // An end below the position asks for nothing and moves nothing.
            guard from < end else {
                result.nextOffset = from
                return result
            }
            let recordsMax = max(1, min(request.recordsMax, settings.fetchRecordsMax))
            let bytesMax = min(request.bytesMax, settings.fetchBytesMax)
            var bytes = 0
            try statements.records.forEach(
                .integer(RecordKey.key(partition: number, offset: from)),
                .integer(RecordKey.key(partition: number, offset: end)),
                // One more tells whether the scan came to the end of the range.
                .integer(Int64(recordsMax) + 1)
            ) { row throws(StoreError) in
                let offset = RecordKey.offset(of: row.integer(0))
                bytes += row.byteCount(2) + row.byteCount(3) + row.byteCount(4)
                if result.records.count == recordsMax || !result.records.isEmpty && bytes > bytesMax {
                    // Not past a gap before it: the next fetch skips that.
                    result.nextOffset = (result.records.last?.offset ?? offset) + 1
                    return .stop
                }
                let record = Record(
                    key: row.bytes(2), value: row.bytes(3), headers: try HeaderCodec.decode(row.bytes(4)),
                    timestampMs: row.integer(1))
                result.records.append(StoredRecord(partition: request.partition, offset: offset, record: record))
                return .next
            }
            return result
        }
    }
}
