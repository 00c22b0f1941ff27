/// Where a gateway is, and how it is reached.
public struct Endpoint: Sendable, Equatable {
    /// Why a URL is none of a gateway.
    public struct Malformed: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// As for `postrider serve`.
    public static let defaultURL = "http://127.0.0.1:8080"

    /// Scheme, host and port, and perhaps a path that everything goes below; without a slash at its end.
    public let url: String
    /// Connects to this socket instead of the URL's host and port.
    public var unixSocket: String?
    /// Certificates (PEM) that vouch for an `https` server instead of the system's.
    public var certificates: String?
    /// Until the connection stands.
    public var connectTimeout = Duration.seconds(5)
    /// Until the whole answer is there, beyond what a request itself asks the gateway to wait. Longer than a gateway
    /// waits for its disk (`spool.sync_timeout`, 30 s): giving up earlier costs a repetition.
    public var answerTimeout = Duration.seconds(40)

    /// - Throws: what is wrong with the URL.
    public init(_ url: String) throws(Malformed) {
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
            throw Malformed(description: "\(url): a URL that begins with http:// or https:// is expected")
        }
        let isPlain = url.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        guard isPlain, !url.contains("?"), !url.contains("#"), !url.contains("@") else {
            throw Malformed(description: "\(url): scheme, host, port and path are expected, nothing else")
        }
        var url = url
        while url.hasSuffix("/") { url.removeLast() }
        guard !url.hasSuffix(":") else { throw Malformed(description: "there is no host in the URL") }
        self.url = url
    }
}
