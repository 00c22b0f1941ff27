import Broker
import Records

/// What is wrong with one record of a request.
struct RecordFault: Error {
    /// Raw values are the codes of problems.
    enum Kind: String, CaseIterable {
        /// Not the form of a record.
        case malformed = "invalid_records"
        case tooLarge = "record_too_large"
        case tooManyHeaders = "too_many_headers"
        case reservedHeader = "reserved_header"
        case invalidTimestamp = "invalid_timestamp"

        var status: Int {
            switch self {
            case .malformed: 400
            case .tooLarge: 413
            case .tooManyHeaders, .reservedHeader, .invalidTimestamp: 422
            }
        }

        var title: String {
            switch self {
            case .malformed: "Some records are not valid"
            case .tooLarge: "A record is too large"
            case .tooManyHeaders: "A record has too many headers"
            case .reservedHeader: "A record header's name is reserved"
            case .invalidTimestamp: "A timestamp is too far from now"
            }
        }
    }

    var kind = Kind.malformed
    /// A member of the record; empty: the record as a whole.
    var field: String
    var reason: String
    /// Another state of the topic would take the record.
    var restsOnTopic = false

    /// For a request of this record alone.
    var problem: Problem {
        var problem = Problem(
            kind.status, kind.rawValue, kind.title, reason, parts: [.init(pointer: "", reason: kind.rawValue)])
        problem.restsOnTopic = restsOnTopic
        return problem
    }
}

/// What a record must keep to whatever form it came in.
struct RecordRules {
    let topic: TopicName
    let known: KnownTopic
    /// `limits.record_bytes_max`.
    let bytesMax: Int
    let headersMax: Int
    let nowMs: Int64

    /// - Parameter timestampIsGateways: the record has no timestamp of its client's.
    func check(_ record: Record, timestampIsGateways: Bool) throws(RecordFault) {
        if record.bytes > bytesMax {
            throw RecordFault(
                kind: .tooLarge, field: "",
                reason: "key, value and headers are \(record.bytes) bytes together; \(bytesMax) are allowed "
                    + "(limits.record_bytes_max)")
        }
        try checkTopic(record)
        try checkCount(record.headers.count)
        if let reserved = record.headers.first(where: { Self.isReserved($0.name) }) {
            throw RecordFault(
                kind: .reservedHeader, field: "",
                reason: "\(reserved.name.clipped): names that begin with postrider- are the gateway's own")
        }
        if !timestampIsGateways { try check(timestampMs: record.timestampMs) }
    }

    /// Whether a record that is good stays within its limits.
    func takes(_ record: Record) -> Bool {
        guard record.bytes <= bytesMax, record.headers.count <= headersMax else { return false }
        do throws(RecordFault) {
            try checkTopic(record)
            return true
        } catch {
            return false
        }
    }

    /// What the topic itself takes.
    func checkTopic(_ record: Record) throws(RecordFault) {
        if let messageBytesMax = known.messageBytesMax {
            let bytes = RecordBatchSize.bytes(of: record)
            if bytes > messageBytesMax {
                throw RecordFault(
                    kind: .tooLarge, field: "",
                    reason: "the record takes \(bytes) bytes in a batch of its own; \(topic) takes "
                        + "\(messageBytesMax) (max.message.bytes)", restsOnTopic: true)
            }
        } else if record.bytes > known.recordBytesMax {
            throw RecordFault(
                kind: .tooLarge, field: "",
                reason: "key, value and headers are \(record.bytes) bytes together; \(topic) takes "
                    + "\(known.recordBytesMax)", restsOnTopic: true)
        }
    }

    /// Kafka refuses the whole batch that such a record is in.
    private func check(timestampMs: Int64) throws(RecordFault) {
        let ahead = timestampMs - nowMs
        func fault(_ distance: Int64, _ side: String, _ limit: Int64, _ setting: String) -> RecordFault {
            RecordFault(
                kind: .invalidTimestamp, field: "timestamp",
                reason: "\(distance) ms \(side) now; \(topic) takes \(limit) (\(setting))", restsOnTopic: true)
        }
        if let limit = known.timestampBounds?.afterMs, ahead > limit {
            throw fault(ahead, "after", limit, "message.timestamp.after.max.ms")
        }
        if let limit = known.timestampBounds?.beforeMs, -ahead > limit {
            throw fault(-ahead, "before", limit, "message.timestamp.before.max.ms")
        }
    }

    /// Also while headers are read, so that none of them take memory beyond the limit.
    func checkCount(_ headers: Int) throws(RecordFault) {
        if headers > headersMax {
            throw RecordFault(
                kind: .tooManyHeaders, field: "", reason: "more than the \(headersMax) headers that are allowed")
        }
    }

    /// Whether a record header's name begins with `postrider-`, without regard to case.
    private static func isReserved(_ name: String) -> Bool {
        let (name, reserved) = (name.utf8, "postrider-".utf8)
        guard name.count >= reserved.count else { return false }
        return zip(name, reserved).allSatisfy { byte, lower in
            byte == lower || byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") && byte | 0x20 == lower
        }
    }
}

/// What is wrong with the records of one request: the first `Problem.partsMax` by pointer, all of them counted.
struct RecordFaults {
    private var parts: [Problem.Part] = []
    private var kinds: Set<RecordFault.Kind> = []
    private var first: RecordFault?
    private var bad = 0
    private var restsOnTopic = false

    /// - Parameters:
    ///   - index: of the record in the request, from 0.
    ///   - line: of the body, from 1, where records are lines.
    mutating func add(_ fault: RecordFault, index: Int, line: Int?) {
        bad += 1
        if fault.restsOnTopic { restsOnTopic = true }
        kinds.insert(fault.kind)
        if first == nil { first = fault }
        guard parts.count < Problem.partsMax else { return }
        let field = fault.field.isEmpty ? "" : "/" + JSONPointerText.escaped(fault.field)
        let code = fault.kind == .malformed ? "" : fault.kind.rawValue + ": "
        let place = line.map { " (line \($0))" } ?? ""
        parts.append(.init(pointer: "/records/\(index)\(field)", reason: code + fault.reason + place))
    }

    /// nil when every record is good. A record that is no record makes it 400; faults of one kind have its code; limits
    /// of several kinds are 422 `records_refused`.
    func problem(of records: Int) -> Problem? {
        guard let first else { return nil }
        var problem = problem(first, of: records)
        problem.restsOnTopic = restsOnTopic
        return problem
    }

    private func problem(_ first: RecordFault, of records: Int) -> Problem {
        let counted = "\(bad) of \(records) records are bad; none was accepted"
        if kinds.contains(.malformed) {
            let kind = RecordFault.Kind.malformed
            return Problem(kind.status, kind.rawValue, kind.title, counted, parts: parts)
        }
        if kinds.count > 1 {
            return Problem(422, "records_refused", "Some records break a limit", counted, parts: parts)
        }
        return Problem(
            first.kind.status, first.kind.rawValue, first.kind.title, bad == 1 ? first.reason : counted, parts: parts)
    }
}

/// RFC 6901, section 3.
enum JSONPointerText {
    static func escaped(_ name: String) -> String {
        var escaped = ""
        for character in name.clipped {
            switch character {
            case "~": escaped += "~0"
            case "/": escaped += "~1"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
