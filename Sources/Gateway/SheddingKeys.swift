import Forwarder
import HTTPServer

/// Settings of load shedding, and of the way to a stop.
extension Settings {
    static let sheddingKeys: [SettingKey] = [
        count(
            "http.requests_per_second_per_address", \.http.perAddressRequestsPerSecond, 0...HTTPServerSettings.rateMax,
            "Requests a second of one client address, on the average; more get 429. 0 is no limit."),
        count(
            "http.requests_burst_per_address", \.http.perAddressBurst, 0...HTTPServerSettings.rateMax,
            "Requests that a client address may make at once after a rest; 0: as many as in a second."),
        count(
            "http.requests_per_address_max", \.http.perAddressRequestsMax, 0...1_000_000,
            "Requests of one client address under way, waiting polls included; more get 429. 0 is no limit."),
        count(
            "http.addresses_max", \.http.addressesMax, 1...10_000_000,
            "Client addresses that those limits remember; at least http.connections_max are."),
        value(
            "http.trusted_proxies", \.http.trustedProxies,
            "Proxies whose word on their clients' addresses is taken, and whose connections are not limited.",
            "at most \(HTTPServerSettings.namesMax) addresses or ranges such as 10.0.0.0/8 with commas between them, "
                + "or none",
            parse: { text -> [String]? in
                if text == "none" { return [] }
                let items = text.split(separator: ",", omittingEmptySubsequences: false).map { String($0) }
                return items.count <= HTTPServerSettings.namesMax && HTTPServerSettings.areRanges(items) ? items : nil
            },
            show: { $0.isEmpty ? "none" : $0.joined(separator: ",") }),
        value(
            "http.forwarding_field", \.http.forwardingField,
            "The header field in which they say it; they have to write the other one, or take it out.",
            ForwardingField.allCases.map(\.rawValue).joined(separator: " or "),
            parse: { ForwardingField(rawValue: $0) }, show: { $0.rawValue }),
    ]

    static let drainKeys: [SettingKey] = [
        duration(
            "http.drain_delay", \.drainDelay, within: .zero ... .seconds(3600),
            "After SIGTERM: how long requests are served on while /readyz says 503."),
        duration(
            "forwarder.drain_timeout", \.forwarder.drainTimeout, within: .zero ... .seconds(3600),
            "How long a graceful stop hands over what the broker takes; 0s: not at all."),
    ]
}
