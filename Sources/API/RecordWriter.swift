import Consumers
import JSON
import Primitives
import Records
import Telemetry

/// Records as JSON, so that none can poison an answer: whatever bytes it has, some form of it is valid.
struct RecordWriter {
    var values = ValueForm.natural
    /// Line breaks between the tokens of a stored JSON value become spaces. (Inside its strings there are none.)
    var isOnOneLine = false

    /// - Parameter delivery: of a record that was handed out.
    func write(_ stored: StoredRecord, _ delivery: DeliveredRecord? = nil, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.place(stored.partition)
            writer.key("offset")
            writer.integer(stored.offset)
            writer.key("timestamp")
            writer.string(rfc3339(milliseconds: stored.record.timestampMs))
            content(of: stored.record, to: &writer)
            guard let delivery else { return }
            writer.key("delivery")
            writer.object { writer in
                writer.key("id")
                writer.string(delivery.id)
                writer.key("attempt")
                writer.integer(delivery.attempt)
                writer.key("deadline")
                writer.string(rfc3339(milliseconds: delivery.deadlineMs))
            }
        }
    }

    /// Key, value and headers, as members of the object that is open.
    func content(of record: Record, to writer: inout JSONWriter) {
        Self.bytes("key", record.key, to: &writer)
        value(record, to: &writer)
        writer.key("headers")
        Self.headers(record.headers, to: &writer)
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

    /// Unless a form is asked for: valid JSON whose content type is JSON or none is `value`, else UTF-8 is
    /// `value_text`, else `value_base64`. A tombstone is `"value":null` in every form, so stored bytes `null` are text.
    private func value(_ record: Record, to writer: inout JSONWriter) {
        guard let value = record.value else {
            writer.key("value")
            writer.null()
            return
        }
        if values == .natural, Self.isJSONType(record.headers), !value.elementsEqual("null".utf8), isValidJSON(value) {
            writer.key("value")
            writer.raw(isOnOneLine ? Self.onOneLine(value) : value)
        } else if values != .base64, isValidUTF8(value) {
            writer.key("value_text")
            writer.string(utf8: value)
        } else {
            writer.key("value_base64")
            writer.base64(value)
        }
    }

    private static func onOneLine(_ json: ByteSlice) -> ByteSlice {
        func isBreak(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }
        guard json.contains(where: isBreak) else { return json }
        return json.map { isBreak($0) ? UInt8(ascii: " ") : $0 }[...]
    }

    private static func isJSONType(_ headers: [RecordHeader]) -> Bool {
        guard let header = headers.first(where: { $0.name == "content-type" }), let bytes = header.value else {
            return true
        }
        let type = String(decoding: bytes, as: UTF8.self).lowercased().prefix { $0 != ";" }.trimmingSpaces()
        return type == "application/json" || type.hasSuffix("+json")
    }

    /// The form that keeps bytes, order and repeated names.
    static func headers(_ headers: [RecordHeader], to writer: inout JSONWriter) {
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

    /// Ranges that retention took, as an array.
    static func skipped(_ ranges: [SkippedRange], to writer: inout JSONWriter) {
        writer.array { writer in
            for range in ranges {
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
