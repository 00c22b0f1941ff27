import JSON
import Primitives
import Records

/// `{"records":[{key, key_base64, value, value_text, value_base64, headers, partition, timestamp}]}`: all records, or
/// what is wrong with each bad one.
struct BatchDecoder {
    let topic: TopicName
    let partitions: Int32
    let recordsMax: Int
    let headersMax: Int
    let nowMs: Int64

    /// Containers down to a header's fields; values are kept as the bytes the client sent.
    private static let tapeDepth = 5
    private static let fields = [
        "key", "key_base64", "value", "value_text", "value_base64", "headers", "partition", "timestamp",
    ]

    /// What is wrong with a record.
    private struct Fault: Error {
        var field: String
        var reason: String
    }

    func decode(_ body: ByteSlice) throws(Problem) -> [SpoolRecord] {
        let document: JSONDocument
        do throws(JSONError) {
            document = try JSONDocument(body, tapeDepth: Self.tapeDepth)
        } catch {
            throw Problem(error)
        }
        guard let members = document.root.members else { throw Self.shape("", "an object with records is expected") }
        var elements: JSONElements?
        for member in members {
            guard member.has(name: "records") else {
                throw Self.shape("/\(JSONPointerText.escaped(member.name))", "there is no such field; known is records")
            }
            guard let list = member.value.elements else { throw Self.shape("/records", "an array is expected") }
            elements = list
        }
        guard let elements else { throw Self.shape("/records", "missing") }
        var records: [SpoolRecord] = []
        var parts: [Problem.Part] = []
        var bad = 0
        var index = 0
        for element in elements {
            if index == recordsMax {
                throw Problem(
                    413, "too_many_records", "Too many records in one request",
                    "limits.records_max is \(recordsMax)")
            }
            do throws(Fault) {
                records.append(try record(element))
            } catch {
                bad += 1
                if parts.count < Problem.partsMax {
                    let field = error.field.isEmpty ? "" : "/" + JSONPointerText.escaped(error.field)
                    parts.append(.init(pointer: "/records/\(index)\(field)", reason: error.reason))
                }
            }
            index += 1
        }
        if index == 0 { throw Self.shape("/records", "at least one record is expected", code: "empty_batch") }
        if bad > 0 {
            throw Problem(
                400, "invalid_records", "Some records are not valid",
                "\(bad) of \(index) records are bad; none was accepted", parts: parts)
        }
        return records
    }

    private static func shape(_ pointer: String, _ reason: String, code: String = "invalid_body") -> Problem {
        Problem(
            400, code, "The body has not the expected form", "\(pointer.isEmpty ? "the body" : pointer): \(reason)",
            parts: [.init(pointer: pointer, reason: reason)])
    }

    private func record(_ element: JSONValue) throws(Fault) -> SpoolRecord {
        guard let members = element.members else { throw Fault(field: "", reason: "an object is expected") }
        var key: (field: String, bytes: ByteSlice?)?
        var value: (field: String, bytes: ByteSlice?)?
        var record = Record(key: nil, value: nil, timestampMs: nowMs)
        var timestampIsGateways = true
        var partition: Int32?
        for member in members {
            let name = member.name
            switch name {
            case "key", "key_base64":
                if let key { throw Fault(field: name, reason: "\(key.field) is given too") }
                key = (name, try text(member.value, name, base64: name == "key_base64", orNull: true))
            case "value", "value_text", "value_base64":
                if let value { throw Fault(field: name, reason: "\(value.field) is given too") }
                if name == "value" {
                    value = (name, member.value.isNull ? nil : member.value.raw)
                } else {
                    value = (name, try text(member.value, name, base64: name == "value_base64", orNull: true))
                }
            case "headers": record.headers = try headers(member.value)
            case "partition":
                if member.value.isNull { continue }
                guard let number = member.value.int64, number >= 0, number < Int64(partitions) else {
                    throw Fault(field: name, reason: "a whole number from 0 to \(partitions - 1) is expected")
                }
                partition = Int32(number)
            case "timestamp":
                if member.value.isNull { continue }
                record.timestampMs = try timestamp(member.value)
                timestampIsGateways = false
            default:
                throw Fault(
                    field: name,
                    reason: "there is no such field; known are \(Self.fields.joined(separator: ", "))")
            }
        }
        guard let value else {
            throw Fault(
                field: "value", reason: "missing; give value, value_text or value_base64, or null for a tombstone")
        }
        record.key = key?.bytes
        record.value = value.bytes
        return SpoolRecord(
            topic: topic, partition: partition, timestampIsGateways: timestampIsGateways, record: record)
    }

    private func text(_ value: JSONValue, _ field: String, base64: Bool, orNull: Bool) throws(Fault) -> ByteSlice? {
        if orNull, value.isNull { return nil }
        guard let bytes = value.stringBytes else { throw Fault(field: field, reason: "a string is expected") }
        guard base64 else { return bytes }
        do throws(Base64Error) {
            return try Base64.decode(bytes)[...]
        } catch {
            throw Fault(field: field, reason: error.description)
        }
    }

    /// `{"name": "text"}`, or `[{"name": …, "value": … | "value_base64": …}]` for bytes and repeated names.
    private func headers(_ value: JSONValue) throws(Fault) -> [RecordHeader] {
        if value.isNull { return [] }
        var headers: [RecordHeader] = []
        if let members = value.members {
            for member in members {
                headers.append(
                    RecordHeader(
                        name: try headerName(member.name),
                        value: try text(member.value, "headers", base64: false, orNull: true)))
            }
            return headers
        }
        guard let elements = value.elements else {
            throw Fault(field: "headers", reason: "an object or an array is expected")
        }
        for element in elements {
            guard let members = element.members else {
                throw Fault(field: "headers", reason: "an array of objects is expected")
            }
            var name: String?
            var bytes: ByteSlice?
            var hasValue = false
            for member in members {
                switch member.name {
                case "name": name = member.value.string
                case "value", "value_base64":
                    if hasValue { throw Fault(field: "headers", reason: "value and value_base64 of one header") }
                    hasValue = true
                    let base64 = member.name == "value_base64"
                    bytes = try text(member.value, "headers", base64: base64, orNull: true)
                default:
                    throw Fault(field: "headers", reason: "\(member.name): known are name, value, value_base64")
                }
            }
            guard let name else { throw Fault(field: "headers", reason: "a header without a name") }
            headers.append(RecordHeader(name: try headerName(name), value: bytes))
            if headers.count > headersMax { throw Fault(field: "headers", reason: "\(headersMax) are allowed") }
        }
        return headers
    }

    private func headerName(_ name: String) throws(Fault) -> String {
        guard !name.isEmpty, name.utf8.count <= Int(UInt16.max) else {
            throw Fault(field: "headers", reason: "a name of 1 to 65,535 bytes is expected")
        }
        return name
    }

    private func timestamp(_ value: JSONValue) throws(Fault) -> Int64 {
        let milliseconds = value.int64 ?? value.string.flatMap(millisecondsSince1970(rfc3339:))
        guard let milliseconds, milliseconds >= 0 else {
            throw Fault(field: "timestamp", reason: "a time as RFC 3339, or milliseconds since 1970, is expected")
        }
        return milliseconds
    }
}

/// RFC 6901, section 3.
enum JSONPointerText {
    static func escaped(_ name: String) -> String {
        var escaped = ""
        for character in name.prefix(128) {
            switch character {
            case "~": escaped += "~0"
            case "/": escaped += "~1"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
