import CMicrohttpd

/// Who sent a request that came through proxies of one's own. Immutable; any thread may use it.
///
/// A proxy appends the address that it was called from to a header field, behind what its caller wrote there. So the
/// field is read from its end as long as who wrote the entry is trusted, and whoever is named by the last of these is
/// the client; what stands before is that client's own claim.
struct TrustedProxies: Sendable {
    /// Proxies that are looked through.
    static let hopsMax = 32

    private let ranges: [AddressRange]
    private let field: ForwardingField

    /// nil for an entry that is no range of addresses.
    init?(_ ranges: [String], _ field: ForwardingField) {
        let parsed = ranges.compactMap(AddressRange.init)
        guard parsed.count == ranges.count else { return nil }
        self.ranges = parsed
        self.field = field
    }

    func contains(_ address: ClientAddress) -> Bool { ranges.contains { $0.contains(address) } }

    /// Call on the connection's event loop, while libmicrohttpd keeps the request's headers.
    func client(of peer: ClientAddress, _ handle: OpaquePointer) -> ClientAddress {
        contains(peer) ? client(of: peer, fields: values(handle)) : peer
    }

    /// - Parameter fields: values of the header field, in order.
    /// - Returns: the nearest address that is no trusted proxy's; where that is not known (an entry that is no address,
    ///   a field that is malformed or missing), the farthest proxy's that is.
    func client(of peer: ClientAddress, fields: [String]) -> ClientAddress {
        var client = peer
        for hop in field.hops(fields).reversed() {
            guard contains(client), let hop else { break }
            client = hop
        }
        return client
    }

    private func values(_ handle: OpaquePointer) -> [String] {
        var found = Found(name: field.name)
        withUnsafeMutablePointer(to: &found) { found in
            _ = MHD_get_connection_values_n(
                handle, postrider_mhd_header_kind,
                { context, _, name, nameBytes, value, valueBytes in
                    guard let found = context?.assumingMemoryBound(to: Found.self) else { return postrider_mhd_no }
                    let name = UnsafeRawBufferPointer(start: name, count: nameBytes)
                    if HeaderField.equals(name, found.pointee.name) {
                        let value = UnsafeRawBufferPointer(start: value, count: valueBytes)
                        found.pointee.values.append(String(decoding: value, as: UTF8.self))
                    }
                    return postrider_mhd_yes
                }, found)
        }
        return found.values
    }

    private struct Found {
        let name: StaticString
        var values: [String] = []
    }
}

/// The header field in which the trusted proxies say who called them. One of the two: a proxy that writes one passes
/// the other on as its client sent it.
public enum ForwardingField: String, Sendable, CaseIterable {
    case xForwardedFor = "x-forwarded-for"
    /// RFC 7239.
    case forwarded

    /// In lower case.
    var name: StaticString {
        switch self {
        case .xForwardedFor: "x-forwarded-for"
        case .forwarded: "forwarded"
        }
    }

    /// What the proxies were called from, in order, the last `TrustedProxies.hopsMax` of them: what a client wrote
    /// before these may be long. nil for an entry that is no address. None where the field is malformed: then it cannot
    /// be told whose entry is whose.
    func hops(_ fields: [String]) -> [ClientAddress?] {
        let text = fields.joined(separator: ",")
        switch self {
        case .xForwardedFor:
            return text.split(separator: ",").suffix(TrustedProxies.hopsMax).map { part in
                ClientAddress(node: part.drop { $0 == " " || $0 == "\t" }.trimmedEnd)
            }
        case .forwarded:
            var scanner = ForwardedScanner(Array(text.utf8))
            return (scanner.hops() ?? []).suffix(TrustedProxies.hopsMax)
                .map { $0.flatMap { ClientAddress(node: $0) } }
        }
    }
}

extension Substring {
    /// Without spaces and tabs behind.
    fileprivate var trimmedEnd: Substring {
        var text = self
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}

/// Reads `Forwarded` (RFC 7239, section 4) strictly: a client's stray quotation mark must not swallow what a proxy
/// wrote behind it.
private struct ForwardedScanner {
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// `for` of each element, nil where it is missing; nil when the field is malformed.
    mutating func hops() -> [String?]? {
        var hops: [String?] = []
        while true {
            skipSpace()
            // An empty element, which a list may have (RFC 9110, section 5.6.1).
            if at == bytes.count { return hops }
            if take(",") { continue }
            guard let element = element() else { return nil }
            hops.append(element)
            skipSpace()
            guard at == bytes.count || take(",") else { return nil }
        }
    }

    /// `for`'s value within pairs with semicolons between them; nil when they are malformed.
    private mutating func element() -> String?? {
        var found: String?
        while true {
            let name = token()
            guard !name.isEmpty, take("="), let value = value() else { return nil }
            if name.lowercased() == "for" {
                guard found == nil else { return nil }
                found = value
            }
            // (Some write spaces here, though the grammar has none.)
            skipSpace()
            guard take(";") else { return .some(found) }
            skipSpace()
        }
    }

    private mutating func value() -> String? {
        guard take("\"") else {
            let text = token()
            return text.isEmpty ? nil : text
        }
        var text: [UInt8] = []
        while at < bytes.count {
            if take("\"") { return String(decoding: text, as: UTF8.self) }
            if bytes[at] == UInt8(ascii: "\\") { at += 1 }
            guard at < bytes.count else { return nil }
            text.append(bytes[at])
            at += 1
        }
        return nil
    }

    private mutating func token() -> String {
        let start = at
        while at < bytes.count, HTTPHeader.isTokenByte(bytes[at]) { at += 1 }
        return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    private mutating func skipSpace() {
        while at < bytes.count, bytes[at] == UInt8(ascii: " ") || bytes[at] == UInt8(ascii: "\t") { at += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard at < bytes.count, bytes[at] == UInt8(ascii: character) else { return false }
        at += 1
        return true
    }
}
