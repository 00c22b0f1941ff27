/// The methods that routes can have.
public enum HTTPMethod: String, Sendable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
    case delete = "DELETE"
}

/// Runs on one of the server's event loops: it must not block. It answers through the responder, now or later.
public typealias HTTPHandler = @Sendable (HTTPRequest, Responder) -> Void

/// One row of the table a router is built from.
public struct Route: Sendable {
    /// `head` is not for routes: each GET route serves HEAD, without the body.
    public let method: HTTPMethod
    /// Segments are literal or a whole `{name}`, for example `/v1/topics/{topic}/records`. A literal wins over a name.
    public let pattern: String
    /// The largest body this route takes; the server's `bodyBytesMax` bounds it too.
    public let bodyBytesMax: Int
    /// Whether its requests count against the limits for each address. Not for what watches over the server.
    public let isLimited: Bool
    let handler: HTTPHandler

    public init(
        _ method: HTTPMethod, _ pattern: String, bodyBytesMax: Int = 0, isLimited: Bool = true,
        handler: @escaping HTTPHandler
    ) {
        self.method = method
        self.pattern = pattern
        self.bodyBytesMax = bodyBytesMax
        self.isLimited = isLimited
        self.handler = handler
    }
}

/// A table that no server can serve: the programmer's mistake, found when the router is built.
public struct RouteTableError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
}
