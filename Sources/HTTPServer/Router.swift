/// Finds the route of a request. Immutable; any thread may use it.
public struct Router: Sendable {
    /// Segments of a path; longer ones match nothing.
    static let segmentsMax = 16

    /// As given, for tests that hold a contract against the table.
    public let routes: [Route]
    private let names: [[String]]
    private let root: Node

    /// A trie of segments. Value semantics while it is built, never changed after.
    private struct Node: Sendable {
        var literals: [(name: String, node: Node)] = []
        /// At most one: the node behind a `{name}`.
        var captured: [Node] = []
        var methods: [(method: HTTPMethod, route: Int)] = []
    }

    /// - Throws: `RouteTableError` for a malformed pattern, a HEAD route, or two routes for the same requests.
    public init(_ routes: [Route]) throws(RouteTableError) {
        self.routes = routes
        var root = Node()
        var names: [[String]] = []
        for (index, route) in routes.enumerated() {
            let segments = try Self.segments(of: route)
            try Self.insert(route, index, segments[...], into: &root)
            let captures = segments.compactMap(\.captured)
            guard Set(captures).count == captures.count else {
                throw RouteTableError(description: "\(route.pattern): a name appears twice")
            }
            names.append(captures)
        }
        self.root = root
        self.names = names
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
        _ route: Route, _ index: Int, _ rest: ArraySlice<Segment>, into node: inout Node
    ) throws(RouteTableError) {
        guard let segment = rest.first else {
            guard !node.methods.contains(where: { $0.method == route.method }) else {
                throw RouteTableError(description: "\(route.method.rawValue) \(route.pattern): there already")
            }
            node.methods.append((route.method, index))
            return
        }
        if let literal = segment.literal {
            let at: Int
            if let found = node.literals.firstIndex(where: { $0.name == literal }) {
                at = found
            } else {
                at = node.literals.count
                node.literals.append((literal, Node()))
            }
            try insert(route, index, rest.dropFirst(), into: &node.literals[at].node)
        } else {
            if node.captured.isEmpty { node.captured.append(Node()) }
            try insert(route, index, rest.dropFirst(), into: &node.captured[0])
        }
    }

    struct Match {
        var route: Int
        /// Decoded, in the order of the pattern's names.
        var captures: [String]
    }

    /// - Parameter path: as on the wire, without the query.
    /// - Parameter method: nil for one that no route can have.
    func match(_ path: UnsafeBufferPointer<UInt8>, _ method: HTTPMethod?) throws(ServerProblem) -> Match {
        guard path.first == UInt8(ascii: "/") else {
            throw ServerProblem(.malformedPath, "the path does not begin with a slash")
        }
        var captures: [String] = []
        guard let node = try find(in: root, path, from: 1, depth: 0, &captures) else {
            throw ServerProblem(.notFound, "no such resource")
        }
        let wanted = method == .head ? .get : method
        guard let found = node.methods.first(where: { $0.method == wanted }) else {
            throw ServerProblem(.methodNotAllowed, "the resource has other methods", allow: Self.allow(node))
        }
        return Match(route: found.route, captures: captures)
    }

    /// The names that belong to a match's captures.
    func captureNames(_ route: Int) -> [String] { names[route] }

    /// Literals first; where they lead nowhere, the captured branch. Each branch is visited at most once a depth, and
    /// depth is bounded by the table.
    private func find(
        in node: borrowing Node, _ path: UnsafeBufferPointer<UInt8>, from start: Int, depth: Int,
        _ captures: inout [String]
    ) throws(ServerProblem) -> Node? {
        guard depth < Self.segmentsMax else { return nil }
        var end = start
        while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
        let raw = UnsafeBufferPointer(rebasing: path[start..<end])
        let text = try PercentDecoding.segment(raw)
        let isLast = end == path.count
        let count = captures.count
        for literal in node.literals where literal.name == text {
            if isLast {
                if literal.node.methods.isEmpty { break }
                return literal.node
            }
            if let found = try find(in: literal.node, path, from: end + 1, depth: depth + 1, &captures) {
                return found
            }
            captures.removeSubrange(count...)
        }
        guard let captured = node.captured.first, !text.isEmpty else { return nil }
        captures.append(text)
        if isLast { return captured.methods.isEmpty ? nil : captured }
        return try find(in: captured, path, from: end + 1, depth: depth + 1, &captures)
    }

    private static func allow(_ node: Node) -> String {
        var names = node.methods.map(\.method.rawValue)
        if names.contains(HTTPMethod.get.rawValue) { names.append(HTTPMethod.head.rawValue) }
        return names.sorted().joined(separator: ", ")
    }
}
