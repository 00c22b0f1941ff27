/// How large a record is in Kafka: as the only one of a batch of its own, uncompressed, which is what a topic's
/// `max.message.bytes` is compared with. (Record batch format, version 2: KIP-98, and "Messages and record batches" in
/// Kafka's documentation.)
public enum RecordBatchSize {
    /// From the base offset to the number of records.
    static let batchHeaderBytes = 61
    /// The header that a hand-over to Kafka adds: the record's receipt. A record that is sent on gets its own.
    public static let identityHeader = "postrider-id"
    /// At most a UUID, a dash and 20 digits.
    static let identityHeaderBytes = 1 + identityHeader.utf8.count + 1 + (36 + 1 + 20)

    /// What a batch takes at most beside the key, value and headers of its one record, with up to 100 headers: room
    /// that is set aside where a limit is given for the record alone.
    public static let overheadBytesMax = 1_024

    /// Bytes of the batch of this record alone, with what a hand-over adds.
    public static func bytes(of record: Record) -> Int {
        // Attributes, and the deltas of timestamp and offset, which are 0 in a batch of one.
        var body = 3
        body += optional(record.key?.count) + optional(record.value?.count)
        body += varintBytes(record.headers.count + 1) + identityHeaderBytes
        for header in record.headers {
            let name = header.name.utf8.count
            body += varintBytes(name) + name + optional(header.value?.count)
        }
        return batchHeaderBytes + varintBytes(body) + body
    }

    /// The length, −1 for none, and so many bytes.
    private static func optional(_ count: Int?) -> Int {
        guard let count else { return 1 }
        return varintBytes(count) + count
    }

    /// A length as a zigzag varint (Protocol Buffers' `sint32`): 7 bits a byte, of twice the value.
    private static func varintBytes(_ value: Int) -> Int {
        var (bytes, rest) = (1, value << 1)
        while rest >= 0x80 {
            bytes += 1
            rest >>= 7
        }
        return bytes
    }
}
