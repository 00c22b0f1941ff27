/// Which trace a request belongs to: what a valid `traceparent` says (W3C Trace Context, levels 1 and 2, section 3.2:
/// <https://www.w3.org/TR/trace-context-2/>). Numbers only, so whatever the client sent, nothing but hexadecimal digits
/// goes further.
public struct TraceContext: Hashable, Sendable {
    private let traceHigh: UInt64
    private let traceLow: UInt64
    private let span: UInt64
    private let flags: UInt8

    /// `00-` and 32, 16 and 2 digits with dashes between them.
    public static let traceparentBytes = 55
    /// Level 2 knows these: sampled, and that the trace's id is random. The others mean nothing yet, and are sent as 0.
    private static let flagsKnown: UInt8 = 0x03

    /// - Parameter value: of the field. nil when it is not valid; a later version counts as far as version 00 goes.
    init?(_ value: UnsafeRawBufferPointer) {
        var text = value[...]
        while let first = text.first, Self.isBlank(first) { text = text.dropFirst() }
        while let last = text.last, Self.isBlank(last) { text = text.dropLast() }
        var reader = Reader(bytes: UnsafeRawBufferPointer(rebasing: text))
        guard let version = reader.number(digits: 2), version != 0xFF, reader.dash(),
            let traceHigh = reader.number(digits: 16), let traceLow = reader.number(digits: 16),
            traceHigh | traceLow != 0, reader.dash(), let span = reader.number(digits: 16), span != 0, reader.dash(),
            let flags = reader.number(digits: 2), reader.isAtEnd || version > 0 && reader.dash()
        else { return nil }
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.flags = UInt8(flags) & Self.flagsKnown
    }

    /// 32 digits.
    public var traceID: String { Self.digits(traceHigh, 16) + Self.digits(traceLow, 16) }

    /// 16 digits: the span of the client that sent the request.
    public var spanID: String { Self.digits(span, 16) }

    /// As version 00 writes it.
    public var traceparent: String { "00-\(traceID)-\(spanID)-\(Self.digits(UInt64(flags), 2))" }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    private static func digits(_ number: UInt64, _ count: Int) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: count - text.utf8.count) + text
    }

    private struct Reader {
        let bytes: UnsafeRawBufferPointer
        private var next = 0

        init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        var isAtEnd: Bool { next == bytes.count }

        mutating func dash() -> Bool {
            guard next < bytes.count, bytes[next] == UInt8(ascii: "-") else { return false }
            next += 1
            return true
        }

        /// Digits in lower case only, as the grammar has them.
        mutating func number(digits: Int) -> UInt64? {
            guard bytes.count - next >= digits else { return nil }
            var number: UInt64 = 0
            for byte in bytes[next..<next + digits] {
                let digit: UInt8
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
                case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
                default: return nil
                }
                number = number << 4 | UInt64(digit)
            }
            next += digits
            return number
        }
    }
}
