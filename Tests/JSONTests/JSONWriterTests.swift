import JSON
import Primitives
import Testing

private func written(_ body: (inout JSONWriter) -> Void) -> String {
    var writer = JSONWriter()
    body(&writer)
    return String(decoding: writer.bytes, as: UTF8.self)
}

@Suite struct JSONWriterTests {
    @Test func writer_PlacesCommasAndColons() {
        let text = written { writer in
            writer.object { writer in
                writer.key("empty")
                writer.object { _ in }
                writer.key("list")
                writer.array { writer in
                    writer.integer(1)
                    writer.array { _ in }
                    writer.bool(true)
                    writer.null()
                    writer.raw(Array("{ \"as\": \"sent\" }".utf8)[...])
                    writer.string("x")
                }
                writer.key("last")
                writer.double(0.5)
            }
        }
        #expect(
            text == "{\"empty\":{},\"list\":[1,[],true,null,{ \"as\": \"sent\" },\"x\"],\"last\":0.5}")
    }

    @Test func writer_EscapesWhatMustBe_AndNothingElse() {
        #expect(
            written { $0.string("\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}é😀") }
                == "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}é😀\"")
        #expect(written { $0.string(utf8: Array("a\"b".utf8)[1...]) } == "\"\\\"b\"")
        #expect(written { $0.string("") } == "\"\"")
    }

    @Test func writer_WritesTheEndsOfTheIntegers() {
        #expect(written { $0.integer(Int64.min) } == "-9223372036854775808")
        #expect(written { $0.integer(UInt64.max) } == "18446744073709551615")
        #expect(written { $0.integer(Int8.min) } == "-128")
        #expect(written { $0.integer(0) } == "0")
    }

    @Test func writer_WritesNullForADoubleThatJSONCannotSay() {
        #expect(written { $0.double(.nan) } == "null")
        #expect(written { $0.double(-.infinity) } == "null")
        #expect(written { $0.double(1e300) } == "1e+300")
    }

    @Test func writer_KeepsTheCommas_WhenABodyThrows() {
        struct Stop: Error {}
        var writer = JSONWriter()
        #expect(throws: Stop.self) {
            try writer.array { (writer) throws(Stop) in
                writer.integer(1)
                throw Stop()
            }
        }
        #expect(writer.bytes == Array("[1".utf8))
    }

    @Test func strings_RoundTrip() throws {
        var random = SeededText(printingFor: "JSON string round trip")
        for _ in 0..<2_000 {
            let string = random.string()
            let text = Array(written { $0.array { $0.string(string) } }.utf8)
            let document = try JSONDocument(text[...])
            let elements = try #require(document.root.elements)
            #expect(elements.map(\.string) == [string])
        }
    }
}
