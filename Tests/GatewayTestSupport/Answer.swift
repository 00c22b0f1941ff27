public import JSON

/// What came back for one request, byte for byte.
public struct Answer: Sendable {
    public let status: Int
    public let headers: [(name: String, value: String)]
    public let body: [UInt8]

    /// The first field of that name.
    public func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The body, which must be JSON.
    public func json() throws -> JSONValue { try JSONDocument(body[...]).root }

    /// Member `code` of a problem document; nil for any other body.
    public var code: String? {
        guard header("Content-Type") == "application/problem+json" else { return nil }
        do {
            return try json()["code"]?.string
        } catch {
            return nil
        }
    }

    /// Takes one complete answer from the front of `bytes`; nil when more must come.
    static func take(from bytes: inout [UInt8], head: Bool) throws -> Answer? {
        guard let end = endOfHead(bytes) else { return nil }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
            throw HTTPClient.Failure("no status line: \(lines.first ?? "")")
        }
        let headers = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            return (name: String(parts[0]), value: parts.count > 1 ? String(parts[1].drop { $0 == " " }) : "")
        }
        let length = headers.first { $0.name.lowercased() == "content-length" }.flatMap { Int($0.value) } ?? 0
        let count = head || status < 200 || status == 204 ? 0 : length
        guard bytes.count >= end + count else { return nil }
        let answer = Answer(status: status, headers: headers, body: Array(bytes[end..<end + count]))
        bytes.removeSubrange(..<(end + count))
        return answer
    }

    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        for index in 3..<bytes.count
        where bytes[index] == 10 && bytes[index - 1] == 13 && bytes[index - 2] == 10 && bytes[index - 3] == 13 {
            return index + 1
        }
        return nil
    }
}

extension JSONValue {
    /// A member, or nil.
    public subscript(_ name: String) -> JSONValue? { member(name) }

    /// An element, or nil.
    public subscript(_ index: Int) -> JSONValue? { elements?.dropFirst(index).first { _ in true } }

    /// The strings of an array of strings.
    public var strings: [String] { (elements.map { Array($0) } ?? []).compactMap(\.string) }

    /// The elements of an array; none when it is no array.
    public var list: [JSONValue] { elements.map { Array($0) } ?? [] }

    /// The members of an object; none when it is no object.
    public var fields: [JSONMember] { members.map { Array($0) } ?? [] }

    /// As it is in the text.
    public var rawText: String { String(decoding: raw, as: UTF8.self) }
}
