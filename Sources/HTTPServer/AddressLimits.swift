import CoreMetrics
import Primitives

/// What keeps one client from taking everybody's share: limits for each address, or /64 of IPv6. Any thread may call;
/// nothing blocks.
final class AddressLimits: Sendable {
    /// nil without trusted proxies.
    private let proxies: TrustedProxies?
    private let connectionsMax: Int
    /// Of addresses that have any; bounded by the connections.
    private let connections = Lock<[ClientAddress: Int]>([:])
    /// nil without a limit of requests.
    private let table: Lock<AddressTable>?
    private let policy: String
    private let clock: any TimeSource
    private let connectionsRefused = Limit.connectionsPerAddress.counter
    private let tooFast = Limit.requestRatePerAddress.counter
    private let tooMany = Limit.requestsPerAddress.counter
    /// Of the table's count that the metric has.
    private let told = Lock<UInt64>(0)

    init(_ settings: HTTPServerSettings, _ clock: any TimeSource) {
        self.clock = clock
        proxies =
            settings.trustedProxies.isEmpty ? nil : TrustedProxies(settings.trustedProxies, settings.forwardingField)
        connectionsMax = settings.perAddressConnectionsMax
        let limits = settings.addressTableLimits
        let isOn = limits.requestsPerSecond > 0 || limits.requestsMax > 0
        table = isOn ? Lock(AddressTable(limits)) : nil
        policy = Self.policy(limits)
    }

    // MARK: Connections

    /// - Returns: false when the address has as many as it may. Else `returnConnection` is to follow.
    func takeConnection(_ peer: ClientAddress?) -> Bool {
        guard let address = counted(peer) else { return true }
        let isTaken = connections.withLock { connections in
            let count = connections[address, default: 0]
            guard count < connectionsMax else { return false }
            connections[address] = count + 1
            return true
        }
        if !isTaken { connectionsRefused.increment() }
        return isTaken
    }

    func returnConnection(_ peer: ClientAddress?) {
        guard let address = counted(peer) else { return }
        connections.withLock { connections in
            let count = connections[address, default: 0] - 1
            connections[address] = count > 0 ? count : nil
        }
    }

    /// nil when its connections are not: those of a trusted proxy are everybody's.
    private func counted(_ peer: ClientAddress?) -> ClientAddress? {
        guard connectionsMax > 0, let peer, proxies?.contains(peer) != true else { return nil }
        return peer.network
    }

    // MARK: Requests

    /// Who sent the request that just came on this connection, as far as trusted proxies say so. Call on the
    /// connection's event loop, while libmicrohttpd keeps the request's headers.
    func client(of peer: ClientAddress, _ handle: OpaquePointer) -> ClientAddress {
        proxies?.client(of: peer, handle) ?? peer
    }

    /// Takes a request that just came.
    ///
    /// - Returns: nil without a limit; else `end` is to follow, whatever it says.
    func begin(_ client: ClientAddress?) -> AddressTable.Verdict? {
        guard let table, let client else { return nil }
        let now = clock.now()
        let (verdict, forgotten) = table.withLock { ($0.begin(client.network, now: now), $0.forgottenEarly) }
        note(forgotten)
        switch verdict {
        case .taken: break
        case .tooFast: tooFast.increment()
        case .tooMany: tooMany.increment()
        }
        return verdict
    }

    func end(_ verdict: AddressTable.Verdict) {
        if case .taken(let number, _) = verdict { table?.withLock { $0.end(number) } }
    }

    /// - Parameter route: of the request, when it has one.
    /// - Returns: nil when it was taken.
    static func problem(_ verdict: AddressTable.Verdict, of route: Route?) -> ServerProblem? {
        switch verdict {
        case .taken: nil
        case .tooFast(let rest):
            ServerProblem(
                .rateLimited, "more requests from one address than http.requests_per_second_per_address", of: route,
                retryAfterSeconds: rest.moreInSeconds)
        case .tooMany:
            ServerProblem(
                .tooManyRequests, "more requests of one address under way than http.requests_per_address_max",
                of: route)
        }
    }

    /// Seldom: a lock and a metric only when an address was forgotten too early.
    private func note(_ forgotten: UInt64) {
        guard forgotten > 0 else { return }
        let isNew = told.withLock { told in
            defer { told = max(told, forgotten) }
            return forgotten > told
        }
        if isNew { Limit.addresses.reached() }
    }

    // MARK: Header fields (draft-ietf-httpapi-ratelimit-headers-11; lists of RFC 9651)

    /// The effective window `t` ends with the next token: a client that has none may come then, as `Retry-After` says,
    /// which must not be earlier (section 6).
    func headers(_ verdict: AddressTable.Verdict) -> [HTTPHeader] {
        let rest = verdict.rest
        var items: [String] = []
        if let tokens = rest.tokens, let seconds = rest.moreInSeconds {
            items.append("\"rate\";r=\(tokens);t=\(seconds)")
        }
        if let places = rest.places { items.append("\"concurrency\";r=\(places)") }
        return [HTTPHeader("RateLimit-Policy", policy), HTTPHeader("RateLimit", items.joined(separator: ", "))]
    }

    /// A bucket of so many requests is full again after the window.
    private static func policy(_ limits: AddressTable.Limits) -> String {
        var items: [String] = []
        if limits.requestsPerSecond > 0 {
            let window = (limits.burst + limits.requestsPerSecond - 1) / limits.requestsPerSecond
            items.append("\"rate\";q=\(limits.burst);w=\(window)")
        }
        if limits.requestsMax > 0 { items.append("\"concurrency\";q=\(limits.requestsMax);qu=\"concurrent-requests\"") }
        return items.joined(separator: ", ")
    }
}
