import Testing

@testable import HTTPServer

/// What a handler may ask a header field without copying it.
@Suite struct HeaderFieldTests {
    private func withField<Result>(_ name: String, _ value: [UInt8], _ body: (HeaderField) -> Result) -> Result {
        Array(name.utf8).withUnsafeBytes { name in
            value.withUnsafeBytes { value in body(HeaderField(name: name, value: value)) }
        }
    }

    @Test func name_IsComparedWithoutRegardToCase() {
        let cases: [(name: String, isNamed: Bool, begins: Bool)] = [
            ("postrider-key", true, true), ("Postrider-Key", true, true), ("POSTRIDER-KEY", true, true),
            ("postrider-keys", false, true), ("postrider-", false, true), ("postrider", false, false),
            // A bit apart from the letter or the dash: 0x20 is not case there.
            ("Postrider\rKey", false, false), ("0ostrider-key", false, false), ("", false, false),
        ]
        for (name, isNamed, begins) in cases {
            withField(name, []) { field in
                #expect(field.isNamed("postrider-key") == isNamed, "\(name)")
                #expect(field.nameBegins(with: "postrider-") == begins, "\(name)")
            }
        }
        #expect(withField("Postrider-Header-A_Z[", []) { $0.lowercasedName } == "postrider-header-a_z[")
    }

    @Test func value_IsComparedByItsBeginning() {
        let cases: [(value: String, begins: Bool)] = [
            ("multipart/form-data", true), ("Multipart/Form-Data; boundary=x", true), ("multipart/form-dat", false),
            ("", false), (" multipart/form-data", false),
        ]
        for (value, begins) in cases {
            withField("content-type", Array(value.utf8)) {
                #expect($0.valueBegins(with: "multipart/form-data") == begins, "\(value)")
            }
        }
    }

    @Test func textBytes_AreTheTextsBytes() {
        let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]
        let cases: [(value: [UInt8], bytes: [UInt8])] = [
            ([], []), ([0x61, 0x09, 0x7E], [0x61, 0x09, 0x7E]), (Array("é".utf8), Array("é".utf8)),
            ([0x61, 0xFF], [0x61] + replacement), ([0xC3], replacement),
        ]
        for (value, bytes) in cases {
            withField("a", value) { field in
                #expect(field.value == value)
                #expect(field.textBytes == bytes)
                #expect(Array(field.text.utf8) == bytes)
            }
        }
    }
}
