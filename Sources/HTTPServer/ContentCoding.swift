/// Which responses may leave compressed.
enum ContentCoding {
    /// Below it the headers cost more than is saved.
    static let bytesMin = 1 << 10

    /// Text, in a wide sense: what else is sent is compressed already or the client's own bytes.
    static func isCompressible(_ contentType: String?) -> Bool {
        guard let contentType else { return false }
        let type = contentType.prefix { $0 != ";" && $0 != " " }.lowercased()
        return type.hasPrefix("text/") || types.contains(type) || type.hasSuffix("+json") || type.hasSuffix("+xml")
    }

    private static let types: Set<String> = [
        "application/json", "application/x-ndjson", "application/yaml", "application/xml",
    ]
}

/// What a request's `Accept-Encoding` says (RFC 9110, section 12.5.3). Weights are thousandths.
struct AcceptedCodings: Hashable {
    private var gzip: Int?
    private var identity: Int?
    private var others: Int?

    /// Compressed, rather than as it is.
    var prefersGzip: Bool {
        let weight = gzip ?? others ?? 0
        return weight > 0 && weight >= identity ?? 0
    }

    /// `identity;q=0`, or `*;q=0` without a word on identity.
    var refusesIdentity: Bool { (identity ?? others) == 0 }

    /// One field; several are one list. Members that are malformed count as not there.
    mutating func read(_ field: UnsafeRawBufferPointer) {
        for member in field.split(separator: UInt8(ascii: ",")) {
            let parts = member.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)
            guard let name = parts.first.map(Self.trimmed), let weight = Self.weight(parts.dropFirst()) else {
                continue
            }
            if HeaderField.equals(name, "gzip") || HeaderField.equals(name, "x-gzip") {
                gzip = weight
            } else if HeaderField.equals(name, "identity") {
                identity = weight
            } else if HeaderField.equals(name, "*") {
                others = weight
            }
        }
    }

    private static func trimmed(_ text: Slice<UnsafeRawBufferPointer>) -> UnsafeRawBufferPointer {
        let isSpace: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
        else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(rebasing: text[first...last])
    }

    /// `q=` with 0 to 1 and at most three decimals (section 12.4.2); nil for anything else.
    private static func weight(_ parameters: ArraySlice<Slice<UnsafeRawBufferPointer>>) -> Int? {
        guard let parameter = parameters.first.map(trimmed) else { return 1000 }
        guard parameters.count == 1, (3...7).contains(parameter.count), HeaderField.begins(parameter, with: "q="),
            parameter.count == 3 || parameter[3] == UInt8(ascii: ".")
        else { return nil }
        var thousandths = 0
        for place in [2, 4, 5, 6] {
            let byte = place < parameter.count ? parameter[place] : UInt8(ascii: "0")
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            thousandths = thousandths * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return thousandths <= 1000 ? thousandths : nil
    }
}
