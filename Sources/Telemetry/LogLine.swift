import Logging

/// How a line looks.
public enum LogFormat: String, Sendable, CaseIterable {
    /// `2026-11-20T23:26:11.123Z warning journal: sync was slow duration_ms=1200`
    case people
    /// One JSON object: `time`, `level`, `label`, `message`, and `metadata` where there is any.
    case json
}

/// One log line with its line break. Whatever comes from clients is escaped: it can neither start a line of its own nor
/// send control codes to a terminal.
struct LogLine {
    /// A message or a single value is cut here; the rest is not worth a log's space.
    static let valueBytesMax = 2048
    /// Metadata inside metadata.
    static let depthMax = 4

    private(set) var bytes: [UInt8] = []

    init(
        format: LogFormat, time: String, level: Logger.Level, label: String, message: String, metadata: Logger.Metadata
    ) {
        bytes.reserveCapacity(256)
        switch format {
        case .people: writePeople(time, level, label, message, metadata)
        case .json: writeJSON(time, level, label, message, metadata)
        }
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func writePeople(
        _ time: String, _ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata
    ) {
        append("\(time) \(level.rawValue) ")
        escape(label)
        append(": ")
        escape(message)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            append(" ")
            escape(key)
            append("=")
            switch value {
            case .string(let text): writeWord(text)
            case .stringConvertible(let convertible): writeWord(convertible.description)
            case .array, .dictionary: writeJSON(value, depth: 1)
            }
        }
    }

    /// In quotes where it would not be one word otherwise.
    private mutating func writeWord(_ text: String) {
        let plain =
            !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") }
        plain ? escape(text) : quote(text)
    }

    private mutating func writeJSON(
        _ time: String, _ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata
    ) {
        append("{\"time\":\"\(time)\",\"level\":\"\(level.rawValue)\",\"label\":")
        quote(label)
        append(",\"message\":")
        quote(message)
        if !metadata.isEmpty {
            append(",\"metadata\":")
            writeJSON(.dictionary(metadata), depth: 0)
        }
        append("}")
    }

    private mutating func writeJSON(_ value: Logger.MetadataValue, depth: Int) {
        switch value {
        case .string(let text): quote(text)
        case .stringConvertible(let convertible): quote(convertible.description)
        case .array, .dictionary:
            if depth > Self.depthMax { return quote("…") }
            writeContainer(value, depth: depth)
        }
    }

    private mutating func writeContainer(_ value: Logger.MetadataValue, depth: Int) {
        var first = true
        func separator() -> String {
            defer { first = false }
            return first ? "" : ","
        }
        if case .array(let values) = value {
            append("[")
            for value in values {
                append(separator())
                writeJSON(value, depth: depth + 1)
            }
            append("]")
        } else if case .dictionary(let members) = value {
            append("{")
            for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                append(separator())
                quote(key)
                append(":")
                writeJSON(value, depth: depth + 1)
            }
            append("}")
        }
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    private mutating func quote(_ text: String) {
        append("\"")
        escape(text, quotes: true)
        append("\"")
    }

    /// As inside a JSON string; C1 controls too, which terminals obey.
    private mutating func escape(_ text: String, quotes: Bool = false) {
        let end = bytes.count + Self.valueBytesMax
        for scalar in text.unicodeScalars {
            if bytes.count >= end { return append("…") }
            switch scalar {
            case "\n": append("\\n")
            case "\r": append("\\r")
            case "\t": append("\\t")
            case "\"" where quotes: append("\\\"")
            case "\\" where quotes: append("\\\\")
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                append("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits)
            default: bytes.append(contentsOf: UTF8.encode(scalar)!)
            }
        }
    }
}
