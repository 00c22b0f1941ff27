import Testing

@testable import HTTPServer

/// Which address a request counts for.
@Suite struct TrustedProxiesTests {
    private static let trusted = ["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48", "127.0.0.1"]

    private func client(_ field: ForwardingField, _ peer: String, _ fields: [String]) throws -> ClientAddress {
        let proxies = try #require(TrustedProxies(Self.trusted, field))
        return proxies.client(of: try #require(ClientAddress(peer)), fields: fields)
    }

    @Test(arguments: [
        // Nobody is believed who is not trusted, nor what stands before him.
        ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),
        ("10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["1.1.1.1, 203.0.113.9, 10.9.9.9,192.0.2.7"], "203.0.113.9"),
        // Several fields are one list.
        ("10.1.2.3", ["1.1.1.1", "203.0.113.9", "10.9.9.9"], "203.0.113.9"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["", " ,, "], "10.1.2.3"),
        ("10.1.2.3", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        // Ports and brackets, as some write them.
        ("10.1.2.3", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.1.2.3", ["2001:db8:2::1"], "2001:db8:2::1"),
        ("10.1.2.3", ["[2001:db8:2::1]:4711"], "2001:db8:2::1"),
        ("2001:db8:1::5", ["2001:db8:2::1"], "2001:db8:2::1"),
        ("::ffff:10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        // What is no address ends it at whoever said so.
        ("10.1.2.3", ["203.0.113.9, unknown"], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.9, unknown, 10.4.4.4"], "10.4.4.4"),
        ("10.1.2.3", ["203.0.113.9, 1.2.3.4.5"], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.9, 1.2.3.4:99999"], "10.1.2.3"),
    ])
    func client_IsTheNearestUntrusted_InXForwardedFor(_ peer: String, _ fields: [String], _ expected: String) throws {
        #expect(try client(.xForwardedFor, peer, fields) == ClientAddress(expected), "\(fields)")
    }

    @Test(arguments: [
        ("10.1.2.3", ["for=203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["For=\"203.0.113.9:80\";proto=http;by=10.1.2.3"], "203.0.113.9"),
        ("10.1.2.3", ["proto=https; for=\"[2001:db8:2::1]:4711\" , for=10.7.7.7"], "2001:db8:2::1"),
        ("10.1.2.3", ["for=1.1.1.1", "for=203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["for=203.0.113.9, for=_hidden"], "10.1.2.3"),
        ("10.1.2.3", ["for=203.0.113.9, proto=http"], "10.1.2.3"),
        // A client's quotation mark does not hide what the proxy wrote: the field is believed as a whole or not at all.
        ("10.1.2.3", ["for=\"1.1.1.1", "for=203.0.113.9"], "10.1.2.3"),
        ("10.1.2.3", ["for=\"1.1.1.1", "for=\"[2001:db8:2::1]\""], "10.1.2.3"),
        ("10.1.2.3", ["for=\"a\\", "for=203.0.113.9"], "10.1.2.3"),
        ("10.1.2.3", ["for=1.1.1.1;for=203.0.113.9"], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.9"], "10.1.2.3"),
        ("10.1.2.3", ["for=203.0.113.9;"], "10.1.2.3"),
    ])
    func client_IsTheNearestUntrusted_InForwarded(_ peer: String, _ fields: [String], _ expected: String) throws {
        #expect(try client(.forwarded, peer, fields) == ClientAddress(expected), "\(fields)")
    }

    @Test func hops_AreLookedThrough_UpToALimit() throws {
        let proxies = TrustedProxies.hopsMax
        let far = ["203.0.113.9"] + (0..<proxies).map { "10.0.0.\($0)" }
        #expect(try client(.xForwardedFor, "10.1.2.3", [far.joined(separator: ",")]) == ClientAddress("10.0.0.0"))
        let near = far.dropLast().joined(separator: ",")
        #expect(try client(.xForwardedFor, "10.1.2.3", [near]) == ClientAddress("203.0.113.9"))
    }

    @Test func ranges_AreUnderstood_OrRefused() throws {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1", "192.0.2.1/32", "::/0", "2001:db8::/32", "::1"] {
            #expect(AddressRange(text) != nil, "\(text)")
        }
        for text in [
            "", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0/8", "localhost", "::1/129", "/8",
        ] {
            #expect(AddressRange(text) == nil, "\(text)")
        }
        let all = try #require(AddressRange("0.0.0.0/0"))
        #expect(all.contains(try #require(ClientAddress("203.0.113.9"))))
        #expect(!all.contains(try #require(ClientAddress("2001:db8::1"))))
    }

    @Test(arguments: [
        ("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"), ("::1", "::1"), ("::", "::"),
        ("2001:DB8:0:0:1::ff", "2001:db8::1:0:0:ff"), ("0.0.0.0", "0.0.0.0"),
    ])
    func text_IsAsPeopleWriteIt(_ written: String, _ expected: String) throws {
        #expect(try #require(ClientAddress(written)).text == expected)
    }

    @Test func network_IsTheAddress_OrThe64BitsOfIPv6() throws {
        #expect(ClientAddress("203.0.113.9")?.network == ClientAddress("203.0.113.9"))
        #expect(ClientAddress("::ffff:203.0.113.9") == ClientAddress("203.0.113.9"))
        #expect(ClientAddress("2001:db8:1:2:3:4:5:6")?.network == ClientAddress("2001:db8:1:2::"))
    }
}
