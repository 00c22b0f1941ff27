public import JSON
import Primitives

/// Calls that look and act once: no repetition, whoever calls sees what happened. One thread; blocks.
public final class Calls {
    /// Asked for at once.
    private static let pageMax = 1000

    private let transport: any Transport
    /// Ends a call that is under way, with `stopped`.
    public var stop: StopFlag?

    public init(_ transport: any Transport) { self.transport = transport }

    /// - Throws: `refused` where the answer is no success.
    public func call(
        _ method: String, _ target: String, _ body: [UInt8]? = nil, wait: Duration = .zero
    ) throws(ClientError) -> Answer {
        var request = body.map { .json(method, target, $0) } ?? Request(method, target)
        if wait > .zero {
            request.headers.append(("Prefer", "wait=\(wait.inSeconds)"))
            request.wait = wait
        }
        let answer = try transport.send(request, stop: stop)
        guard answer.isSuccess else { throw .refused(answer.problem) }
        return answer
    }

    /// The JSON of an answer.
    public func get(_ target: String) throws(ClientError) -> JSONValue { try call("GET", target).json() }

    /// A list, page after page.
    ///
    /// - Parameters:
    ///   - name: of the member that has the items.
    ///   - query: without `limit` and `page_token`.
    ///   - max: items; what is beyond is left out.
    /// - Returns: the items, and whether there are more.
    public func list(
        _ target: String, _ name: String, query: [(name: String, value: String)] = [], max: Int
    ) throws(ClientError) -> (items: [JSONValue], hasMore: Bool) {
        var items: [JSONValue] = []
        var next: String?
        repeat {
            var query = query + [("limit", "\(min(Self.pageMax, max - items.count))")]
            if let next { query.append(("page_token", next)) }
            let page = try get(target + Self.encoded(query))
            guard page.kind == .object, let found = page.member(name)?.elements else {
                throw .notAGateway("a list has \(name)")
            }
            let before = items.count
            items += found
            next = page.member("next")?.string
            if items.count == before, next != nil { throw .notAGateway("an empty page, and another after it") }
        } while next != nil && items.count < max
        return (items, next != nil)
    }

    /// `?a=b&c=d`; nothing for nothing.
    public static func encoded(_ query: [(name: String, value: String)]) -> String {
        let parts = query.map { "\(percentEncoded($0.name))=\(percentEncoded($0.value))" }
        return parts.isEmpty ? "" : "?" + parts.joined(separator: "&")
    }
}

extension JSONWriter {
    /// A list as one object, its items as they were sent.
    public static func list(_ name: String, _ items: [JSONValue], hasMore: Bool) -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object { writer in
            writer.key(name)
            writer.array { writer in for item in items { writer.raw(item.raw) } }
            writer.key("more")
            writer.bool(hasMore)
        }
        writer.endLine()
        return writer.bytes
    }
}

extension JSONValue {
    /// The member as a cell of a table: a text as it is, `-` for null or none, anything else as JSON.
    public func cell(_ name: String) -> String {
        guard kind == .object, let value = member(name), !value.isNull else { return "-" }
        return plain(value.string ?? String(decoding: value.raw, as: UTF8.self))
    }
}
