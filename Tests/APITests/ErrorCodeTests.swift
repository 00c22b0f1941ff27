import GatewayTestSupport
import HTTPServer
import JSON
import Primitives
import Testing

/// The error codes in the sources against those of the document, both ways: one that no test provokes is found, too.
@Suite struct ErrorCodeTests {
    private static let root = String(#filePath.dropLast("/Tests/APITests/ErrorCodeTests.swift".count))

    private static func text(_ path: String) throws -> String {
        let file = try SystemFileSystem().open("\(root)/\(path)", .readOnly)
        defer { file.close() }
        return String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
    }

    /// Where a problem is made of a literal code.
    private static func codes(in text: String) -> Set<String> {
        // A broker's error has a code of its own, which is part of the detail.
        let text = text.replacing(/BrokerError\([^)]*\)/, with: "")
        var codes = Set(
            text.matches(of: /(?:Problem|self\.init)\(\s*(?:[0-9]{3}|status),\s*"([a-z_]+)"/).map { String($0.1) })
        codes.formUnion(text.matches(of: /code: (?:String = )?"([a-z_]+)"/).map { String($0.1) })
        return codes
    }

    private static func served() throws -> Set<String> {
        var codes = Set(ServerProblem.Code.allCases.map(\.rawValue))
        for name in try SystemFileSystem().list("\(root)/Sources/API") where name.hasSuffix(".swift") {
            codes.formUnion(Self.codes(in: try text("Sources/API/\(name)")))
        }
        let faults = try text("Sources/API/RecordFault.swift").matches(of: /case [a-zA-Z]+ = "([a-z_]+)"/)
        let consumers = try text("Sources/Consumers/ConsumerError.swift").matches(of: /case \.[a-zA-Z]+: "([a-z_]+)"/)
        let closed = try text("Sources/Gateway/Gateway.swift").matches(of: /closeIntake\("([a-z_]+)"\)/)
        try #require(!faults.isEmpty && !consumers.isEmpty && !closed.isEmpty, "the sources were not understood")
        codes.formUnion(faults.map { String($0.1) })
        codes.formUnion(consumers.map { String($0.1) })
        codes.formUnion(closed.map { String($0.1) })
        return codes
    }

    /// Every `code` that a schema names, in calls and in `x-otherwise`.
    private static func documented(_ value: JSONValue) -> Set<String> {
        var codes: Set<String> = []
        if let names = value["properties"]?["code"]?["enum"]?.strings { codes.formUnion(names) }
        for member in value.fields { codes.formUnion(documented(member.value)) }
        for element in value.list { codes.formUnion(documented(element)) }
        return codes
    }

    @Test func codes_OfTheSources_AreThoseOfTheDocument() throws {
        let served = try Self.served()
        let documented = Self.documented(try Contract.shared.get().document)
        #expect(served.subtracting(documented).sorted() == [], "not documented")
        #expect(documented.subtracting(served).sorted() == [], "documented, and nowhere in the sources")
    }

    /// docs/API.md names each code and each call.
    @Test func documentForPeople_IsComplete() throws {
        let contract = try Contract.shared.get()
        let text = try Self.text("docs/API.md")
        let codes = Self.documented(contract.document).filter { !text.contains("`\($0)`") }
        #expect(codes.sorted() == [], "codes that docs/API.md does not have")
        let paths = Set(contract.operations.map(\.path)).filter { !text.contains($0) && $0 != "/" }
        #expect(paths.sorted() == [], "paths that docs/API.md does not have")
    }

    @Test func literal_IsFound_WhenPlanted() {
        let planted = """
            throw Problem(
                404, "one_code", "Title", "detail")
            self.init(status, "two_code", "Title", "detail")
            throw .invalid("topic", "no", code: "three_code")
            Problem(status, other, "four_code")
            Problem(BrokerError(.retriable, code: "five_code", detail: "detail"))
            """
        #expect(Self.codes(in: planted) == ["one_code", "two_code", "three_code"])
    }
}
