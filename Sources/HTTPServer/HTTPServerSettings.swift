/// Where the server listens and what it bounds. Checked by `HTTPServer.start`.
///
/// Worst-case memory is about `connectionsMax` × `connectionMemoryBytes` + `bodyMemoryMax` + `responseMemoryMax`, and
/// `connectionsMax` × `unreservedResponseBytesMax` for answers that nobody reserved for.
public struct HTTPServerSettings: Sendable {
    /// A numeric IPv4 or IPv6 address.
    public var address = "127.0.0.1"
    /// 0: the system chooses; `HTTPServer.port` tells.
    public var port: UInt16 = 0
    /// Event loops. Handlers run on them.
    public var threads = 2
    /// Open connections; more wait in the listen backlog until one closes.
    public var connectionsMax = 12_000
    /// Open connections from one address, or /64 of IPv6, which is no trusted proxy's; 0 is no limit.
    public var perAddressConnectionsMax = 0
    /// Requests a second of one client (its address, or /64 of IPv6), on the average; 0 is no limit. A load balancer in
    /// front that is not among `trustedProxies` is one client.
    public var perAddressRequestsPerSecond = 0
    /// Requests that a client may make at once after a rest; 0: as many as in a second.
    public var perAddressBurst = 0
    /// Requests of one client under way, parked ones included; 0 is no limit.
    public var perAddressRequestsMax = 0
    /// Addresses that the two limits remember; at least as many as `connectionsMax` are.
    public var addressesMax = 50_000
    /// Addresses and ranges (`10.0.0.0/8`) of proxies whose word on their clients' addresses is taken.
    public var trustedProxies: [String] = []
    /// Where those proxies write it.
    public var forwardingField = ForwardingField.xForwardedFor
    /// Requests parked at a time; nil is 80 % of `connectionsMax`. More are answered 503 `parked_limit`.
    public var parkedMax: Int?
    /// Connections that the kernel keeps until they are accepted (`listen(2)`; `net.core.somaxconn` bounds it too).
    public var listenBacklog: Int32 = 1024
    /// Memory of a connection for request line and headers, and for those of the response. A request that needs more
    /// gets 431 or 414. libmicrohttpd zeroes it one and a half times for each request, so more costs time too. A
    /// hundred short header fields need more than 8 KiB.
    public var connectionMemoryBytes = 16 << 10
    /// A connection on which nothing moves for so long is closed; whole seconds.
    public var idleTimeout = Duration.seconds(30)
    /// From the end of the idle time, or from the request line, to the end of the headers.
    public var headerTimeout = Duration.seconds(10)
    /// Bytes of a body a second, on the average from the request line on; looked at once `headerTimeout` has passed.
    public var bodyRateMin = 512
    /// From the request line to the last byte of the response. Longer than the longest wait of a parked request.
    public var requestTimeout = Duration.seconds(120)
    /// The largest body of any route.
    public var bodyBytesMax = 16 << 20
    /// Of a body that will be refused, so much is read so that its sender sees the refusal; then the connection closes.
    public var discardBytesMax = 32 << 20
    /// Bodies of all requests in flight together.
    public var bodyMemoryMax = 64 << 20
    /// Responses of all requests in flight together.
    public var responseMemoryMax = 64 << 20
    /// An answer up to this size is sent without a reservation even when `responseMemoryMax` is used up, because the
    /// promise it reports may have been made already.
    public var unreservedResponseBytesMax = 64 << 10
    /// How often deadlines are checked and parked clients looked after: their precision.
    public var sweepInterval = Duration.seconds(1)
    /// Whether answers of text are compressed for clients that accept gzip.
    public var gzip = true
    /// Which requests the log tells of; `HTTPServer.requestLog` changes it while the server runs.
    public var requestLog = RequestLogSettings()
    /// Sent with each response that the server or a handler makes.
    public var commonHeaders: [HTTPHeader] = []
    /// Origins whose web pages may call (CORS), as browsers write them: `https://app.example.com`. Or `any` alone.
    /// Empty: none but the server's own.
    public var corsOrigins: [String] = []
    /// Names that requests may have in `Host`, without port, besides those of loopback. `any` alone: every name. Empty:
    /// every name, unless the server listens on loopback.
    public var allowedHosts: [String] = []

    public init() {}

    /// Stands for every origin or host.
    public static let any = "*"
    /// Entries of `corsOrigins`, of `allowedHosts` and of `trustedProxies`.
    public static let namesMax = 100
    /// Of `perAddressRequestsPerSecond` and `perAddressBurst`.
    public static let rateMax = 1_000_000

    /// Whether only this machine reaches the server.
    public var listensOnLoopback: Bool {
        address == "::1" || address.hasPrefix("127.") && address.split(separator: ".").count == 4
    }

    /// Whether `corsOrigins` may be this.
    public static func areOrigins(_ texts: [String]) -> Bool { texts == [any] || texts.allSatisfy(HostName.isOrigin) }

    /// Whether `allowedHosts` may be this.
    public static func areHosts(_ texts: [String]) -> Bool { texts == [any] || texts.allSatisfy(HostName.isEntry) }

    /// Whether `trustedProxies` may be this.
    public static func areRanges(_ texts: [String]) -> Bool { texts.allSatisfy { AddressRange($0) != nil } }

    var addressTableLimits: AddressTable.Limits {
        AddressTable.Limits(
            requestsPerSecond: perAddressRequestsPerSecond,
            burst: max(1, perAddressBurst > 0 ? perAddressBurst : perAddressRequestsPerSecond),
            requestsMax: perAddressRequestsMax, addressesMax: max(addressesMax, connectionsMax))
    }

    var effectiveParkedMax: Int { parkedMax ?? connectionsMax * 4 / 5 }

    /// What is wrong, or nil.
    var fault: String? {
        let positive: [(String, Int)] = [
            ("threads", threads), ("connectionsMax", connectionsMax), ("listenBacklog", Int(listenBacklog)),
            ("bodyBytesMax", bodyBytesMax), ("bodyMemoryMax", bodyMemoryMax), ("responseMemoryMax", responseMemoryMax),
        ]
        if let bad = positive.first(where: { $0.1 < 1 }) { return "\(bad.0) must be at least 1" }
        let durations = [idleTimeout, headerTimeout, requestTimeout]
        if durations.contains(where: { $0 < .seconds(1) }) { return "timeouts must be at least one second" }
        if sweepInterval < .milliseconds(1) { return "sweepInterval must be at least a millisecond" }
        if threads > 64 { return "threads must be at most 64" }
        if connectionsMax < threads { return "connectionsMax must be at least threads" }
        if connectionMemoryBytes < 4096 { return "connectionMemoryBytes must be at least 4096" }
        if discardBytesMax < bodyBytesMax { return "discardBytesMax must be at least bodyBytesMax" }
        if bodyMemoryMax < bodyBytesMax { return "bodyMemoryMax must be at least bodyBytesMax" }
        if min(perAddressRequestsPerSecond, perAddressBurst, perAddressRequestsMax, addressesMax) < 0 {
            return "limits for each address must not be negative"
        }
        if max(perAddressRequestsPerSecond, perAddressBurst) > Self.rateMax { return "a rate is too large" }
        if !Self.areRanges(trustedProxies) { return "a trusted proxy is no address or range" }
        if perAddressConnectionsMax < 0 || bodyRateMin < 0 || effectiveParkedMax < 0 || unreservedResponseBytesMax < 0 {
            return "limits must not be negative"
        }
        if !Self.areOrigins(corsOrigins) || !Self.areHosts(allowedHosts) { return "an origin or host is malformed" }
        if max(corsOrigins.count, allowedHosts.count, trustedProxies.count) > Self.namesMax {
            return "too many origins, hosts or proxies"
        }
        if let bad = commonHeaders.first(where: { !$0.isSafe }) { return "common header \(bad.name) is not a header" }
        return nil
    }
}

/// Why a server did not start.
public enum HTTPServerError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A setting is out of its bounds.
    case invalidSettings(String)
    /// Not an address of this machine, or the port is taken: `detail` names the system call and its errno.
    case cannotListen(address: String, port: UInt16, detail: String)
    /// libmicrohttpd refused; its log line says more.
    case cannotStart

    public var description: String {
        switch self {
        case .invalidSettings(let detail): "invalid HTTP settings: \(detail)"
        case .cannotListen(let address, let port, let detail): "cannot listen on \(address) port \(port): \(detail)"
        case .cannotStart: "libmicrohttpd did not start"
        }
    }
}
