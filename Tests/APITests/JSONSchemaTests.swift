import GatewayTestSupport
import JSON
import Testing

/// The validator behind the contract tests: what it must refuse, it refuses.
@Suite struct JSONSchemaTests {
    private static func json(_ text: String) throws -> JSONValue { try JSONDocument(Array(text.utf8)[...]).root }

    private static func fault(_ value: String, _ schema: String) throws -> String? {
        let contract = try Contract(
            json(#"{"components":{"schemas":{"Name":{"type":"string","maxLength":3}}},"paths":{}}"#))
        do {
            try contract.check(try json(value), against: try json(schema))
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test(arguments: [
        (#"{"type":"integer"}"#, "1", "1.5"),
        (#"{"type":"integer"}"#, "-7", #""1""#),
        (#"{"type":["string","null"]}"#, "null", "false"),
        (#"{"enum":["a","b"]}"#, #""b""#, #""c""#),
        (#"{"const":"true"}"#, #""true""#, "true"),
        (#"{"minimum":1,"maximum":9223372036854775807}"#, "9223372036854775807", "0"),
        (#"{"maximum":10}"#, "10", "10.5"),
        (#"{"minLength":1,"maxLength":2}"#, #""é€""#, #""""#),
        (#"{"pattern":"^[a-z2-7]{8}-[1-9][0-9]*$"}"#, #""abcdefg2-10""#, #""abcdefg2-010""#),
        (#"{"format":"date-time"}"#, #""2026-11-21T00:12:28.942Z""#, #""2026-11-21 00:12:28Z""#),
        (#"{"contentEncoding":"base64"}"#, #""AP8=""#, #""AP8""#),
        (#"{"items":{"type":"null"},"minItems":1}"#, "[null]", "[]"),
        (#"{"items":{"type":"null"},"maxItems":1}"#, "[null]", "[null,null]"),
        (#"{"items":{"type":"null"}}"#, "[]", "[null,1]"),
        (#"{"uniqueItems":true}"#, "[1,2]", "[1,1]"),
        (#"{"required":["a"]}"#, #"{"a":1}"#, #"{"b":1}"#),
        (#"{"properties":{"a":{"type":"null"}},"additionalProperties":false}"#, #"{"a":null}"#, #"{"b":null}"#),
        (#"{"properties":{"a":false}}"#, #"{"b":1}"#, #"{"a":1}"#),
        (#"{"additionalProperties":{"type":"string"},"maxProperties":1}"#, #"{"a":"b"}"#, #"{"a":1}"#),
        (#"{"maxProperties":1}"#, #"{"a":1}"#, #"{"a":1,"b":2}"#),
        (#"{"allOf":[{"type":"number"},{"minimum":2}]}"#, "2", "1"),
        (#"{"anyOf":[{"const":1},{"const":2}]}"#, "2", "3"),
        (#"{"oneOf":[{"type":"integer"},{"minimum":5}]}"#, "4", "6"),
        (#"{"not":{"const":0}}"#, "1", "0"),
        (##"{"$ref":"#/components/schemas/Name","minLength":1}"##, #""abc""#, #""abcd""#),
    ])
    func keyword_Refuses(schema: String, good: String, bad: String) throws {
        #expect(try Self.fault(good, schema) == nil)
        #expect(try Self.fault(bad, schema) != nil)
    }

    @Test func violation_NamesItsPlace() throws {
        let schema = #"{"properties":{"a":{"items":{"properties":{"b":{"type":"null"}}}}}}"#
        let fault = try Self.fault(#"{"a":[{"b":null},{"b":1}]}"#, schema)
        #expect(fault?.hasPrefix("/a/1/b: ") == true)
    }

    /// A keyword that it passed over in silence would make every test of the contract weaker.
    @Test(arguments: [
        #"{"unevaluatedProperties":false}"#, #"{"properties":{"a":{"if":{}}}}"#, #"{"items":{"prefixItems":[]}}"#,
        #"{"format":"uuid"}"#, #"{"type":"date"}"#, #"{"pattern":"\\d"}"#, #"{"minimum":0.5}"#,
        ##"{"$ref":"#/components/schemas/None"}"##,
    ])
    func schema_IsRefused_WhenItIsNotUnderstood(schema: String) throws {
        #expect(try Self.fault(#"{"a":1}"#, schema) != nil)
        #expect(try Self.fault("[1]", schema) != nil)
    }
}
