import JSON

extension Contract {
    /// What an answer of one status may look like.
    struct Response: Sendable {
        /// By name in lower case.
        private let headers: [String: Header]
        private let contents: [Content]

        private struct Header: Sendable {
            var isRequired: Bool
            var schema: JSONSchema
        }

        private struct Content: Sendable {
            var type: String
            var schema: JSONSchema
            /// Of one line of NDJSON.
            var line: JSONSchema?
        }

        /// On any answer: the message's own, those of browsers and proxies, and those of limits for each address.
        private static let anywhere: Set = [
            "connection", "content-encoding", "content-length", "content-security-policy", "content-type", "date",
            "ratelimit", "ratelimit-policy", "transfer-encoding", "vary", "x-content-type-options",
        ]

        init(_ value: JSONValue, in document: JSONValue) throws(Fault) {
            var headers: [String: Header] = [:]
            for member in value["headers"]?.fields ?? [] {
                let header = try Contract.resolved(member.value, in: document)
                headers[member.name.lowercased()] = Header(
                    isRequired: header["required"]?.bool ?? false, schema: try Self.schema(header["schema"]))
            }
            self.headers = headers
            var contents: [Content] = []
            for member in value["content"]?.fields ?? [] {
                let line = member.value["x-line-schema"]
                contents.append(
                    Content(
                        type: member.name, schema: try Self.schema(member.value["schema"]),
                        line: line == nil ? nil : try Self.schema(line)))
            }
            self.contents = contents
        }

        private static func schema(_ value: JSONValue?) throws(Fault) -> JSONSchema {
            guard let value else { throw Fault(description: "a schema is missing") }
            do {
                return try JSONSchema(value)
            } catch {
                throw Fault(description: "\(error)")
            }
        }

        func check(_ answer: Answer, hasBody: Bool, _ named: JSONSchema.Named) throws {
            try checkHeaders(answer, named)
            guard hasBody else { return }
            guard let type = answer.header("Content-Type") else {
                guard contents.isEmpty, answer.body.isEmpty else { throw Fault(description: "has no Content-Type") }
                return
            }
            // A record's own value: whatever its type is, it is no form of ours.
            if answer.header("Postrider-Topic") != nil, contents.contains(where: { $0.type == "*/*" }) { return }
            let media = type.prefix { $0 != ";" }
            guard let content = contents.first(where: { $0.type == media }) else {
                throw Fault(description: "content type \(type) is not documented")
            }
            if let line = content.line {
                for text in answer.body.split(separator: UInt8(ascii: "\n")) {
                    try line.check(JSONDocument(text).root, named)
                }
            } else if media == "application/json" || media.hasSuffix("+json") {
                try content.schema.check(answer.json(), named)
            }
        }

        private func checkHeaders(_ answer: Answer, _ named: JSONSchema.Named) throws {
            for (name, header) in headers where header.isRequired && answer.header(name) == nil {
                throw Fault(description: "header \(name) is missing")
            }
            for (name, value) in answer.headers {
                let name = name.lowercased()
                if Self.anywhere.contains(name) || name.hasPrefix("access-control-") { continue }
                if name.hasPrefix("postrider-header-"), headers["postrider-topic"] != nil { continue }
                guard let header = headers[name] else { throw Fault(description: "header \(name) is not documented") }
                do {
                    try header.schema.check(Self.parsed(value, as: header.schema), named)
                } catch {
                    throw Fault(description: "header \(name): \(error)")
                }
            }
        }

        /// A header's value is text; where the schema wants a number, the text is one.
        private static func parsed(_ value: String, as schema: JSONSchema) throws -> JSONValue {
            if schema.isOfNumbers { return try JSONDocument(Array(value.utf8)[...]).root }
            var writer = JSONWriter()
            writer.string(value)
            return try JSONDocument(writer.bytes[...]).root
        }
    }
}
