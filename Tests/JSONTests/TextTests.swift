import JSON
import Primitives
import TestSupport
import Testing

@Suite struct TextTests {
    /// RFC 4648, section 10, and the two characters that the URL alphabet has otherwise.
    static let vectors: [(bytes: [UInt8], text: String)] = [
        ([], ""), (Array("f".utf8), "Zg=="), (Array("fo".utf8), "Zm8="), (Array("foo".utf8), "Zm9v"),
        (Array("foob".utf8), "Zm9vYg=="), (Array("fooba".utf8), "Zm9vYmE="), (Array("foobar".utf8), "Zm9vYmFy"),
        ([0xfb, 0xff, 0xfe], "+//+"), ([0], "AA=="), ([0xff], "/w=="),
    ]

    @Test(arguments: vectors.indices) func base64_MatchesTheVectors(index: Int) throws {
        let (bytes, text) = Self.vectors[index]
        #expect(Base64.encode(bytes[...]) == Array(text.utf8))
        #expect(try Base64.decode(Array(text.utf8)[...]) == bytes)
    }

    @Test(arguments: [
        ("Zg=", Base64Error(.badLength, position: 3)), ("Zg", Base64Error(.badLength, position: 2)),
        ("Z===", Base64Error(.badPadding, position: 1)), ("====", Base64Error(.badPadding, position: 0)),
        ("Zg==Zg==", Base64Error(.badPadding, position: 2)), ("Zm=v", Base64Error(.badPadding, position: 2)),
        ("Zh==", Base64Error(.trailingBits, position: 1)), ("Zm9=", Base64Error(.trailingBits, position: 2)),
        ("-__-", Base64Error(.badCharacter, position: 0)), ("Zm 9", Base64Error(.badCharacter, position: 2)),
        ("Zm9v\nZm9", Base64Error(.badCharacter, position: 4)), ("Zm9é", Base64Error(.badLength, position: 5)),
    ])
    func base64_RefusesWithPosition(text: String, expected: Base64Error) {
        #expect(throws: expected) { try Base64.decode(Array(text.utf8)[...]) }
    }

    @Test func base64_RoundTrips() throws {
        var random = SeededGenerator(printingFor: "base 64 round trip")
        for length in 0..<300 {
            let bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let padded = [0] + bytes
            #expect(try Base64.decode(Base64.encode(padded[1...])[...]) == bytes, "seed \(random.seed)")
        }
    }

    @Test func isValidUTF8_AgreesWithTheStandardLibrary() {
        var random = SeededGenerator(printingFor: "UTF-8")
        // The bytes at the edges of the ranges, at random: most sequences are nearly right.
        let edges: [UInt8] = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4,
            0xf5, 0xff,
        ]
        var valid = 0
        for _ in 0..<50_000 {
            let ascii = Int.random(in: 0..<3, using: &random) * 9
            let tail = (0..<Int.random(in: 0..<5, using: &random)).map { _ in edges.randomElement(using: &random)! }
            let bytes = [UInt8](repeating: 0x61, count: ascii) + tail
            let expected = String(validating: bytes, as: UTF8.self) != nil
            if expected { valid += 1 }
            #expect(isValidUTF8(bytes[...]) == expected, "seed \(random.seed): \(bytes)")
        }
        #expect(valid > 100)
    }
}
