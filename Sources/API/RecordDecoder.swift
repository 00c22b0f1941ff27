import Broker
import JSON
import Primitives
import Records

/// One record of a batch: `{key, key_base64, value, value_text, value_base64, headers, partition, timestamp}`.
struct RecordDecoder {
    let rules: RecordRules

    /// A record's members. What is in a value is not walked, so that it may be a vector of many thousand numbers, and
    /// ten thousand of those; headers are walked by themselves.
    static let tapeDepth = 1
    /// Containers of headers down to the fields of one.
    private static let headersTapeDepth = 2
    private static let fields = [
        "key", "key_base64", "value", "value_text", "value_base64", "headers", "partition", "timestamp",
    ]

    /// - Throws: the first thing that is wrong with the record.
    func decode(_ element: JSONValue) throws(RecordFault) -> SpoolRecord {
        guard let members = element.members else { throw RecordFault(field: "", reason: "an object is expected") }
        var key: (field: String, bytes: ByteSlice?)?
        var value: (field: String, bytes: ByteSlice?)?
        var record = Record(key: nil, value: nil, timestampMs: rules.nowMs)
        var timestampIsGateways = true
        var partition: Int32?
        for member in members {
            let name = member.name
            switch name {
            case "key", "key_base64":
                if let key { throw RecordFault(field: name, reason: "\(key.field) is given too") }
                key = (name, try text(member.value, name, base64: name == "key_base64", orNull: true))
            case "value", "value_text", "value_base64":
                if let value { throw RecordFault(field: name, reason: "\(value.field) is given too") }
                if name == "value" {
                    value = (name, member.value.isNull ? nil : member.value.raw)
                } else {
                    value = (name, try text(member.value, name, base64: name == "value_base64", orNull: true))
                }
            case "headers": record.headers = try headers(member.value)
            case "partition":
                if member.value.isNull { continue }
                let last = rules.known.partitions - 1
                guard let number = member.value.int64.flatMap({ Int32(exactly: $0) }), number >= 0, number <= last
                else {
                    throw RecordFault(
                        field: name, reason: "a whole number from 0 to \(last) is expected",
                        restsOnTopic: member.value.int64.map { $0 > 0 } ?? false)
                }
                partition = number
            case "timestamp":
                if member.value.isNull { continue }
                record.timestampMs = try timestamp(member.value)
                timestampIsGateways = false
            default:
                throw RecordFault(
                    field: name,
                    reason: "there is no such field; known are \(Self.fields.joined(separator: ", "))")
            }
        }
        guard let value else {
            throw RecordFault(
                field: "value", reason: "missing; give value, value_text or value_base64, or null for a tombstone")
        }
        record.key = key?.bytes
        record.value = value.bytes
        try rules.check(record, timestampIsGateways: timestampIsGateways)
        return SpoolRecord(
            topic: rules.topic, partition: partition, timestampIsGateways: timestampIsGateways, record: record)
    }

    private func text(_ value: JSONValue, _ field: String, base64: Bool, orNull: Bool) throws(RecordFault) -> ByteSlice?
    {
        if orNull, value.isNull { return nil }
        guard let bytes = value.stringBytes else { throw RecordFault(field: field, reason: "a string is expected") }
        guard base64 else { return bytes }
        do throws(Base64Error) {
            return try Base64.decode(bytes)[...]
        } catch {
            throw RecordFault(field: field, reason: error.description)
        }
    }

    /// `{"name": "text"}`, or `[{"name": …, "value": … | "value_base64": …}]` for bytes and repeated names.
    private func headers(_ checked: JSONValue) throws(RecordFault) -> [RecordHeader] {
        if checked.isNull { return [] }
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONDocument(checked.raw, tapeDepth: Self.headersTapeDepth).root
        } catch {
            throw RecordFault(field: "headers", reason: error.reason.text)
        }
        var headers: [RecordHeader] = []
        if let members = value.members {
            for member in members {
                try rules.checkCount(headers.count + 1)
                headers.append(
                    RecordHeader(
                        name: try headerName(member.name),
                        value: try text(member.value, "headers", base64: false, orNull: true)))
            }
            return headers
        }
        guard let elements = value.elements else {
            throw RecordFault(field: "headers", reason: "an object or an array is expected")
        }
        for element in elements {
            try rules.checkCount(headers.count + 1)
            guard let members = element.members else {
                throw RecordFault(field: "headers", reason: "an array of objects is expected")
            }
            var name: String?
            var bytes: ByteSlice?
            var hasValue = false
            for member in members {
                switch member.name {
                case "name": name = member.value.string
                case "value", "value_base64":
                    if hasValue { throw RecordFault(field: "headers", reason: "value and value_base64 of one header") }
                    hasValue = true
                    let base64 = member.name == "value_base64"
                    bytes = try text(member.value, "headers", base64: base64, orNull: true)
                default:
                    throw RecordFault(
                        field: "headers", reason: "\(member.name.clipped): known are name, value, value_base64")
                }
            }
            guard let name else { throw RecordFault(field: "headers", reason: "a header without a name") }
            headers.append(RecordHeader(name: try headerName(name), value: bytes))
        }
        return headers
    }

    private func headerName(_ name: String) throws(RecordFault) -> String {
        guard !name.isEmpty, name.utf8.count <= Int(UInt16.max) else {
            throw RecordFault(field: "headers", reason: "a name of 1 to 65,535 bytes is expected")
        }
        return name
    }

    private func timestamp(_ value: JSONValue) throws(RecordFault) -> Int64 {
        let milliseconds = value.int64 ?? value.string.flatMap(millisecondsSince1970(rfc3339:))
        guard let milliseconds, milliseconds >= 0 else {
            throw RecordFault(field: "timestamp", reason: "a time as RFC 3339, or milliseconds since 1970, is expected")
        }
        return milliseconds
    }
}
