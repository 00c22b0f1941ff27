import Glibc

/// The host of a `Host` field or an authority, without its port and in place (RFC 3986, section 3.2.2).
struct HostName {
    private let bytes: UnsafeRawBufferPointer

    /// nil for what is no host with an optional port: user information, an empty host, a port that is no number, bytes
    /// that no name of a host has.
    init?(_ field: UnsafeRawBufferPointer) {
        guard let colon = Self.end(of: field) else { return nil }
        let port = field[colon...].dropFirst()
        guard port.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else { return nil }
        var host = UnsafeRawBufferPointer(rebasing: field[..<colon])
        // The root's dot.
        if host.last == UInt8(ascii: ".") { host = UnsafeRawBufferPointer(rebasing: host.dropLast()) }
        guard !host.isEmpty, host.first == UInt8(ascii: "[") || host.allSatisfy(Self.isNameByte) else { return nil }
        bytes = host
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        byte.isLetterOrDigit || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
    }

    /// Where the port's colon is, or the field's end.
    private static func end(of field: UnsafeRawBufferPointer) -> Int? {
        if field.first == UInt8(ascii: "[") {
            guard let bracket = field.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            let next = bracket + 1
            return next == field.count || field[next] == UInt8(ascii: ":") ? next : nil
        }
        return field.firstIndex(of: UInt8(ascii: ":")) ?? field.count
    }

    var text: String { String(decoding: bytes, as: UTF8.self).lowercased() }

    /// `localhost` and names under it (RFC 6761, section 6.3), 127.0.0.0/8, `[::1]`.
    var isLoopback: Bool {
        if bytes.count >= 9 {
            let last = UnsafeRawBufferPointer(rebasing: bytes.suffix(9))
            if HeaderField.equals(last, "localhost") {
                return bytes.count == 9 || bytes[bytes.count - 10] == UInt8(ascii: ".")
            }
        }
        return HeaderField.equals(bytes, "[::1]") || isLoopbackV4
    }

    /// Four decimal numbers of at most 255, the first 127; no other form of an address.
    private var isLoopbackV4: Bool {
        var numbers = 0
        var number = 0
        var digits = 0
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                number = number * 10 + Int(byte - UInt8(ascii: "0"))
                digits += 1
                if digits > 3 || number > 255 { return false }
            case UInt8(ascii: "."):
                if digits == 0 || numbers == 3 || numbers == 0 && number != 127 { return false }
                (numbers, number, digits) = (numbers + 1, 0, 0)
            default: return false
            }
        }
        return numbers == 3 && digits > 0
    }

    /// Whether an entry of `allowedHosts` can be a host: a name of letters, digits, dots and dashes that does not end
    /// in a number, an IPv4 address, or an IPv6 address in brackets.
    static func isEntry(_ text: String) -> Bool {
        var address = in6_addr()
        if text.hasPrefix("["), text.hasSuffix("]") {
            return inet_pton(AF_INET6, String(text.dropFirst().dropLast()), &address) == 1
        }
        if inet_pton(AF_INET, text, &address) == 1 { return true }
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let dash = UInt8(ascii: "-")
        let areNames = labels.allSatisfy { label in
            !label.isEmpty && label.first != dash && label.last != dash
                && label.allSatisfy { $0 == dash || $0.isLetterOrDigit }
        }
        return areNames && labels.last?.contains { $0 < UInt8(ascii: "0") || $0 > UInt8(ascii: "9") } == true
    }

    /// Whether an entry of `corsOrigins` is an origin as browsers write it: scheme, host and, unless it is the scheme's
    /// own, port; no path.
    static func isOrigin(_ text: String) -> Bool {
        for scheme in ["http://", "https://"] where text.lowercased().hasPrefix(scheme) {
            var rest = Substring(text.dropFirst(scheme.count))
            if let colon = rest.lastIndex(of: ":"), rest.last != "]" {
                guard UInt16(rest[rest.index(after: colon)...]) != nil else { return false }
                rest = rest[..<colon]
            }
            return isEntry(String(rest))
        }
        return false
    }
}

extension UInt8 {
    /// Of ASCII.
    fileprivate var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}
