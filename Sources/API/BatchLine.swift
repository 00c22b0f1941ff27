public import JSON
public import Records

extension JSONWriter {
    /// A record as one line of the batch call (`application/x-ndjson`), from which the call makes the same record: key,
    /// value, headers, timestamp and the partition that was asked for. Values are text or base 64, never JSON, so that
    /// every byte stays. What the call refuses (header names that begin with `postrider-`) is written all the same.
    public mutating func batchLine(_ spooled: SpoolRecord) {
        object { writer in
            RecordWriter(values: .text).content(of: spooled.record, to: &writer)
            if let partition = spooled.partition {
                writer.key("partition")
                writer.integer(partition)
            }
            writer.key("timestamp")
            writer.integer(spooled.record.timestampMs)
        }
        endLine()
    }
}
