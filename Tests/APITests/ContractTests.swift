import API
import Gateway
import GatewayTestSupport
import HTTPServer
import JSON
import Testing

/// `OpenAPI/postrider.yaml` against the gateway, both ways: what is served is documented, and what is documented is
/// served. (Each answer that any test gets through `HTTPClient` is held against the document, too.)
@Suite final class ContractTests: GatewayTest {
    private let contract: Contract

    override init() throws {
        contract = try Contract.shared.get()
        try super.init()
    }

    @Test func routes_AreThoseOfTheDocument() {
        let served = local.gateway.routes.map { "\($0.method.rawValue) \($0.pattern)" }
        let documented = contract.operations.map { "\($0.method) \($0.path)" }
        #expect(served.sorted() == documented.sorted())
    }

    /// A handler refuses what it does not know and names what it knows; one that looks at no query has no parameters.
    @Test func parameters_AreThoseOfTheDocument() throws {
        for operation in contract.operations {
            let path = operation.path.replacing("{receipt}", with: "aaaaaaaa-1").replacing("{partition}", with: "0")
                .replacing(/{[a-z]+}/, with: "orders")
            let answer = try client.request(operation.method, path + "?no-such-parameter=1")
            let known = answer.code == "unknown_parameter" ? try answer.json()["known"]?.strings : []
            #expect(
                known?.sorted() == operation.queryParameters.sorted(), "\(operation.method) \(path): \(answer.text)")
        }
    }

    @Test func document_IsServed_InBothForms() throws {
        for (path, type) in [("/openapi.yaml", "application/yaml"), ("/openapi.json", "application/json")] {
            let answer = try client.request("GET", path)
            #expect(answer.status == 200)
            #expect(answer.header("Content-Type") == type)
            let etag = try #require(answer.header("ETag"))
            for known in [etag, "\"other\", \(etag)", "W/\(etag)", "*"] {
                let again = try client.request("GET", path, [("If-None-Match", known)])
                #expect(again.status == 304, "\(known)")
                #expect(again.header("ETag") == etag)
                #expect(again.body.isEmpty)
            }
            #expect(try client.request("GET", path, [("If-None-Match", "\"other\"")]).status == 200)
        }
        let yaml = try client.request("GET", "/openapi.yaml").text
        #expect(yaml.hasPrefix("openapi: 3.1.0\n"))
        let json = try client.request("GET", "/openapi.json").json()
        #expect(json.rawText == contract.document.rawText)
    }

    /// Media types, parameters and headers have examples, and these are what their schemas say.
    @Test func examples_AreWhatTheirSchemasSay() throws {
        var checked = 0
        try visit(contract.document) { value, pointer in
            guard let schema = value["schema"], !pointer.hasPrefix("/components/schemas/") else { return }
            let named = try (value["examples"]?.fields ?? []).map { member in
                try Contract.resolved(member.value, in: contract.document)["value"]
            }
            let examples = named + (value["example"].map { [$0] } ?? [])
            for example in examples {
                let example = try #require(example, "\(pointer): an example without a value")
                #expect(throws: Never.self, "\(pointer)") { try contract.check(example, against: schema) }
                checked += 1
            }
            if pointer.contains("/content/") { #expect(!examples.isEmpty, "\(pointer) has no example") }
        }
        #expect(checked > 300)
    }

    /// Each error code of each answer has its example, and that has the answer's status.
    @Test func errors_HaveExamples_WithTheirStatus() throws {
        var codes: Set<String> = []
        for path in contract.document["paths"]?.fields ?? [] {
            for method in path.value.fields where method.name != "parameters" {
                for response in method.value["responses"]?.fields ?? [] {
                    let value = try Contract.resolved(response.value, in: contract.document)
                    guard let problem = value["content"]?["application/problem+json"] else { continue }
                    let schema = try #require(problem["schema"])
                    let documented = try Self.codes(of: schema, in: contract.document)
                    var shown: Set<String> = []
                    for example in problem["examples"]?.fields ?? [] {
                        let value = try Contract.resolved(example.value, in: contract.document)["value"]
                        let code = try #require(value?["code"]?.string)
                        let place: Comment = "\(method.name) \(path.name) \(response.name) \(code)"
                        #expect(value?["status"]?.int64.map(String.init) == response.name, place)
                        #expect(value?["type"]?.string == "/problems/\(code)", place)
                        shown.insert(code)
                    }
                    #expect(shown == documented, "\(method.name) \(path.name) \(response.name)")
                    codes.formUnion(documented)
                }
            }
        }
        #expect(codes.count > 40)
    }

    /// The values of `code` that a schema of problems allows.
    private static func codes(of schema: JSONValue, in document: JSONValue) throws -> Set<String> {
        var codes = Set(schema["properties"]?["code"]?["enum"]?.strings ?? [])
        for choice in schema["oneOf"]?.list ?? [] { codes.formUnion(try self.codes(of: choice, in: document)) }
        if codes.isEmpty, schema["$ref"] != nil {
            codes = try self.codes(of: Contract.resolved(schema, in: document), in: document)
        }
        return codes
    }

    /// Each object of the document, with where it is.
    private func visit(
        _ value: JSONValue, at pointer: String = "", _ body: (JSONValue, String) throws -> Void
    ) throws {
        if value.kind == .object { try body(value, pointer) }
        for member in value.fields where member.name != "value" && member.name != "example" {
            try visit(member.value, at: "\(pointer)/\(member.name)", body)
        }
        for (index, element) in value.list.enumerated() { try visit(element, at: "\(pointer)/\(index)", body) }
    }
}
