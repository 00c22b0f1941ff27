import HTTPServer

/// A media type, or a range of them, with parameters (RFC 9110, sections 8.3.1 and 12.5.1).
struct MediaType: Hashable, Sendable {
    struct Parameter: Hashable, Sendable {
        /// In lower case.
        var name: String
        /// Without quotes and their escapes.
        var value: String
    }

    /// In lower case, as is `subtype`; `*` in a range.
    var type: String
    var subtype: String
    var parameters: [Parameter]

    /// nil unless the whole text is one media type by the letter of the grammar, so that it can be a field's value.
    init?(_ text: some StringProtocol) {
        var scanner = MediaTypeScanner(text)
        guard let found = scanner.mediaType(), scanner.isAtEnd else { return nil }
        self = found
    }

    init(type: String, subtype: String, parameters: [Parameter] = []) {
        self.type = type
        self.subtype = subtype
        self.parameters = parameters
    }

    /// The elements of an `Accept` field; what is malformed is left out.
    static func list(_ text: some StringProtocol) -> [MediaType] {
        var scanner = MediaTypeScanner(text)
        var found: [MediaType] = []
        while !scanner.isAtEnd {
            if let type = scanner.mediaType(), scanner.isAtEndOfElement { found.append(type) }
            scanner.skipElement()
        }
        return found
    }
}

/// Reads media types out of a field's value.
private struct MediaTypeScanner {
    private var rest: ArraySlice<UInt8>

    init(_ text: some StringProtocol) { rest = Array(text.utf8)[...] }

    var isAtEnd: Bool { rest.isEmpty }
    var isAtEndOfElement: Bool { rest.isEmpty || rest.first == UInt8(ascii: ",") }

    /// Up to the next comma outside of quotes, and the white space behind it.
    mutating func skipElement() {
        while let byte = rest.popFirst(), byte != UInt8(ascii: ",") {
            if byte == UInt8(ascii: "\"") { _ = quotedRest() }
        }
        skipSpaces()
    }

    /// `type "/" subtype *( OWS ";" OWS [ token "=" ( token / quoted-string ) ] )`
    mutating func mediaType() -> MediaType? {
        skipSpaces()
        guard let type = token(), take("/"), let subtype = token() else { return nil }
        var parameters: [MediaType.Parameter] = []
        skipSpaces()
        while take(";") {
            skipSpaces()
            if rest.first == UInt8(ascii: ";") || isAtEndOfElement { continue }
            guard let name = token(), take("="), let value = take("\"") ? quotedRest() : token() else { return nil }
            parameters.append(MediaType.Parameter(name: name.lowercased(), value: value))
            skipSpaces()
        }
        return MediaType(type: type.lowercased(), subtype: subtype.lowercased(), parameters: parameters)
    }

    private mutating func skipSpaces() {
        rest = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
    }

    private mutating func take(_ wanted: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: wanted) else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func token() -> String? {
        let bytes = rest.prefix(while: HTTPHeader.isTokenByte)
        guard !bytes.isEmpty else { return nil }
        rest = rest.dropFirst(bytes.count)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What follows the opening quote, up to the closing one (section 5.6.4); nil when there is none, or for a byte
    /// that is neither printable ASCII, a space nor a tab.
    private mutating func quotedRest() -> String? {
        var inside: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: inside, as: UTF8.self)
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst(), Self.isText(escaped) else { return nil }
                inside.append(escaped)
            case _ where Self.isText(byte): inside.append(byte)
            default: return nil
            }
        }
        return nil
    }

    private static func isText(_ byte: UInt8) -> Bool { (0x20...0x7E).contains(byte) || byte == UInt8(ascii: "\t") }
}
