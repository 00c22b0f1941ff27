import Glibc

/// Finds the route of a request. Immutable; any thread may use it. (A class, so that no request copies the table.)
public final class Router: Sendable {
    /// Segments of a path; longer ones match nothing.
    static let segmentsMax = 16

    /// As given, for tests that hold a contract against the table.
    public let routes: [Route]
    private let names: [[String]]
    private let limits: [Int]
    private let areLimited: [Bool]
    private let handlers: [HTTPHandler]
    /// A trie of segments; the root is the first. Nodes name each other by index, so that matching copies none.
    private let nodes: [Node]

    private struct Node: Sendable {
        var literals: [(name: [UInt8], node: Int)] = []
        /// The node behind a `{name}`.
        var captured: Int?
        var methods: [(method: HTTPMethod, route: Int)] = []
    }

    /// - Throws: `RouteTableError` for a malformed pattern, a HEAD route, or two routes for the same requests.
    public init(_ routes: [Route]) throws(RouteTableError) {
        self.routes = routes
        var nodes = [Node()]
        var names: [[String]] = []
        for (index, route) in routes.enumerated() {
            let segments = try Self.segments(of: route)
            try Self.insert(route, index, segments, into: &nodes)
            let captures = segments.compactMap(\.captured)
            guard Set(captures).count == captures.count else {
                throw RouteTableError(description: "\(route.pattern): a name appears twice")
            }
            names.append(captures)
        }
        self.nodes = nodes
        self.names = names
        limits = routes.map(\.bodyBytesMax)
        areLimited = routes.map(\.isLimited)
        handlers = routes.map(\.handler)
    }

    private struct Segment {
        var literal: String?
        var captured: String?
    }

    private static func segments(of route: Route) throws(RouteTableError) -> [Segment] {
        guard route.method != .head else {
            throw RouteTableError(description: "\(route.pattern): HEAD is served by the GET route")
        }
        guard route.pattern.first == "/" else {
            throw RouteTableError(description: "\(route.pattern): a pattern begins with a slash")
        }
        let parts = route.pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= segmentsMax else {
            throw RouteTableError(description: "\(route.pattern): more than \(segmentsMax) segments")
        }
        var segments: [Segment] = []
        for part in parts {
            if part.first == "{", part.last == "}", part.count > 2 {
                segments.append(Segment(captured: String(part.dropFirst().dropLast())))
            } else if part.contains("{") || part.contains("}") || part.contains("%") {
                throw RouteTableError(description: "\(route.pattern): a segment is a literal or a whole {name}")
            } else {
                segments.append(Segment(literal: String(part)))
            }
        }
        return segments
    }

    private static func insert(
        _ route: Route, _ index: Int, _ segments: [Segment], into nodes: inout [Node]
    ) throws(RouteTableError) {
        var at = 0
        for segment in segments {
            let next: Int
            if let literal = segment.literal.map({ Array($0.utf8) }) {
                next = nodes[at].literals.first { $0.name == literal }?.node ?? nodes.count
                if next == nodes.count { nodes[at].literals.append((literal, next)) }
            } else {
                next = nodes[at].captured ?? nodes.count
                nodes[at].captured = next
            }
            if next == nodes.count { nodes.append(Node()) }
            at = next
        }
        guard !nodes[at].methods.contains(where: { $0.method == route.method }) else {
            throw RouteTableError(description: "\(route.method.rawValue) \(route.pattern): there already")
        }
        nodes[at].methods.append((route.method, index))
    }

    struct Match {
        var route: Int
        /// Decoded, in the order of the pattern's names.
        var captures: [String]
    }

    /// - Parameter path: as on the wire, without the query.
    /// - Parameter method: nil for one that no route can have.
    func match(_ path: UnsafeBufferPointer<UInt8>, _ method: HTTPMethod?) throws(ServerProblem) -> Match {
        var captures: [String] = []
        let node = try node(path, &captures)
        let wanted = method == .head ? .get : method
        for found in nodes[node].methods where found.method == wanted {
            return Match(route: found.route, captures: captures)
        }
        throw ServerProblem(.methodNotAllowed, "the resource has other methods", allow: Self.allow(nodes[node]))
    }

    /// The methods of a path, for `Allow`.
    func allow(_ path: UnsafeBufferPointer<UInt8>) throws(ServerProblem) -> String {
        var captures: [String] = []
        return Self.allow(nodes[try node(path, &captures)])
    }

    /// For `Allow` in the answer to `OPTIONS *`.
    static let everyMethod = HTTPMethod.allCases.map(\.rawValue).sorted().joined(separator: ", ")

    private func node(
        _ path: UnsafeBufferPointer<UInt8>, _ captures: inout [String]
    ) throws(ServerProblem) -> Int {
        guard path.first == UInt8(ascii: "/") else {
            throw ServerProblem(.malformedPath, "the path does not begin with a slash")
        }
        guard let node = try find(in: 0, path, from: 1, depth: 0, &captures) else {
            throw ServerProblem(.notFound, "no such resource")
        }
        return node
    }

    // Of their own, so that the common path does not copy a whole route.
    func bodyBytesMax(_ route: Int) -> Int { limits[route] }
    func isLimited(_ route: Int) -> Bool { areLimited[route] }
    func handler(_ route: Int) -> HTTPHandler { handlers[route] }

    /// The names that belong to a match's captures.
    func captureNames(_ route: Int) -> [String] { names[route] }

    /// Literals first; where they lead nowhere, the captured branch. Each branch is visited at most once a depth, and
    /// depth is bounded by the table.
    private func find(
        in node: Int, _ path: UnsafeBufferPointer<UInt8>, from start: Int, depth: Int, _ captures: inout [String]
    ) throws(ServerProblem) -> Int? {
        guard depth < Self.segmentsMax else { return nil }
        var end = start
        var plain = true
        while end < path.count, path[end] != UInt8(ascii: "/") {
            if path[end] == UInt8(ascii: "%") { plain = false }
            end += 1
        }
        let raw = UnsafeBufferPointer(rebasing: path[start..<end])
        // An escape may stand for an ordinary letter of a literal; without one the bytes are compared as they are.
        let decoded = plain ? nil : Array(try PercentDecoding.segment(raw).utf8)
        let isLast = end == path.count
        let count = captures.count
        for index in nodes[node].literals.indices {
            let matches = decoded.map { $0 == nodes[node].literals[index].name }
            guard matches ?? Self.equals(raw, nodes[node].literals[index].name) else { continue }
            let next = nodes[node].literals[index].node
            if isLast {
                if nodes[next].methods.isEmpty { break }
                return next
            }
            if let found = try find(in: next, path, from: end + 1, depth: depth + 1, &captures) { return found }
            captures.removeSubrange(count...)
        }
        guard let next = nodes[node].captured, !raw.isEmpty else { return nil }
        captures.append(try PercentDecoding.segment(raw))
        if isLast { return nodes[next].methods.isEmpty ? nil : next }
        return try find(in: next, path, from: end + 1, depth: depth + 1, &captures)
    }

    private static func equals(_ raw: UnsafeBufferPointer<UInt8>, _ name: [UInt8]) -> Bool {
        guard raw.count == name.count else { return false }
        return name.withUnsafeBufferPointer { name in
            guard let one = raw.baseAddress, let other = name.baseAddress else { return true }
            return memcmp(one, other, raw.count) == 0
        }
    }

    private static func allow(_ node: Node) -> String {
        var names = node.methods.map(\.method.rawValue)
        if names.contains(HTTPMethod.get.rawValue) { names.append(HTTPMethod.head.rawValue) }
        return names.sorted().joined(separator: ", ")
    }
}
