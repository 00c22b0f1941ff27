import Logging

/// How a line looks.
public enum LogFormat: String, Sendable, CaseIterable {
    /// For people: `2026-11-20T23:26:11.123Z warning  postrider.journal: slow sync milliseconds=1200`
    case text
    /// One JSON object: `time`, `level`, `logger`, `message`, and the metadata as further members.
    case json
}

/// One log line with its line break. Whatever comes from clients is escaped: it can neither start a line of its own nor
/// send control codes to a terminal.
struct LogLine {
    /// A message or a single value is cut here; the rest is not worth a log's space.
    static let valueBytesMax = 2048
    /// Metadata that would make the line longer is left out, and `cut` says so.
    static let bytesMax = 16 << 10
    /// Metadata inside metadata.
    static let depthMax = 4
    /// The line's own members in JSON: metadata of such a name gets an underscore behind it.
    private static let ownNames: Set<String> = ["time", "level", "logger", "message", "cut"]

    private(set) var bytes: [UInt8] = []

    init(
        format: LogFormat, isColored: Bool = false, time: String, level: Logger.Level, label: String, message: String,
        metadata: Logger.Metadata
    ) {
        bytes.reserveCapacity(256)
        switch format {
        case .text: writeText(isColored, time, level, label, message, metadata)
        case .json: writeJSON(time, level, label, message, metadata)
        }
        bytes.append(UInt8(ascii: "\n"))
    }

    // MARK: - For people

    private mutating func writeText(
        _ isColored: Bool, _ time: String, _ level: Logger.Level, _ label: String, _ message: String,
        _ metadata: Logger.Metadata
    ) {
        let padded = level.rawValue + String(repeating: " ", count: Self.levelWidth - level.rawValue.utf8.count)
        append(isColored ? "\u{1b}[2m\(time)\u{1b}[0m \(level.color)\(padded)\u{1b}[0m " : "\(time) \(padded) ")
        escape(label)
        append(": ")
        escape(message)
        let isCut = write(metadata) { line, key, value in
            line.append(" ")
            line.escape(key)
            line.append("=")
            switch value {
            case .string(let text): line.writeWord(text)
            case .stringConvertible(let convertible): line.writeWord(convertible.description)
            case .array, .dictionary: line.writeJSON(value, depth: 1)
            }
        }
        if isCut { append(" cut=true") }
    }

    /// Of `critical`, the longest.
    private static let levelWidth = 8

    /// Member by member, as far as the line has room. - Returns: whether some did not fit.
    private mutating func write(
        _ metadata: Logger.Metadata,
        _ member: (inout LogLine, _ key: String, _ value: Logger.MetadataValue) -> Void
    ) -> Bool {
        var isCut = false
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            let start = bytes.count
            member(&self, key, value)
            guard bytes.count > Self.bytesMax else { continue }
            bytes.removeSubrange(start...)
            isCut = true
        }
        return isCut
    }

    /// In quotes where it would not be one word otherwise.
    private mutating func writeWord(_ text: String) {
        let plain =
            !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") }
        plain ? escape(text) : quote(text)
    }

    // MARK: - For machines

    private mutating func writeJSON(
        _ time: String, _ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata
    ) {
        append("{\"time\":\"\(time)\",\"level\":\"\(level.rawValue)\",\"logger\":")
        quote(label)
        append(",\"message\":")
        quote(message)
        let isCut = write(metadata) { line, key, value in
            line.append(",")
            line.quote(Self.memberName(key, beside: metadata))
            line.append(":")
            line.writeJSON(value, depth: 0)
        }
        append(isCut ? ",\"cut\":true}" : "}")
    }

    private static func memberName(_ key: String, beside metadata: Logger.Metadata) -> String {
        guard ownNames.contains(key) else { return key }
        var name = key + "_"
        while metadata[name] != nil { name += "_" }
        return name
    }

    private mutating func writeJSON(_ value: Logger.MetadataValue, depth: Int) {
        switch value {
        case .string(let text): quote(text)
        case .stringConvertible(let convertible):
            let text = convertible.description
            convertible is any BinaryInteger ? append(text) : quote(text)
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

    /// As inside a JSON string; C1 controls too, which terminals obey, and those that turn the order of what follows
    /// (UAX #9): they could show another line than the one that was written.
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
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{61c}", "\u{200e}", "\u{200f}", "\u{2028}"..."\u{202e}",
                "\u{2066}"..."\u{2069}":
                let digits = String(scalar.value, radix: 16)
                append("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits)
            default: bytes.append(contentsOf: UTF8.encode(scalar)!)
            }
        }
    }
}

extension Logger.Level {
    /// The escape sequence that a terminal understands (ECMA-48, select graphic rendition).
    fileprivate var color: String {
        switch self {
        case .trace, .debug: "\u{1b}[2m"
        case .info: "\u{1b}[32m"
        case .notice: "\u{1b}[36m"
        case .warning: "\u{1b}[33m"
        case .error: "\u{1b}[31m"
        case .critical: "\u{1b}[1;31m"
        }
    }
}
