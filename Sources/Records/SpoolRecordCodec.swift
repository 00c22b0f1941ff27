public import Primitives

/// The binary form of a `SpoolRecord` in the journal; integers are little-endian. JOURNAL.md holds the same table.
///
/// | bytes | field |
/// |---|---|
/// | 1 | form: 1 |
/// | 1 | flags: bit 0, the gateway set the timestamp; bit 1, it sends a dead letter again; bit 2, it is the first of a
/// request that may be repeated; the others are 0 |
/// | 1 | lane |
/// | 1 | length of the topic's name |
/// | 4 | partition, −1 for "choose" |
/// | 8 | timestamp, milliseconds since 1970 |
/// | 4 | length of the key, −1 for none |
/// | 4 | length of the value, −1 for a tombstone |
/// | 4 | number of headers |
/// | … | topic, key, value, then each header: 2-byte length and name, 4-byte length (−1 null) and value |
/// | 8 | with bit 1: the dead letter's LSN |
/// | 53 | with bit 2: the request's `RequestStamp` |
public enum SpoolRecordCodec {
    static let form: UInt8 = 1
    static let fixedBytes = 28
    private static let timestampIsGateways: UInt8 = 1
    private static let redelivers: UInt8 = 2
    private static let stamped: UInt8 = 4

    /// Appends the record's binary form.
    ///
    /// - Parameter stamp: of the request whose first record it is; nil for a request that cannot be told from others.
    public static func encode(
        _ spooled: SpoolRecord, lane: UInt8, stamp: RequestStamp? = nil, to writer: inout ByteWriter
    ) {
        let record = spooled.record
        writer.integer(form)
        writer.integer(
            (spooled.timestampIsGateways ? timestampIsGateways : 0) | (spooled.redelivers == nil ? 0 : redelivers)
                | (stamp == nil ? 0 : stamped))
        writer.integer(lane)
        writer.integer(UInt8(spooled.topic.text.utf8.count))
        writer.integer(spooled.partition ?? -1)
        writer.integer(record.timestampMs)
        writer.integer(record.key.map { Int32($0.count) } ?? -1)
        writer.integer(record.value.map { Int32($0.count) } ?? -1)
        writer.integer(UInt32(record.headers.count))
        writer.bytes.append(contentsOf: spooled.topic.text.utf8)
        if let key = record.key { writer.bytes.append(contentsOf: key) }
        if let value = record.value { writer.bytes.append(contentsOf: value) }
        for header in record.headers {
            writer.string(header.name)
            writer.optionalSlice(header.value)
        }
        if let dead = spooled.redelivers { writer.integer(dead.rawValue) }
        stamp?.encode(to: &writer)
    }

    /// Upper bound of the encoded size without a stamp, for reserving memory.
    public static func encodedBytes(_ spooled: SpoolRecord) -> Int {
        fixedBytes + spooled.topic.text.utf8.count + spooled.record.bytes + 6 * spooled.record.headers.count
            + (spooled.redelivers == nil ? 0 : 8)
    }

    /// The lane of an encoded record without decoding the rest.
    public static func lane(of encoded: ByteSlice) -> UInt8? {
        encoded.count >= fixedBytes ? encoded[encoded.startIndex + 2] : nil
    }

    /// The stamp of an encoded record without decoding the rest; nil where there is none, or the form is not known.
    ///
    /// - Throws: when the record is too short for the stamp that it says it has, or the stamp makes no sense.
    public static func stamp(of encoded: ByteSlice) throws(MalformedBytes) -> RequestStamp? {
        guard encoded.count >= fixedBytes, encoded[encoded.startIndex] == form,
            encoded[encoded.startIndex + 1] & stamped != 0
        else { return nil }
        guard encoded.count >= fixedBytes + RequestStamp.bytes else { throw MalformedBytes("no room for a stamp") }
        var reader = ByteReader(encoded.suffix(RequestStamp.bytes))
        return try RequestStamp(decoding: &reader)
    }

    /// Key, value and header values share `encoded`'s storage.
    public static func decode(_ encoded: ByteSlice) throws(MalformedBytes) -> SpoolRecord {
        var reader = ByteReader(encoded)
        guard try reader.integer(UInt8.self) == form else { throw MalformedBytes("unknown record form") }
        let flags = try reader.integer(UInt8.self)
        guard flags & ~(timestampIsGateways | redelivers | stamped) == 0 else {
            throw MalformedBytes("unknown record flags")
        }
        _ = try reader.integer(UInt8.self)
        let topicLength = Int(try reader.integer(UInt8.self))
        let partition = try reader.integer(Int32.self)
        let timestampMs = try reader.integer(Int64.self)
        let keyLength = Int(try reader.integer(Int32.self))
        let valueLength = Int(try reader.integer(Int32.self))
        let headerCount = Int(try reader.integer(UInt32.self))
        guard partition >= -1 else { throw MalformedBytes("partition \(partition)") }
        guard let topic = TopicName(bytes: try reader.slice(topicLength)) else { throw MalformedBytes("topic name") }
        let key = keyLength == -1 ? nil : try reader.slice(keyLength)
        let value = valueLength == -1 ? nil : try reader.slice(valueLength)
        // Each header takes at least 6 bytes: bounds the allocation by what is there.
        guard headerCount <= reader.remaining / 6 else { throw MalformedBytes("header count \(headerCount)") }
        var headers: [RecordHeader] = []
        headers.reserveCapacity(headerCount)
        for _ in 0..<headerCount {
            let name = try reader.string()
            headers.append(RecordHeader(name: name, value: try reader.optionalSlice()))
        }
        let dead = flags & redelivers == 0 ? nil : LSN(rawValue: try reader.integer())
        if flags & stamped != 0 { _ = try RequestStamp(decoding: &reader) }
        guard reader.remaining == 0 else { throw MalformedBytes("\(reader.remaining) bytes after the record") }
        return SpoolRecord(
            topic: topic, partition: partition == -1 ? nil : partition,
            timestampIsGateways: flags & timestampIsGateways != 0,
            record: Record(key: key, value: value, headers: headers, timestampMs: timestampMs), redelivers: dead)
    }
}
