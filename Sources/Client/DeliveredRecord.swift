import JSON
import Primitives

/// The answer to a poll, taken apart.
public struct PollAnswer: Sendable {
    /// nil without records.
    public let token: String?
    public let records: [DeliveredRecord]
    /// What retention removed before it was read, in words.
    public let skipped: [String]

    /// Objects and arrays around a header of a record: what lies deeper is a record's own.
    private static let tapeDepth = 5

    public init(_ answer: Answer) throws(ClientError) {
        let root = try answer.json(tapeDepth: Self.tapeDepth)
        guard root.kind == .object, let records = root.member("records")?.elements else {
            throw .notAGateway("an answer to a poll has records")
        }
        token = root.member("ack")?.string
        var taken: [DeliveredRecord] = []
        for record in records { taken.append(try DeliveredRecord(record)) }
        self.records = taken
        guard taken.isEmpty || token != nil else { throw .notAGateway("records without an ack") }
        let ranges = root.member("skipped")?.elements.map(Array.init) ?? []
        skipped = ranges.map { range in
            let place = range.member("topic")?.string ?? ""
            let (partition, from, to) = (
                range.member("partition")?.int64 ?? 0, range.member("from")?.int64 ?? 0, range.member("to")?.int64 ?? 0
            )
            return plain(
                "\(place) partition \(partition): offsets \(from) to \(to - 1) were gone before they were read")
        }
    }
}

/// One record that was handed out.
public struct DeliveredRecord: Sendable {
    public let topic: String
    public let partition: Int64
    public let offset: Int64
    public let timestamp: String
    public let attempt: Int64
    /// Names this delivery in calls about it.
    public let id: String
    private let source: JSONValue

    init(_ source: JSONValue) throws(ClientError) {
        guard source.kind == .object, let topic = source.member("topic")?.string,
            let partition = source.member("partition")?.int64, let offset = source.member("offset")?.int64,
            let delivery = source.member("delivery"), let id = delivery.member("id")?.string
        else { throw .notAGateway("a record has topic, partition, offset and delivery") }
        self.source = source
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.id = id
        timestamp = source.member("timestamp")?.string ?? ""
        attempt = delivery.member("attempt")?.int64 ?? 1
    }

    /// As in the answer, on one line and with its line feed: line breaks between the tokens of a value are spaces.
    public var line: [UInt8] {
        var line = source.raw.map { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") ? UInt8(ascii: " ") : $0 }
        line.append(UInt8(ascii: "\n"))
        return line
    }

    /// nil: a tombstone. - Precondition: it was polled with `values=base64`.
    public func value() throws(ClientError) -> [UInt8]? { try bytes("value_base64") }

    public var keyText: String? { source.member("key")?.string }
    /// Where the key is no text.
    public var keyBase64: String? { source.member("key_base64")?.string }
    /// The record's headers, as JSON.
    public var headersJSON: String { source.member("headers").map { String(decoding: $0.raw, as: UTF8.self) } ?? "[]" }

    private func bytes(_ name: String) throws(ClientError) -> [UInt8]? {
        guard let text = source.member(name)?.stringBytes else { return nil }
        do throws(Base64Error) {
            return try Base64.decode(text)
        } catch {
            throw .notAGateway("\(name): \(error)")
        }
    }
}
