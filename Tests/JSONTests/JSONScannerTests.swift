import JSON
import Primitives
import Testing

/// What the scanner says about bytes: nil for a valid text.
func scanError(_ bytes: [UInt8], limits: JSONLimits = .standard) -> JSONError? {
    do {
        _ = try JSONDocument(bytes[...], limits: limits)
        return nil
    } catch {
        return error
    }
}

@Suite struct JSONScannerTests {
    /// In the manner of JSONTestSuite's y_ files.
    static let accepted: [String] = [
        "null", "true", "false", "0", "-0", "42", "\"\"", "[]", "{}", " [ ] ", "\t\r\n {\"a\" : 1}\n", "[1,2,3]",
        "[[],{},[[]]]", "{\"\":0}", "{\"a\":{\"a\":{\"a\":1}}}", "[{\"a\":1},{\"a\":2}]",
        "[1e5,1E5,1e+5,1e-5,1.5e-300]",
        "[-1,-0.0,0.1,123456789012345678901234567890]", "[1e308,1.7976931348623157e308,5e-324,1e-999]",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\\u001f\\u00e9\\u20ac\"", "\"\\ud83d\\ude00\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\udbff\\udfff\"", "\"\u{7f}\"", "\"é€😀\"", "\"\u{FEFF}\"", "\"\u{2028}\u{2029}\"", "\"\\\\ud800\"",
        "\"a string that is longer than sixteen bytes, with é and \\n in it\"", "[\"asd\",\"\\\\\"]",
        "{\"a\":1,\"A\":2,\"a \":3,\"aa\":4}", "{\"\\u0061b\":1,\"a\":2}", "[\"\\u0012\", 1]",
        "[true , false , null]", "{\"a\":[],\"b\":{}}",
    ]

    @Test(arguments: accepted) func scanner_Accepts(text: String) {
        #expect(scanError(Array(text.utf8)) == nil)
        #expect(isValidJSON(Array(text.utf8)[...]))
    }

    struct Refusal: CustomTestStringConvertible, Sendable {
        let bytes: [UInt8]
        let reason: JSONError.Reason
        let position: Int
        let pointer: String

        init(_ text: String, _ reason: JSONError.Reason, _ position: Int, _ pointer: String = "") {
            self.init(Array(text.utf8), reason, position, pointer)
        }

        init(_ bytes: [UInt8], _ reason: JSONError.Reason, _ position: Int, _ pointer: String = "") {
            self.bytes = bytes
            self.reason = reason
            self.position = position
            self.pointer = pointer
        }

        var testDescription: String { "\(String(decoding: bytes.prefix(40), as: UTF8.self)) \(reason)" }
    }

    static let structure: [Refusal] = [
        Refusal("", .empty, 0),
        Refusal("  \n", .empty, 3),
        Refusal("[", .unexpectedEnd, 1, "/0"),
        Refusal("[1", .unexpectedEnd, 2),
        Refusal("[1,", .unexpectedEnd, 3, "/1"),
        Refusal("{", .unexpectedEnd, 1),
        Refusal("{\"a\"", .unexpectedEnd, 4, "/a"),
        Refusal("{\"a\":", .unexpectedEnd, 5, "/a"),
        Refusal("{\"a\":1", .unexpectedEnd, 6),
        Refusal("\"abc", .unexpectedEnd, 4),
        Refusal("{\"records\":[{\"value\":\"ab", .unexpectedEnd, 24, "/records/0/value"),
        Refusal("1 2", .trailingData, 2),
        Refusal("{}}", .trailingData, 2),
        Refusal("[]x", .trailingData, 2),
        Refusal("1\u{0}", .trailingData, 1),
        Refusal("[1]\u{0}[2]", .trailingData, 3),
        Refusal("\"a\" \"b\"", .trailingData, 4),
        Refusal("]", .valueExpected, 0),
        Refusal("[1,]", .valueExpected, 3, "/1"),
        Refusal("[,1]", .valueExpected, 1, "/0"),
        Refusal("[1,,2]", .valueExpected, 3, "/1"),
        Refusal("[1 2]", .arraySeparatorExpected, 3),
        Refusal("[1:2]", .arraySeparatorExpected, 2),
        Refusal("[1}", .arraySeparatorExpected, 2),
        Refusal("{\"a\":1]", .objectSeparatorExpected, 6),
        Refusal("{\"a\":1 \"b\":2}", .objectSeparatorExpected, 7),
        Refusal("{\"a\" 1}", .colonExpected, 5, "/a"),
        Refusal("{a:1}", .keyExpected, 1),
        Refusal("{1:1}", .keyExpected, 1),
        Refusal("{'a':1}", .keyExpected, 1),
        Refusal("{\"a\":1,}", .keyExpected, 7),
        Refusal("{,}", .keyExpected, 1),
        Refusal("{\"a\":}", .valueExpected, 5, "/a"),
        Refusal("[1]// no comments", .trailingData, 3),
        Refusal("[/* no */1]", .valueExpected, 1, "/0"),
        Refusal("\u{FEFF}{}", .valueExpected, 0),
        Refusal("\u{a0}1", .valueExpected, 0),
        Refusal("[1,\u{c}2]", .valueExpected, 3, "/1"),
        Refusal("\u{0}", .valueExpected, 0),
        Refusal("[\u{0}]", .valueExpected, 1, "/0"),
    ]

    static let scalars: [Refusal] = [
        Refusal("nul", .unexpectedEnd, 3),
        Refusal("nulx", .valueExpected, 3),
        Refusal("True", .valueExpected, 0),
        Refusal("[fals]", .valueExpected, 5, "/0"),
        Refusal("NaN", .valueExpected, 0),
        Refusal("Infinity", .valueExpected, 0),
        Refusal("[-Infinity]", .valueExpected, 2, "/0"),
        Refusal("-", .unexpectedEnd, 1),
        Refusal("+1", .valueExpected, 0),
        Refusal(".5", .valueExpected, 0),
        Refusal("[1.]", .badNumber, 3, "/0"),
        Refusal("[1,1.e5]", .badNumber, 5, "/1"),
        Refusal("[1e]", .badNumber, 3, "/0"),
        Refusal("[1e+]", .badNumber, 4, "/0"),
        Refusal("01", .trailingData, 1),
        Refusal("[-01]", .arraySeparatorExpected, 3),
        Refusal("0x10", .trailingData, 1),
        Refusal("{\"a\":1e400}", .numberOutOfRange, 5, "/a"),
        Refusal("-1e99999", .numberOutOfRange, 0),
    ]

    static let strings: [Refusal] = [
        Refusal("['a']", .valueExpected, 1, "/0"),
        Refusal("\"a\tb\"", .controlCharacter, 2),
        Refusal("\"a\nb\"", .controlCharacter, 2),
        Refusal("[\"0123456789abcdef\u{1f}\"]", .controlCharacter, 18, "/0"),
        Refusal("\"a\u{0}b\"", .controlCharacter, 2),
        Refusal("{\"a\u{0}\":1}", .controlCharacter, 3),
        Refusal("\"\\x41\"", .badEscape, 1),
        Refusal("\"\\'\"", .badEscape, 1),
        Refusal("\"\\u12\"", .badEscape, 1),
        Refusal("\"\\u12g4\"", .badEscape, 1),
        Refusal("\"\\U0041\"", .badEscape, 1),
        Refusal("\"\\ud800\"", .loneSurrogate, 1),
        Refusal("\"\\ud800\\n\"", .loneSurrogate, 1),
        Refusal("\"\\ud800\\u0041\"", .loneSurrogate, 1),
        Refusal("\"ab\\udc00\"", .loneSurrogate, 3),
        Refusal("[\"ok\\ud83d\\ude00\\ude00\"]", .loneSurrogate, 16, "/0"),
        Refusal("{\"\\udc00\":1}", .loneSurrogate, 2),
        Refusal([0x22, 0xff, 0x22], .notUTF8, 1),
        Refusal([0x22, 0x61, 0xc3, 0x22], .notUTF8, 2),
        Refusal([0x22, 0xc0, 0xaf, 0x22], .notUTF8, 1),
        Refusal([0x22, 0xe0, 0x80, 0xaf, 0x22], .notUTF8, 1),
        Refusal([0x22, 0xed, 0xa0, 0x80, 0x22], .notUTF8, 1),
        Refusal([0x22, 0xf4, 0x90, 0x80, 0x80, 0x22], .notUTF8, 1),
        Refusal([0x22, 0xf0, 0x80, 0x80, 0x80, 0x22], .notUTF8, 1),
        Refusal([0x22, 0x80, 0x22], .notUTF8, 1),
        Refusal([0x5b, 0x31, 0x2c, 0x22, 0x61, 0xfe, 0x22, 0x5d], .notUTF8, 5, "/1"),
        // What comes first in the document is what is reported.
        Refusal([0x5b, 0x78, 0x22, 0xff, 0x22, 0x5d], .valueExpected, 1, "/0"),
    ]

    static let duplicates: [Refusal] = [
        Refusal("{\"a\":1,\"a\":2}", .duplicateKey, 7, "/a"),
        Refusal("{\"\":1,\"\":2}", .duplicateKey, 6, "/"),
        Refusal("{\"a\":1,\"\\u0061\":2}", .duplicateKey, 7, "/a"),
        Refusal("{\"\\u0061\":1,\"a\":2}", .duplicateKey, 12, "/a"),
        Refusal("{\"\\u00e9\":1,\"é\":2}", .duplicateKey, 12, "/é"),
        Refusal("{\"a/b~\":1,\"a/b~\":2}", .duplicateKey, 10, "/a~1b~0"),
        Refusal("[[{\"x\":{\"k\":1,\"j\":{},\"k\":2}}]]", .duplicateKey, 21, "/0/0/x/k"),
        Refusal("{\"records\":[{\"key\":1},{\"key\":1,\"key\":2}]}", .duplicateKey, 31, "/records/1/key"),
        // The inner object's keys are forgotten when it closes, the outer's are not.
        Refusal("{\"a\":{\"a\":1,\"b\":1},\"b\":1,\"a\":2}", .duplicateKey, 25, "/a"),
    ]

    @Test(arguments: structure + scalars + strings + duplicates)
    func scanner_RefusesWithReasonPositionAndPointer(refusal: Refusal) {
        let error = scanError(refusal.bytes)
        #expect(error == JSONError(refusal.reason, position: refusal.position, pointer: refusal.pointer))
        #expect(!isValidJSON(refusal.bytes[...]))
    }

    @Test(arguments: [2, 16, 17, 18, 40, 1000, 20_000])
    func scanner_RefusesTheFirstRepeatedKey_InObjectsOfAnySize(keys: Int) {
        // Every third with an escape, so that decoded keys are compared too.
        let names = (0..<keys).map { $0 % 3 == 0 ? "k\\u0030\($0)" : "k0\($0)" }
        let members = names.map { "\"\($0)\":0" }
        #expect(scanError(Array("{\(members.joined(separator: ","))}".utf8)) == nil)

        let repeated = "k0\(keys / 2)"
        let head = "[{\(members.joined(separator: ","))"
        let error = scanError(Array("\(head),\"\(repeated)\":1,\"k01\":2}]".utf8))
        let expected = JSONError(.duplicateKey, position: head.utf8.count + 1, pointer: "/0/\(repeated)")
        #expect(error == expected)
    }

    @Test func scanner_RefusesTheDepth_OneBeyondTheLimit() {
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        #expect(scanError(nested(64)) == nil)
        let pointer = String(repeating: "/0", count: 64)
        #expect(scanError(nested(65)) == JSONError(.tooDeep, position: 64, pointer: pointer))
        #expect(scanError(nested(100_000))?.reason == .tooDeep)
        #expect(scanError(nested(3), limits: JSONLimits(depth: 2))?.position == 2)
        #expect(isValidJSON(nested(61)[...]))
        #expect(!isValidJSON(nested(62)[...]))
        let objects = String(repeating: "{\"a\":", count: 65) + "1" + String(repeating: "}", count: 65)
        #expect(scanError(Array(objects.utf8))?.reason == .tooDeep)
    }

    @Test func scanner_RefusesTokensAndKeys_BeyondTheirLimits() {
        let tokens = JSONLimits(tokens: 4)
        #expect(scanError(Array("[1,2,3]".utf8), limits: tokens) == nil)
        #expect(
            scanError(Array("[1,2,3,4]".utf8), limits: tokens)
                == JSONError(.tooManyTokens, position: 7, pointer: "/3"))
        let keys = JSONLimits(keys: 2)
        #expect(scanError(Array("[{\"a\":1,\"b\":2},{\"a\":1,\"b\":2}]".utf8), limits: keys) == nil)
        let error = scanError(Array("{\"a\":1,\"b\":{\"c\":2}}".utf8), limits: keys)
        #expect(error == JSONError(.tooManyKeys, position: 12, pointer: "/b"))
    }

    @Test func pointer_IsCut_WhenTheClientsKeysAreLong() throws {
        let long = String(repeating: "~", count: 100_000)
        let error = try #require(scanError(Array("{\"\(long)\":{\"b\":!}}".utf8)))
        #expect(error.reason == .valueExpected)
        #expect(error.pointer.hasPrefix("/~0~0"))
        #expect(error.pointer.hasSuffix("…"))
        let bound = JSONError.pointerBytesMax + "…".utf8.count
        #expect(error.pointer.utf8.count <= bound)
    }

    @Test func scanner_TakesASliceOfALargerBuffer_AndReadsNothingBeyondIt() throws {
        let buffer = Array("xx[1,\"a\"]]yy".utf8)
        let document = try JSONDocument(buffer[2..<9])
        #expect(document.root.raw.startIndex == 2)
        #expect(document.root.position == 0)
        #expect(throws: JSONError.self) { try JSONDocument(buffer[2..<10]) }
        #expect(throws: JSONError.self) { try JSONDocument(buffer[2..<8]) }
    }
}
