import JSON
import Primitives
import Testing

private func parse(_ text: String, tapeDepth: Int = JSONLimits.depthMax) throws -> JSONValue {
    try JSONDocument(Array(text.utf8)[...], tapeDepth: tapeDepth).root
}

private func text(_ slice: ByteSlice) -> String { String(decoding: slice, as: UTF8.self) }

@Suite struct JSONValueTests {
    @Test func raw_IsByteForByteWhatTheClientSent() throws {
        let values = [
            "1.50", "-0", "1E+2", "{ \"b\" : [ 1 , 2 ],\n\t\"a\":\"\\u00e9\" }", "\"\\u0041\\/\"", "[ ]", "null",
            "true",
            "\"é\"", "12345678901234567890123",
        ]
        let batch = "{\"records\" : [ \(values.map { "{\"value\": \($0) }" }.joined(separator: " ,\r\n")) ]}"
        let records = try #require(try parse(batch).member("records")?.elements)
        #expect(records.compactMap { $0.member("value") }.map { text($0.raw) } == values)
    }

    @Test func values_BeyondTheTapeDepth_AreCheckedAndKeptWhole() throws {
        let batch = "{\"records\":[{\"key\":\"k\",\"value\":{\"deep\":[1,{\"er\":2}]}},{\"value\":7}]}"
        let records = try #require(try parse(batch, tapeDepth: 3).member("records")?.elements)
        let raws = records.compactMap { $0.member("value") }.map { text($0.raw) }
        #expect(raws == ["{\"deep\":[1,{\"er\":2}]}", "7"])
        let broken = "{\"records\":[{\"value\":{\"deep\":[1,{\"er\":2,\"er\":3}]}}]}"
        let error = #expect(throws: JSONError.self) { try parse(broken, tapeDepth: 3) }
        #expect(error?.pointer == "/records/0/value/deep/1/er")
    }

    @Test func members_AndElements_ComeInDocumentOrder() throws {
        let root = try parse("{\"z\":[[],[1,[2]],{}],\"a\":{\"b\":{}},\"m\":null}")
        #expect(try #require(root.members).map(\.name) == ["z", "a", "m"])
        #expect(try #require(root.member("z")?.elements).map(\.kind) == [.array, .array, .object])
        #expect(root.member("m")?.isNull == true)
        #expect(root.member("b") == nil)
        #expect(root.member("a")?.member("b")?.members.map { Array($0).count } == 0)
        #expect(root.elements == nil)
        #expect(root.member("m")?.members == nil)
    }

    @Test func scalars_AreReadStrictly() throws {
        let root = try parse(
            "[0,-5,9223372036854775807,9223372036854775808,1.0,1e2,true,false,\"12\",null,-9223372036854775808]")
        let values = Array(try #require(root.elements))
        #expect(
            values.map(\.int64) == [0, -5, .max, nil, nil, nil, nil, nil, nil, nil, .min])
        #expect(values.map(\.bool) == [nil, nil, nil, nil, nil, nil, true, false, nil, nil, nil])
        #expect(values[8].string == "12")
        #expect(values[0].string == nil)
    }

    @Test(arguments: [
        ("\"\"", ""), ("\"plain\"", "plain"), ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\u{8}\u{c}\n\r\t"),
        ("\"\\u0000\"", "\u{0}"), ("\"a\\u00e9b\\u20acc\"", "aéb€c"),
        ("\"\\ud83d\\ude00!\"", "😀!"), ("\"\\uDBFF\\uDFFF\"", "\u{10FFFF}"), ("\"\\u007F\\u0080\"", "\u{7f}\u{80}"),
        ("\"\\u07ff\\u0800\\uffff\"", "\u{7ff}\u{800}\u{ffff}"), ("\"é\\\\u0041\"", "é\\u0041"),
    ])
    func string_IsDecoded(json: String, expected: String) throws {
        #expect(try parse(json).string == expected)
        #expect(try parse("{\(json):1}").members.map { Array($0)[0].name } == expected)
        #expect(try parse("{\(json):1}").member(expected)?.int64 == 1)
    }

    @Test func stringBytes_ShareTheDocument_WhenNothingIsEscaped() throws {
        let bytes = Array("[\"shared\",\"c\\u006fpied\"]".utf8)
        let values = Array(try #require(try JSONDocument(bytes[...]).root.elements))
        #expect(values[0].stringBytes?.startIndex == 2)
        #expect(values[1].stringBytes.map(text) == "copied")
    }

    @Test func pointer_NamesEachValueOfADocument() throws {
        let root = try parse("{\"records\":[{\"a/b\":1},{\"m~n\":[true,{\"\":null}]}]}")
        let records = Array(try #require(root.member("records")?.elements))
        #expect(root.pointer == "")
        #expect(records[0].pointer == "/records/0")
        #expect(records[0].member("a/b")?.pointer == "/records/0/a~1b")
        let inner = try #require(records[1].member("m~n")?.elements)
        #expect(inner.map(\.pointer) == ["/records/1/m~0n/0", "/records/1/m~0n/1"])
        #expect(Array(inner)[1].member("")?.pointer == "/records/1/m~0n/1/")
    }

    @Test func document_OutlivesTheBufferItCameFrom() throws {
        var value: JSONValue?
        do {
            let bytes = Array("{\"kept\":[1,2,3]}".utf8)
            value = try JSONDocument(bytes[...]).root.member("kept")
        }
        #expect(value.map { text($0.raw) } == "[1,2,3]")
    }
}
