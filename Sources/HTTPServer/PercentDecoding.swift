/// Strict reading of what clients put into the request target (RFC 3986, section 2.1).
enum PercentDecoding {
    /// One segment of a path, decoded. Throws on anything a proxy in front may read differently: bad escapes, an
    /// encoded slash or NUL, raw or encoded control characters, dot segments, bytes that are not UTF-8.
    static func segment(_ raw: UnsafeBufferPointer<UInt8>) throws(ServerProblem) -> String {
        var needsDecoding = false
        for byte in raw {
            if byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "#") || byte == UInt8(ascii: "\\") {
                throw ServerProblem(.malformedPath, "a character that must be escaped in a path")
            }
            if byte == UInt8(ascii: "%") || byte >= 0x80 { needsDecoding = true }
        }
        let text: String
        if needsDecoding {
            guard let decoded = decode(raw) else { throw ServerProblem(.malformedPath, "a bad escape in the path") }
            if decoded.contains(where: {
                $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\")
            }) {
                throw ServerProblem(.malformedPath, "an escape in the path that stands for a separator or a control")
            }
            guard let valid = String(validating: decoded, as: UTF8.self) else {
                throw ServerProblem(.malformedPath, "the path is not UTF-8")
            }
            text = valid
        } else {
            text = String(decoding: raw, as: UTF8.self)
        }
        if text == "." || text == ".." { throw ServerProblem(.malformedPath, "a dot segment in the path") }
        return text
    }

    /// A key or value of the query: nil for a bad escape, a NUL, or bytes that are not UTF-8. (`+` has become a space
    /// already, as in `application/x-www-form-urlencoded`.)
    static func queryText(_ raw: UnsafeBufferPointer<UInt8>) -> String? {
        guard let decoded = decode(raw), !decoded.contains(0) else { return nil }
        return String(validating: decoded, as: UTF8.self)
    }

    /// nil when a `%` is not followed by two hexadecimal digits.
    static func decode(_ raw: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(raw.count)
        var index = 0
        while index < raw.count {
            let byte = raw[index]
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                index += 1
                continue
            }
            guard index + 2 < raw.count, let high = hexValue(raw[index + 1]), let low = hexValue(raw[index + 2]) else {
                return nil
            }
            bytes.append(high << 4 | low)
            index += 3
        }
        return bytes
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
