import Consumers
import HTTPServer
import JSON
import Primitives
import Records
import Telemetry

/// A record as header fields of a response. Whatever bytes a record has, it makes no other field than these, no other
/// value than it has, and no second response: names come from a fixed list or behind `Postrider-Header-`, and what is
/// not plain in a field's value (RFC 9110, section 5.5) goes as base 64.
struct RecordFields {
    /// Beside a record's own bytes and content type: a browser that is shown them neither guesses another type nor
    /// runs what they say in the gateway's name.
    static let guards = [
        HTTPHeader("X-Content-Type-Options", "nosniff"),
        HTTPHeader("Content-Security-Policy", "default-src 'none'; sandbox"),
    ]
    private static let contentTypeBytesMax = 255
    /// Between a field's name and value, and behind it.
    private static let frameBytes = ": \r\n".utf8.count

    private let bytesMax: Int
    private var fields: [HTTPHeader] = []
    private var bytes = 0
    private var isImpossible = false

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// nil when they cannot say it all, or not in `bytesMax`.
    var complete: [HTTPHeader]? { isImpossible || bytes > bytesMax ? nil : fields }

    /// - Precondition: a token, and plain.
    mutating func add(_ name: String, _ value: String) {
        bytes += name.utf8.count + value.utf8.count + Self.frameBytes
        if bytes <= bytesMax { fields.append(HTTPHeader(name, value)) }
    }

    mutating func add(_ stored: StoredRecord, _ delivery: DeliveredRecord?) {
        let record = stored.record
        // Before anything is made of what may be a megabyte.
        let described = record.bytes - (record.value?.count ?? 0)
        guard bytes + described <= bytesMax else {
            isImpossible = true
            return
        }
        add("Postrider-Topic", stored.partition.topic.text)
        add("Postrider-Partition", String(stored.partition.partition))
        add("Postrider-Offset", String(stored.offset))
        add("Postrider-Timestamp", rfc3339(milliseconds: record.timestampMs))
        if record.value == nil { add("Postrider-Tombstone", "true") }
        if let key = record.key { add(key: key) }
        add(record.headers)
        if let delivery {
            add("Postrider-Delivery-Id", delivery.id)
            add("Postrider-Attempt", String(delivery.attempt))
            add("Postrider-Deadline", rfc3339(milliseconds: delivery.deadlineMs))
        }
    }

    private mutating func add(key: ByteSlice) {
        // An empty field is as good as none to many, so there is no way to say it.
        if key.isEmpty {
            isImpossible = true
        } else if let text = Self.plain(key) {
            add("Postrider-Key", text)
        } else {
            add("Postrider-Key-Base64", Self.base64(key))
        }
    }

    /// All of them as they are, in order, or all of them in one field as base 64 of the JSON that answers have.
    private mutating func add(_ headers: [RecordHeader]) {
        guard !headers.isEmpty else { return }
        let plain = headers.compactMap { header -> (name: String, value: String)? in
            guard Self.isPlainName(header.name), let value = header.value.flatMap(Self.plain) else { return nil }
            return (header.name, value)
        }
        if plain.count == headers.count {
            for (name, value) in plain { add("Postrider-Header-" + name, value) }
        } else {
            var writer = JSONWriter()
            RecordWriter.headers(headers, to: &writer)
            add("Postrider-Headers-Base64", Self.base64(writer.bytes[...]))
        }
    }

    /// A token without capital letters, since case does not survive in a field's name.
    private static func isPlainName(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy {
                HTTPHeader.isTokenByte($0) && !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
            }
    }

    /// Printable ASCII that begins and ends with no space, as those do not survive; nil for anything else.
    private static func plain(_ bytes: ByteSlice) -> String? {
        guard let first = bytes.first, let last = bytes.last, first != UInt8(ascii: " "), last != UInt8(ascii: " "),
            bytes.allSatisfy({ (0x20...0x7E).contains($0) })
        else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func base64(_ bytes: ByteSlice) -> String {
        String(decoding: Base64.encode(bytes), as: UTF8.self)
    }

    /// The record's own, where it is a media type by the letter; nil else.
    static func contentType(of record: Record) -> String? {
        guard let bytes = record.headers.first(where: { $0.name == "content-type" })?.value,
            bytes.count <= contentTypeBytesMax, let text = plain(bytes), let type = MediaType(text),
            type.type != "*", type.subtype != "*"
        else { return nil }
        return text
    }
}
