import CMicrohttpd
import Glibc

/// An IP address as 128 bits; IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
struct ClientAddress: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    private static let mappedPrefix: UInt64 = 0xFFFF_0000_0000

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    private init(_ address: in_addr) {
        self.init(high: 0, low: Self.mappedPrefix | UInt64(UInt32(bigEndian: address.s_addr)))
    }

    private init(_ address: in6_addr) {
        let (high, low) = withUnsafeBytes(of: address) {
            ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        self.init(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low))
    }

    /// nil for another family.
    init?(_ address: UnsafePointer<sockaddr>) {
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET: self.init(raw.loadUnaligned(as: sockaddr_in.self).sin_addr)
        case AF_INET6: self.init(raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr)
        default: return nil
        }
    }

    /// A numeric address without brackets, port or zone.
    init?(_ text: some StringProtocol) {
        let text = String(text)
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(four)
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            self.init(six)
        } else {
            return nil
        }
    }

    /// As proxies write it (RFC 7239, section 6, and what `X-Forwarded-For` has): perhaps in brackets, perhaps with a
    /// port. nil for `unknown`, an obfuscated name and anything else.
    init?(node text: some StringProtocol) {
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.first == ":" && UInt16(rest.dropFirst()) != nil else { return nil }
            self.init(text[text.index(after: text.startIndex)..<end])
        } else if let colon = text.firstIndex(of: ":"), text.lastIndex(of: ":") == colon {
            guard UInt16(text[text.index(after: colon)...]) != nil else { return nil }
            self.init(text[..<colon])
        } else {
            self.init(text)
        }
    }

    /// As people write it: IPv4 with dots, IPv6 as RFC 5952 wants it.
    var text: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            if isIPv4 {
                var address = UInt32(truncatingIfNeeded: low).bigEndian
                _ = inet_ntop(AF_INET, &address, text.baseAddress, socklen_t(text.count))
            } else {
                var address = (high.bigEndian, low.bigEndian)
                _ = inet_ntop(AF_INET6, &address, text.baseAddress, socklen_t(text.count))
            }
            return text.baseAddress.map { String(cString: $0) } ?? ""
        }
    }

    var isIPv4: Bool { high == 0 && low >> 32 == Self.mappedPrefix >> 32 }

    /// Whose limits it counts against: an IPv6 subscriber has at least a /64 (RFC 6177), so single addresses of it are
    /// nobody's.
    var network: ClientAddress { isIPv4 ? self : ClientAddress(high: high, low: 0) }
}

/// Addresses with a common prefix: `192.0.2.0/24`, `2001:db8::/32`, or one address.
struct AddressRange: Hashable, Sendable {
    private let base: ClientAddress
    private let bits: Int

    /// nil for anything else, also for a base that has bits beyond its prefix: that is a slip of the pen.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let base = ClientAddress(parts[0]) else { return nil }
        let most = base.isIPv4 && !parts[0].contains(":") ? 32 : 128
        var bits = most
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...most).contains(given), String(given) == parts[1] else { return nil }
            bits = given
        }
        self.base = base
        self.bits = bits + 128 - most
        guard base.cut(self.bits) == base else { return nil }
    }

    func contains(_ address: ClientAddress) -> Bool { address.cut(bits) == base }
}

extension ClientAddress {
    /// Its first bits, then zeros.
    fileprivate func cut(_ bits: Int) -> ClientAddress {
        func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? .max : ~(.max >> UInt64(bits)) }
        return ClientAddress(high: high & mask(bits), low: low & mask(bits - 64))
    }
}
