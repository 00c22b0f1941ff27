import JSON
import Primitives

/// What `produce` is told.
public struct ProduceOptions: Sendable {
    /// What a record is.
    public enum Form: String, Sendable, CaseIterable {
        /// Each line, as it is.
        case lines
        /// Each line is a JSON object, as in the batch call.
        case ndjson
        /// All of the input is one.
        case record
    }

    /// Lines of one request: the most that a gateway takes by default.
    public static let batchRecordsMax = 10_000
    /// Bytes of input that begin no further line in a request. All escaped it stays under `limits.request_bytes_max`.
    static let batchBytes = 1 << 20
    /// A request is not repeated for longer than names are remembered by default, with room for other clocks:
    /// `idempotency.lifetime` is 24 h, `idempotency.producer_idle` 7 days.
    static let keyedGiveUp = Duration.seconds(12 * 3600)
    static let numberedGiveUp = Duration.seconds(6 * 86400)

    public var topic: String
    public var form = Form.lines
    /// Of every record.
    public var key: String?
    /// What stands in a line between key and value.
    public var keySeparator: String?
    /// Of the one record.
    public var contentType: String?
    /// Numbers the requests; needs `progress`. nil: every request has a key.
    public var producer: String?
    /// Where `ProduceProgress` is kept.
    public var progress: String?
    /// 1 to `batchRecordsMax`.
    public var batchRecords = 500
    /// How long each request waits for delivery.
    public var wait = Duration.zero
    /// Since a request was sent for the first time; nil: by the kind of its name.
    public var giveUpAfter: Duration?

    public init(topic: String) { self.topic = topic }

    var giveUp: Duration { giveUpAfter ?? (producer == nil ? Self.keyedGiveUp : Self.numberedGiveUp) }

    /// Records that are made of the same input in the same way: what a progress file is for.
    var formName: String {
        var name = form.rawValue
        if let key { name += ",key=\(key)" }
        if let keySeparator { name += ",separator=\(keySeparator)" }
        if let contentType { name += ",type=\(contentType)" }
        return name
    }
}

/// The lines of one request, and its body.
struct ProduceBatch {
    private(set) var body: [UInt8] = []
    /// Of each record, in the request's order.
    private(set) var recordLines: [Int] = []
    /// Of the input: the first line that is not in it yet; bytes to its end.
    private(set) var lines = 0
    private(set) var end: Int64
    private let start: Int64
    private let options: ProduceOptions

    init(_ options: ProduceOptions, from start: Int64) {
        self.options = options
        self.start = start
        end = start
    }

    var isFull: Bool {
        recordLines.count >= options.batchRecords || end - start >= Int64(ProduceOptions.batchBytes)
    }

    mutating func add(_ line: InputLines.Line) throws(ClientError) {
        if options.form == .ndjson {
            if !line.bytes.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == 0x09 || $0 == 0x0D }) {
                body += line.bytes
                body.append(UInt8(ascii: "\n"))
                recordLines.append(line.number)
            }
        } else {
            var writer = JSONWriter(capacity: line.bytes.count + 32)
            try write(line, to: &writer)
            body += writer.bytes
            recordLines.append(line.number)
        }
        lines += 1
        end = line.end
    }

    private func write(_ line: InputLines.Line, to writer: inout JSONWriter) throws(ClientError) {
        var value = line.bytes
        var key = options.key.map { Array($0.utf8)[...] }
        if let separator = options.keySeparator {
            guard let at = value.firstRange(of: Array(separator.utf8)) else {
                throw .input("line \(line.number): no key, there is no \(plain(separator)) in it")
            }
            key = value[..<at.lowerBound]
            value = value[at.upperBound...]
        }
        writer.object { writer in
            if let key { writer.field("key", orBase64: "key_base64", key) }
            writer.field("value_text", orBase64: "value_base64", value)
        }
        writer.endLine()
    }

    /// For the one record of the form `record`.
    mutating func set(record: [UInt8]) {
        body = record
        recordLines = [1]
        end = start + Int64(record.count)
    }

    func request(name: [(name: String, value: String)]) -> Request {
        var target = "/v1/topics/\(percentEncoded(options.topic))"
        var headers = name
        if options.form == .record {
            if let key = options.key { target += "?key=\(percentEncoded(key))" }
            if let type = options.contentType { headers.append(("Content-Type", type)) }
        } else {
            target += "/records"
            headers.append(("Content-Type", "application/x-ndjson"))
        }
        if options.wait > .zero { headers.append(("Prefer", "wait=\(options.wait.inSeconds)")) }
        return Request("POST", target, headers: headers, body: body, wait: options.wait)
    }
}

extension JSONWriter {
    fileprivate mutating func field(_ name: String, orBase64 other: String, _ bytes: ByteSlice) {
        if isValidUTF8(bytes) {
            key(name)
            string(utf8: bytes)
        } else {
            key(other)
            base64(bytes)
        }
    }
}

extension ByteSlice {
    /// The first place of `part`, which is not empty.
    fileprivate func firstRange(of part: [UInt8]) -> Range<Int>? {
        guard let first = part.first else { return nil }
        var from = startIndex
        while let at = self[from...].firstIndex(of: first), at + part.count <= endIndex {
            if self[at..<at + part.count].elementsEqual(part) { return at..<at + part.count }
            from = at + 1
        }
        return nil
    }
}
