import CMicrohttpd
import Glibc
public import Primitives

/// A complete request. Headers, query and address are looked up in libmicrohttpd's memory when asked for: until the
/// request is answered they are there, afterwards they are nil or empty. Any thread may use it.
public struct HTTPRequest: Sendable {
    private let connection: Connection
    private let generation: UInt64
    private let number: UInt64
    private let routeIndex: Int
    private let captures: [String]

    /// `head` is served by GET routes.
    public let method: HTTPMethod
    /// At most the route's `bodyBytesMax`. Its memory is not copied; it counts against `bodyMemoryMax` until the
    /// response is sent, or `Responder.releaseBody`.
    public let body: ByteSlice
    /// The trace that it belongs to, as its client says; nil without a valid `traceparent`.
    public let trace: TraceContext?

    init(
        connection: Connection, generation: UInt64, number: UInt64, method: HTTPMethod, routeIndex: Int,
        captures: [String], trace: TraceContext?, body: ByteSlice
    ) {
        self.connection = connection
        self.generation = generation
        self.number = number
        self.method = method
        self.routeIndex = routeIndex
        self.captures = captures
        self.trace = trace
        self.body = body
    }

    /// What `Postrider-Request-Id` will say.
    public var id: String { requestID.text }

    var requestID: RequestID { RequestID(prefix: connection.core.requestPrefix, number: number) }

    /// The pattern of the route that matched.
    public var route: String { connection.core.router.routes[routeIndex].pattern }

    /// The decoded segment that stands for `{name}` in the route's pattern. - Precondition: the pattern has it.
    public func capture(_ name: String) -> String {
        guard let index = connection.core.router.captureNames(routeIndex).firstIndex(of: name) else {
            preconditionFailure("\(route) has no {\(name)}")
        }
        return captures[index]
    }

    // MARK: Headers

    /// The first field of that name (without regard to case). Bytes that are not UTF-8 become U+FFFD.
    public func header(_ name: String) -> String? {
        connection.reading(generation) { headerText(of: $0, name) } ?? nil
    }

    /// Shows every field to `body`, in order and without a copy: for whoever asks about more than one. Nothing is shown
    /// once the request is answered.
    ///
    /// - Parameter body: runs with the request locked, so it must not use the request or its responder.
    public func visitHeaders(_ body: (HeaderField) -> Void) {
        withoutActuallyEscaping(body) { body in
            _ = connection.reading(generation) { handle in
                withUnsafePointer(to: HeaderVisitor(body: body)) { visitor in
                    MHD_get_connection_values_n(
                        handle, postrider_mhd_header_kind, HeaderVisitor.show,
                        UnsafeMutableRawPointer(mutating: visitor))
                }
            }
        }
    }

    /// (As a value of its own, a closure is wrapped once more for each call.)
    private struct HeaderVisitor {
        let body: (HeaderField) -> Void

        static let show: MHD_KeyValueIteratorN = { context, _, name, nameBytes, value, valueBytes in
            context?.assumingMemoryBound(to: HeaderVisitor.self).pointee.body(
                HeaderField(
                    name: UnsafeRawBufferPointer(start: name, count: nameBytes),
                    value: UnsafeRawBufferPointer(start: value, count: valueBytes)))
            return postrider_mhd_yes
        }
    }

    /// Every field of that name, in order: for headers that must come once.
    public func headers(named name: String) -> [String] {
        let wanted = name.lowercased()
        var found: [String] = []
        visitHeaders { if $0.lowercasedName == wanted { found.append($0.text) } }
        return found
    }

    /// Fields whose name begins with `prefix` (without regard to case), in order, with names in lower case and values
    /// byte for byte.
    public func headers(withPrefix prefix: String) -> [(name: String, value: [UInt8])] {
        let prefix = prefix.lowercased()
        var found: [(name: String, value: [UInt8])] = []
        visitHeaders { field in
            let name = field.lowercasedName
            if name.hasPrefix(prefix) { found.append((name, field.value)) }
        }
        return found
    }

    // MARK: Query

    /// One `name=value` of the query; the value is nil without an equals sign.
    public struct QueryItem: Hashable, Sendable {
        public let name: String
        public let value: String?
    }

    /// A query that cannot be read one way only.
    public enum QueryError: Error, Hashable, Sendable {
        /// A bad escape, a NUL, or bytes that are not UTF-8.
        case malformed
        case duplicate(String)
    }

    /// All items in order, decoded strictly; `+` is a space, as in HTML forms.
    public func queryItems() throws(QueryError) -> [QueryItem] {
        var items: [QueryItem] = []
        for (name, value) in arguments() {
            guard let name = name.withUnsafeBufferPointer(PercentDecoding.queryText) else { throw .malformed }
            guard let value else {
                items.append(QueryItem(name: name, value: nil))
                continue
            }
            guard let text = value.withUnsafeBufferPointer(PercentDecoding.queryText) else { throw .malformed }
            items.append(QueryItem(name: name, value: text))
        }
        return items
    }

    /// The value of the one item with that name (case counts); an item without an equals sign counts as empty; nil
    /// when there is none.
    public func queryValue(_ name: String) throws(QueryError) -> String? {
        var found: String?
        for item in try queryItems() where item.name == name {
            if found != nil { throw .duplicate(name) }
            found = item.value ?? ""
        }
        return found
    }

    /// Names and values of the query, not decoded.
    private func arguments() -> [(name: [UInt8], value: [UInt8]?)] {
        var arguments: [(name: [UInt8], value: [UInt8]?)] = []
        _ = connection.reading(generation) { handle in
            withUnsafeMutablePointer(to: &arguments) { arguments in
                _ = MHD_get_connection_values_n(
                    handle, postrider_mhd_argument_kind,
                    { context, _, name, nameBytes, value, valueBytes in
                        let name = Array(UnsafeRawBufferPointer(start: name, count: nameBytes))
                        let value = value.map { Array(UnsafeRawBufferPointer(start: $0, count: valueBytes)) }
                        context?.assumingMemoryBound(to: [(name: [UInt8], value: [UInt8]?)].self).pointee
                            .append((name, value))
                        return postrider_mhd_yes
                    }, arguments)
            }
        }
        return arguments
    }

    // MARK: Peer

    /// The numeric address of the other end of the connection (a proxy's, when there is one); empty when unknown.
    public var remoteAddress: String {
        connection.reading(generation) { _ in connection.peer?.text ?? "" } ?? ""
    }
}

/// The first field of that name (without regard to case); while libmicrohttpd keeps the request's headers.
func headerText(of handle: OpaquePointer, _ name: String) -> String? {
    var name = name
    return name.withUTF8 { name in
        name.withMemoryRebound(to: CChar.self) { name in
            var value: UnsafePointer<CChar>?
            var count = 0
            guard
                MHD_lookup_connection_value_n(
                    handle, postrider_mhd_header_kind, name.baseAddress, name.count, &value, &count)
                    == postrider_mhd_yes
            else { return nil }
            return String(decoding: UnsafeRawBufferPointer(start: value, count: count), as: UTF8.self)
        }
    }
}
