import Consumers
import JSON
import Primitives
import Records

/// The body that `RecordAnswer` will make, counted before: never less, and exact for escapes and base 64. Response
/// memory is reserved by it before records are leased, so it must hold for whatever bytes a record has.
///
/// What is counted is JSON, whatever form is asked for: each may turn out as JSON, and none is longer. A line of NDJSON
/// ends as an element of an array does, with one byte; as bytes, only the value is in the body.
enum AnswerBytes {
    /// A poll's answer without records.
    static let emptyPoll = bytes(#"{"ack":"","records":[],"skipped":[]}"#) + DeliveredRecord.idBytesMax
    /// A stateless read's answer without records.
    static let emptyRead =
        bytes(#"{"records":[],"next_offset":,"low_watermark":,"high_watermark":}"#) + 3 * numberDigits

    /// A record with its delivery, and the comma behind it.
    static func of(_ stored: StoredRecord, _ values: ValueForm = .natural) -> Int {
        let record = stored.record
        var sum = recordFrame + escaped(stored.partition.topic.text.utf8)
        if let key = record.key { sum += content(key) }
        if let value = record.value { sum += values == .base64 ? base64(value) : content(value) }
        for header in record.headers {
            sum += headerFrame + escaped(header.name.utf8)
            if let value = header.value { sum += content(value) }
        }
        return sum
    }

    /// A range that retention took, and the comma behind it.
    static func ofSkipped(_ partition: TopicPartition) -> Int { skippedFrame + escaped(partition.topic.text.utf8) }

    /// The answer of one record, at most, whatever its bytes are.
    ///
    /// - Parameters:
    ///   - recordBytes: of key, value and headers.
    ///   - headers: their number.
    static func most(recordBytes: Int, headers: Int) -> Int {
        max(emptyPoll, emptyRead) + recordFrame + skippedFrame + 2 * TopicName.bytesMax + headers * headerFrame
            + escapedByteMax * recordBytes
    }

    // MARK: Frames: all but what the record brings, each number and name as long as it gets

    private static let recordFrame =
        bytes(#"{"topic":"","partition":,"offset":,"timestamp":"","key_base64":"","value_base64":"","headers":[],"#)
        + bytes(#""delivery":{"id":"","attempt":,"deadline":""}},"#)
        + partitionDigits + 2 * numberDigits + 2 * timeBytes + DeliveredRecord.idBytesMax
    private static let headerFrame = bytes(#"{"name":"","value_base64":""},"#)
    private static let skippedFrame =
        bytes(#"{"topic":"","partition":,"from":,"to":},"#) + partitionDigits + 2 * numberDigits

    private static let partitionDigits = bytes("\(Int32.min)")
    private static let numberDigits = bytes("\(Int64.min)")
    /// RFC 3339, UTC, with milliseconds.
    private static let timeBytes = bytes("2000-01-01T00:00:00.000Z")

    private static func bytes(_ text: String) -> Int { text.utf8.count }

    // MARK: What the record brings

    /// Text where it is UTF-8, base 64 else. JSON goes out as it is, which is never longer than as text.
    private static func content(_ bytes: ByteSlice) -> Int { isValidUTF8(bytes) ? escaped(bytes) : base64(bytes) }

    private static func base64(_ bytes: ByteSlice) -> Int { (bytes.count + 2) / 3 * 4 }

    /// What one byte becomes at most: a control character, `\u0001`. (Base 64 is four for three, and four for one.)
    private static let escapedByteMax = 6

    /// As `JSONWriter` escapes (RFC 8259, section 7).
    private static func escaped(_ text: some Sequence<UInt8>) -> Int {
        text.reduce(0) { sum, byte in
            switch byte {
            case 0x08, 0x09, 0x0a, 0x0c, 0x0d, UInt8(ascii: "\""), UInt8(ascii: "\\"): sum + 2
            case 0..<0x20: sum + 6
            default: sum + 1
            }
        }
    }
}
