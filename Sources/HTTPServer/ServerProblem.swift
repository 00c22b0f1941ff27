/// What the server itself refuses, before or instead of a handler. The closure given at start makes the response of
/// it; `Allow` and `Retry-After` are added where it leaves them out.
public struct ServerProblem: Error, Hashable, Sendable {
    /// Stable, snake_case.
    public enum Code: String, Sendable, CaseIterable {
        /// The message's framing or a header breaks RFC 9112; the connection closes.
        case malformedRequest = "malformed_request"
        /// The path breaks RFC 3986, or has an escape that proxies read differently (`%2F`, `%00`, dot segments).
        case malformedPath = "malformed_path"
        /// The name in `Host` is not one of the server's: DNS rebinding, or a proxy whose name it does not know.
        case hostNotAllowed = "host_not_allowed"
        /// A browser sends it for a page of an origin that is not allowed.
        case originNotAllowed = "origin_not_allowed"
        case notFound = "not_found"
        case methodNotAllowed = "method_not_allowed"
        /// The request did not arrive within its time.
        case requestTimeout = "request_timeout"
        case bodyTooLarge = "body_too_large"
        /// The client makes more requests a second than one may.
        case rateLimited = "rate_limited"
        /// As many requests of the client are under way as may be.
        case tooManyRequests = "too_many_requests"
        /// No memory for the body or the response within the process-wide bounds.
        case overloaded
        /// As many requests are parked as may be.
        case parkedLimit = "parked_limit"
        /// The server is going away.
        case stopping
        /// The handler did not answer within the request's time. What it was asked may still happen.
        case deadlineExceeded = "deadline_exceeded"
    }

    public let code: Code
    /// For people; no secrets, and not stable.
    public let detail: String
    /// The pattern of the route, when one matched.
    public let route: String?
    /// Of that route's request; nil without a route.
    public let method: HTTPMethod?
    /// The handler saw the request: it may have done what it was asked.
    public let reachedHandler: Bool
    /// Methods for `Allow`, with `methodNotAllowed`.
    public let allow: String?
    /// Seconds for `Retry-After`; nil where repeating does not help.
    public let retryAfterSeconds: Int?

    /// - Parameter retryAfterSeconds: where it is not the code's.
    init(
        _ code: Code, _ detail: String, of matched: Route? = nil, reachedHandler: Bool = false, allow: String? = nil,
        retryAfterSeconds: Int? = nil
    ) {
        self.code = code
        self.detail = detail
        route = matched?.pattern
        method = matched?.method
        self.reachedHandler = reachedHandler
        self.allow = allow
        self.retryAfterSeconds = retryAfterSeconds ?? code.retryAfterSeconds
    }

    public var status: Int {
        switch code {
        case .malformedRequest, .malformedPath: 400
        case .originNotAllowed: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .requestTimeout: 408
        case .bodyTooLarge: 413
        case .hostNotAllowed: 421
        case .rateLimited, .tooManyRequests: 429
        case .overloaded, .parkedLimit, .stopping, .deadlineExceeded: 503
        }
    }

    /// The request's bytes cannot be told from the next request's: nothing more is read from the connection.
    var mustClose: Bool { code == .malformedRequest || code == .stopping }

    static func ending(reachedHandler: Bool) -> ServerProblem {
        ServerProblem(.stopping, "the server is stopping", reachedHandler: reachedHandler)
    }

    /// `response` with the headers that the status needs.
    func completing(_ response: HTTPResponse) -> HTTPResponse {
        var response = response
        response.code = code.rawValue
        if let allow, !response.hasHeader("Allow") { response.headers.append(HTTPHeader("Allow", allow)) }
        if let seconds = retryAfterSeconds, !response.hasHeader("Retry-After") {
            response.headers.append(HTTPHeader("Retry-After", String(seconds)))
        }
        return response
    }
}

extension ServerProblem.Code {
    /// Where nothing better is known.
    fileprivate var retryAfterSeconds: Int? {
        switch self {
        case .overloaded, .parkedLimit, .rateLimited, .stopping, .tooManyRequests: 1
        case .deadlineExceeded: 5
        case .bodyTooLarge, .hostNotAllowed, .malformedPath, .malformedRequest, .methodNotAllowed, .notFound,
            .originNotAllowed, .requestTimeout:
            nil
        }
    }
}
