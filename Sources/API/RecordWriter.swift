import Broker
import Consumers
import JSON
import Primitives
import Records
import Telemetry

/// Records as JSON, so that none can poison an answer: whatever bytes it has, some form of it is valid.
enum RecordWriter {
    /// - Parameter capacity: with `AnswerBytes` of all of it, the text is never copied to grow.
    static func answer(_ answer: PollAnswer, capacity: Int = AnswerBytes.empty) -> [UInt8] {
        var writer = JSONWriter(capacity: capacity)
        writer.object { writer in
            writer.key("ack")
            if let ack = answer.ack { writer.string(ack) } else { writer.null() }
            writer.key("records")
            writer.array { writer in
                for record in answer.records { write(record, to: &writer) }
            }
            if !answer.skipped.isEmpty {
                writer.key("skipped")
                writer.array { writer in
                    for range in answer.skipped {
                        writer.object { writer in
                            writer.place(range.partition)
                            writer.key("from")
                            writer.integer(range.offsets.lowerBound)
                            writer.key("to")
                            writer.integer(range.offsets.upperBound)
                        }
                    }
                }
            }
        }
        return writer.bytes
    }

    private static func write(_ delivered: DeliveredRecord, to writer: inout JSONWriter) {
        let stored = delivered.record
        writer.object { writer in
            writer.place(stored.partition)
            writer.key("offset")
            writer.integer(stored.offset)
            writer.key("timestamp")
            writer.string(rfc3339(milliseconds: stored.record.timestampMs))
            content(of: stored.record, to: &writer)
            writer.key("delivery")
            writer.object { writer in
                writer.key("id")
                writer.string(delivered.id)
                writer.key("attempt")
                writer.integer(delivered.attempt)
                writer.key("deadline")
                writer.string(rfc3339(milliseconds: delivered.deadlineMs))
            }
        }
    }

    /// Key, value and headers, as members of the object that is open.
    static func content(of record: Record, to writer: inout JSONWriter) {
        bytes("key", record.key, to: &writer)
        value(record, to: &writer)
        writer.key("headers")
        headers(record.headers, to: &writer)
    }

    /// Text where it is UTF-8, base 64 else.
    private static func bytes(_ name: String, _ bytes: ByteSlice?, to writer: inout JSONWriter) {
        if let bytes, !isValidUTF8(bytes) {
            writer.key(name + "_base64")
            writer.base64(bytes)
        } else {
            writer.key(name)
            if let bytes { writer.string(utf8: bytes) } else { writer.null() }
        }
    }

    /// Valid JSON whose content type is JSON or none: `value`; else UTF-8: `value_text`; else `value_base64`. A
    /// tombstone is `"value":null`, so stored bytes `null` are text.
    private static func value(_ record: Record, to writer: inout JSONWriter) {
        guard let value = record.value else {
            writer.key("value")
            writer.null()
            return
        }
        if isJSONType(record.headers), !value.elementsEqual("null".utf8), isValidJSON(value) {
            writer.key("value")
            writer.raw(value)
        } else if isValidUTF8(value) {
            writer.key("value_text")
            writer.string(utf8: value)
        } else {
            writer.key("value_base64")
            writer.base64(value)
        }
    }

    private static func isJSONType(_ headers: [RecordHeader]) -> Bool {
        guard let header = headers.first(where: { $0.name == "content-type" }), let bytes = header.value else {
            return true
        }
        let type = String(decoding: bytes, as: UTF8.self).lowercased().prefix { $0 != ";" }.trimmingSpaces()
        return type == "application/json" || type.hasSuffix("+json")
    }

    /// The form that keeps bytes, order and repeated names.
    private static func headers(_ headers: [RecordHeader], to writer: inout JSONWriter) {
        writer.array { writer in
            for header in headers {
                writer.object { writer in
                    writer.key("name")
                    writer.string(header.name)
                    bytes("value", header.value, to: &writer)
                }
            }
        }
    }
}
