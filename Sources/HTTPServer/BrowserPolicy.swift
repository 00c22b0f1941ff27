/// Which names the server goes by and which web pages may call it. Immutable; any thread may use it.
///
/// A page anywhere on the web can make its visitor's browser send requests to a server on that visitor's machine or
/// network, which nobody else reaches. Two checks keep such pages out; programs other than browsers notice neither.
///
/// - `Host`: a page whose own name was made to resolve to 127.0.0.1 (DNS rebinding) counts as the server's own origin
///   for the browser, but its requests still carry that name.
/// - Where the browser says that a request comes from a page of another origin (`Sec-Fetch-Site`, Fetch Metadata; for
///   browsers without it `Origin`, RFC 6454), that origin must be allowed. CORS alone would not do: it withholds the
///   response from the page, but a POST with a plain content type is sent without asking first.
struct BrowserPolicy: Sendable {
    /// How long a browser may remember the answer to a preflight request.
    static let preflightMaxAgeSeconds = 600
    /// Names in `Access-Control-Request-Headers` that are looked at, and the longest.
    static let requestHeadersMax = 32
    static let requestHeaderBytesMax = 128

    /// `Authorization` comes with authentication.
    private static let allowedRequestHeaders: Set<String> = ["content-type", "prefer", "idempotency-key"]
    private static let allowedRequestHeaderPrefix = "postrider-"

    private let allowsAnyOrigin: Bool
    private let origins: Set<String>
    private let hosts: Set<String>
    private let checksHost: Bool

    init(_ settings: HTTPServerSettings) {
        allowsAnyOrigin = settings.corsOrigins.contains(HTTPServerSettings.any)
        origins = Set(settings.corsOrigins.map { $0.lowercased() })
        hosts = Set(settings.allowedHosts.map { $0.lowercased() })
        checksHost =
            !settings.allowedHosts.contains(HTTPServerSettings.any)
            && (settings.listensOnLoopback || !settings.allowedHosts.isEmpty)
    }

    /// Why the server does not talk to who sent this, or nil.
    ///
    /// - Parameters:
    ///   - authority: of a target in absolute form; it stands for `Host` then (RFC 9112, section 3.2.2).
    ///   - isReading: GET or HEAD.
    func refusal(of sender: RequestSender, authority: UnsafeRawBufferPointer?, isReading: Bool) -> ServerProblem? {
        let host = authority ?? sender.host
        if checksHost, let host, !isOwn(host) {
            return ServerProblem(
                .hostNotAllowed, "the server is not known by the name in Host; http.allowed_hosts names others")
        }
        if isForeign(sender, host: host, isReading: isReading) {
            return ServerProblem(
                .originNotAllowed, "the request comes from a web page of an origin that http.cors_origins does not name"
            )
        }
        return nil
    }

    /// Names of loopback always count: they lead nowhere else. A request without `Host` (HTTP/1.0) is no browser's.
    private func isOwn(_ field: UnsafeRawBufferPointer) -> Bool {
        guard let host = HostName(field) else { return false }
        return host.isLoopback || !hosts.isEmpty && hosts.contains(host.text)
    }

    private func isForeign(_ sender: RequestSender, host: UnsafeRawBufferPointer?, isReading: Bool) -> Bool {
        guard sender.origin != nil || sender.site != nil, !allowsAnyOrigin else { return false }
        if let origin = sender.origin, allows(origin) { return false }
        guard let site = sender.site else {
            return sender.origin.map { !Self.isOrigin($0, of: host) } ?? false
        }
        if HeaderField.equals(site, "same-origin") || HeaderField.equals(site, "none") { return false }
        // Somebody follows a link: the page that has it does not see the answer.
        return !(isReading && sender.navigates && sender.origin == nil)
    }

    /// The scheme does not count: a proxy in front may end TLS.
    private static func isOrigin(_ origin: UnsafeRawBufferPointer, of host: UnsafeRawBufferPointer?) -> Bool {
        guard let host else { return false }
        for scheme in ["http://", "https://"] as [StaticString] where HeaderField.begins(origin, with: scheme) {
            return HeaderField.equals(UnsafeRawBufferPointer(rebasing: origin[scheme.utf8CodeUnitCount...]), host)
        }
        return false
    }

    private func allows(_ origin: UnsafeRawBufferPointer) -> Bool {
        !origins.isEmpty && origins.contains(String(decoding: origin, as: UTF8.self).lowercased())
    }

    // MARK: - CORS (Fetch Standard, section 3.2)

    /// The origin to name in the response; nil for a request that is not a page's, or with CORS off.
    func corsOrigin(of sender: RequestSender) -> String? {
        guard let origin = sender.origin, allowsAnyOrigin || allows(origin) else { return nil }
        return allowsAnyOrigin ? HTTPServerSettings.any : String(decoding: origin, as: UTF8.self)
    }

    /// What each response needs. Credentials are never allowed, so `*` may stand for all headers of the response.
    func headers(corsOrigin: String?) -> [HTTPHeader] {
        if origins.isEmpty { return [] }
        var headers: [HTTPHeader] = []
        if !allowsAnyOrigin { headers.append(HTTPHeader("Vary", "Origin")) }
        if let corsOrigin {
            headers.append(HTTPHeader("Access-Control-Allow-Origin", corsOrigin))
            headers.append(HTTPHeader("Access-Control-Expose-Headers", "*"))
        }
        return headers
    }

    /// What the answer to a preflight request has in addition.
    static func preflightHeaders(allow: String, requestHeaders: String?) -> [HTTPHeader] {
        var headers = [
            HTTPHeader("Access-Control-Allow-Methods", allow),
            HTTPHeader("Access-Control-Max-Age", String(preflightMaxAgeSeconds)),
        ]
        let allowed = (requestHeaders ?? "").lowercased().split(separator: ",").prefix(requestHeadersMax)
            .map { $0.drop { $0 == " " }.prefix { $0 != " " } }
            .filter { name in
                name.utf8.count <= requestHeaderBytesMax && HTTPHeader.isToken(String(name))
                    && (allowedRequestHeaders.contains(String(name)) || name.hasPrefix(allowedRequestHeaderPrefix))
            }
        if !allowed.isEmpty {
            headers.append(HTTPHeader("Access-Control-Allow-Headers", allowed.joined(separator: ", ")))
        }
        return headers
    }
}

/// What a request's head says about where it comes from: bytes of libmicrohttpd's, valid while it is read.
struct RequestSender {
    var host: UnsafeRawBufferPointer?
    var origin: UnsafeRawBufferPointer?
    /// `Sec-Fetch-Site`: how the page's origin relates to the server's.
    var site: UnsafeRawBufferPointer?
    /// `Sec-Fetch-Mode: navigate`.
    var navigates = false
}
