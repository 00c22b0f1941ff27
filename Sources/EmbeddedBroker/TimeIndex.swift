import Store

/// Finds offsets by time without reading the records, as Kafka's time index does: a partition is cut into chunks, and
/// for each full one the `times` table has its last record's key and its greatest timestamp. The chunk that is being
/// filled has both in the partition's row. Timestamps come from clients and need not rise.
enum TimeIndex {
    /// Offsets of a chunk: what a look-up reads at most, besides one row for each chunk.
    static let chunkOffsets: Int64 = 4_096
    /// Less than any timestamp of a record.
    static let noTimestamp = Int64.min + 1
}

extension Writer {
    /// Counts a record that was just appended at `partition.next - 1`.
    func extendTimeIndex(_ partition: inout PartitionState, timestampMs: Int64) throws(StoreError) {
        partition.chunkTimestampMs = max(partition.chunkTimestampMs, timestampMs)
        guard partition.next - partition.chunkStart >= TimeIndex.chunkOffsets else { return }
        try statements.insertTime.run(
            .integer(partition.key(partition.next - 1)), .integer(partition.chunkTimestampMs))
        partition.chunkStart = partition.next
        partition.chunkTimestampMs = TimeIndex.noTimestamp
    }
}

extension Reader {
    /// First offset whose record's timestamp is at or after `timestampMs`; the end when there is none. Call it in a
    /// read transaction.
    func offset(partition number: Int64, atOrAfterMs timestampMs: Int64) throws(StoreError) -> Int64? {
        guard let marks = try watermarks(of: number) else { return nil }
        let (low, end) = (marks.low, marks.next)
        func key(_ offset: Int64) -> Int64 { RecordKey.key(partition: number, offset: offset) }

        var from = low
        // A second round only where retention took the very record that made the first chunk's timestamp.
        while from < end {
            var last = end - 1
            try statements.times.forEach(.integer(key(from)), .integer(key(end))) { row throws(StoreError) in
                let chunkEnd = RecordKey.offset(of: row.integer(0))
                if row.integer(1) >= timestampMs {
                    last = chunkEnd
                    return .stop
                }
                from = chunkEnd + 1
                return .next
            }
            guard from <= last else { return end }
            let found = try statements.firstAtOrAfter.first(
                .integer(key(from)), .integer(key(last)), .integer(timestampMs)
            ) { RecordKey.offset(of: $0.integer(0)) }
            if let found { return found }
            from = last + 1
        }
        return end
    }
}
