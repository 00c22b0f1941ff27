import COpenAPI
public import JSON

/// `OpenAPI/postrider.yaml` as tests need it: which answers each call may have. Immutable; any thread.
public final class Contract: Sendable {
    /// What an answer does that the document does not say, or what is wrong with the document.
    public struct Fault: Error, CustomStringConvertible {
        public let description: String
    }

    /// A method of a path.
    public struct Operation: Sendable {
        public let method: String
        public let path: String
        /// Of the query, in the document's order.
        public let queryParameters: [String]
        let responses: [Int: Response]
    }

    /// The document that the tests were compiled with, read.
    public static let shared: Result<Contract, Fault> = Result { () throws(Fault) in try Contract(compiledIn()) }

    public let document: JSONValue
    public let operations: [Operation]
    /// What requests get that are none of the calls.
    private let otherwise: [Int: Response]
    private let named: JSONSchema.Named

    private static func compiledIn() throws(Fault) -> JSONValue {
        var count = 0
        let start = postrider_openapi_json(&count)
        do {
            return try JSONDocument(Array(UnsafeBufferPointer(start: start, count: count))[...]).root
        } catch {
            throw Fault(description: "postrider.json: \(error)")
        }
    }

    public init(_ document: JSONValue) throws(Fault) {
        self.document = document
        var named: JSONSchema.Named = [:]
        for member in document["components"]?["schemas"]?.fields ?? [] {
            do {
                named["#/components/schemas/\(member.name)"] = try JSONSchema(member.value)
            } catch {
                throw Fault(description: "schema \(member.name)\(error)")
            }
        }
        self.named = named
        var operations: [Operation] = []
        for path in document["paths"]?.fields ?? [] {
            let shared = path.value["parameters"]?.list ?? []
            for member in path.value.fields where member.name != "parameters" {
                let parameters = try (shared + (member.value["parameters"]?.list ?? [])).map { value throws(Fault) in
                    try Self.resolved(value, in: document)
                }
                operations.append(
                    Operation(
                        method: member.name.uppercased(), path: path.name,
                        queryParameters: parameters.filter { $0["in"]?.string == "query" }
                            .compactMap { $0["name"]?.string },
                        responses: try Self.responses(member.value["responses"], in: document)))
            }
        }
        self.operations = operations
        otherwise = try Self.responses(document["x-otherwise"], in: document)
    }

    private static func responses(_ value: JSONValue?, in document: JSONValue) throws(Fault) -> [Int: Response] {
        var responses: [Int: Response] = [:]
        for member in value?.fields ?? [] {
            guard let status = Int(member.name) else { throw Fault(description: "status \(member.name)") }
            responses[status] = try Response(resolved(member.value, in: document), in: document)
        }
        return responses
    }

    /// What a reference stands for; anything else is returned as it is.
    public static func resolved(_ value: JSONValue, in document: JSONValue) throws(Fault) -> JSONValue {
        guard let reference = value["$ref"]?.string else { return value }
        var at: JSONValue? = document
        for step in reference.split(separator: "/").dropFirst() { at = at?[String(step)] }
        guard let at, reference.hasPrefix("#/") else { throw Fault(description: "\(reference) leads nowhere") }
        return at
    }

    // MARK: - Finding

    /// The operation of a request; nil when there is none. A literal segment wins over a name, as in the router.
    func operation(_ method: String, _ target: String) -> Operation? {
        let segments = Self.segments(target.prefix { $0 != "?" })
        let matching = operations.filter { Self.matches(segments, Self.segments($0.path[...])) }
        let literals = matching.map { operation in operation.path.utf8.count { $0 == UInt8(ascii: "{") } }.min()
        return matching.first { operation in
            operation.method == (method == "HEAD" ? "GET" : method)
                && operation.path.utf8.count { $0 == UInt8(ascii: "{") } == literals
        }
    }

    private static func segments(_ path: Substring) -> [Substring] {
        path.split(separator: "/", omittingEmptySubsequences: false)
    }

    private static func matches(_ segments: [Substring], _ pattern: [Substring]) -> Bool {
        segments.count == pattern.count
            && zip(segments, pattern).allSatisfy { $0 == $1 || $1.first == "{" && !$0.isEmpty }
    }

    // MARK: - Checking

    /// Holds an answer against what the document says about the request.
    public func check(_ answer: Answer, to method: String, _ target: String) throws(Fault) {
        let operation = operation(method, target)
        guard let response = (operation?.responses ?? otherwise)[answer.status] else {
            throw Fault(description: "\(method) \(target): status \(answer.status) is not documented: \(answer.text)")
        }
        do {
            try response.check(answer, hasBody: method != "HEAD", named)
        } catch {
            throw Fault(description: "\(method) \(target): \(answer.status) \(error) in \(answer.text.prefix(2_000))")
        }
    }

    /// Holds a value of the document, such as an example, against one of its schemas.
    public func check(_ value: JSONValue, against schema: JSONValue) throws(Fault) {
        do {
            try JSONSchema(schema).check(value, named)
        } catch {
            throw Fault(description: "\(error)")
        }
    }
}
