import JSON
import Primitives
import TestSupport
import Testing

/// Random JSON texts and strings.
struct SeededText {
    private static let depth = 4
    var random: SeededGenerator

    init(printingFor test: String) { random = SeededGenerator(printingFor: test) }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    mutating func string() -> String {
        let alphabet: [Unicode.Scalar] = [
            "a", "Z", "\"", "\\", "/", "\n", "\u{0}", "\u{1f}", "\u{7f}", "é", "€", "😀", " ",
        ]
        var string = ""
        for _ in 0..<below(40) { string.unicodeScalars.append(alphabet[below(alphabet.count)]) }
        return string
    }

    /// Writes a value; keys get a number so that none comes twice.
    mutating func write(to writer: inout JSONWriter, depth: Int) {
        switch below(depth > 0 ? 9 : 6) {
        case 0: writer.null()
        case 1: writer.bool(below(2) == 0)
        case 2: writer.integer(Int64.random(in: .min ... .max, using: &random))
        case 3: writer.double(Double(below(1_000_000)) / 997)
        case 4, 5: writer.string(string())
        case 6:
            writer.array { (writer) in
                for _ in 0..<below(4) { write(to: &writer, depth: depth - 1) }
            }
        default:
            writer.object { (writer) in
                // Now and then more keys than are compared pair by pair.
                for index in 0..<below(below(20) == 0 ? 24 : 4) {
                    writer.key("\(index)\(string())")
                    write(to: &writer, depth: depth - 1)
                }
            }
        }
    }

    mutating func document() -> [UInt8] {
        var writer = JSONWriter()
        write(to: &writer, depth: Self.depth)
        return writer.bytes
    }
}

/// Writes a value again from what the walker finds.
private func rewrite(_ value: JSONValue, to writer: inout JSONWriter) {
    switch value.kind {
    case .null, .bool, .number: writer.raw(value.raw)
    case .string: writer.string(value.string ?? "")
    case .array:
        writer.array { writer in
            for element in value.elements! { rewrite(element, to: &writer) }
        }
    case .object:
        writer.object { writer in
            for member in value.members! {
                writer.key(member.name)
                rewrite(member.value, to: &writer)
            }
        }
    }
}

@Suite struct JSONMutationTests {
    @Test func documents_RoundTripThroughTheWalker() throws {
        var text = SeededText(printingFor: "JSON round trip")
        for _ in 0..<500 {
            let bytes = text.document()
            let root = try JSONDocument(bytes[...]).root
            #expect(Array(root.raw) == bytes)
            var writer = JSONWriter()
            rewrite(root, to: &writer)
            #expect(writer.bytes == bytes)
        }
    }

    @Test func mutatedDocuments_AreRefusedWithinTheirBounds_OrAreValid() throws {
        var text = SeededText(printingFor: "JSON mutation")
        let seed = text.random.seed
        let interesting = Array("\"\\{}[],:0-+.eEu \u{1f}\u{0}".utf8) + [0x80, 0xc3, 0xed, 0xff]
        var (accepted, refused) = (0, 0)
        for _ in 0..<2_000 {
            var bytes = text.document()
            for _ in 0...text.below(3) where !bytes.isEmpty {
                let at = text.below(bytes.count)
                switch text.below(4) {
                case 0: bytes[at] = interesting[text.below(interesting.count)]
                case 1: bytes.insert(interesting[text.below(interesting.count)], at: at)
                case 2: bytes.remove(at: at)
                default: bytes.removeSubrange(at...)
                }
            }
            do {
                let root = try JSONDocument(bytes[...]).root
                accepted += 1
                // Whatever is accepted can be walked to the end, is UTF-8, and is accepted again when written anew.
                #expect(isValidUTF8(bytes[...]), "seed \(seed)")
                var writer = JSONWriter()
                rewrite(root, to: &writer)
                #expect(scanError(writer.bytes) == nil, "seed \(seed): \(bytes)")
            } catch {
                refused += 1
                #expect((0...bytes.count).contains(error.position), "seed \(seed): \(bytes)")
                // Nothing before the position can be at fault: a text that ends there is refused at that point at most.
                let shorter = scanError(Array(bytes[..<error.position]))
                #expect(shorter.map { $0.position <= error.position } ?? true, "seed \(seed): \(bytes)")
            }
        }
        #expect(accepted > 100 && refused > 100, "the mutations must reach both outcomes: seed \(seed)")
    }

    @Test func keptAndUnkeptScans_AgreeOnEveryMutation() {
        var text = SeededText(printingFor: "JSON tape depth")
        let seed = text.random.seed
        for _ in 0..<2_000 {
            var bytes = text.document()
            if text.below(2) == 0 { bytes[text.below(bytes.count)] = UInt8(text.below(256)) }
            let whole = scanError(bytes, limits: .recordValue)
            #expect(isValidJSON(bytes[...]) == (whole == nil), "seed \(seed): \(bytes)")
            let depth = text.below(4)
            do {
                _ = try JSONDocument(bytes[...], limits: .recordValue, tapeDepth: depth)
                #expect(whole == nil, "seed \(seed): \(bytes)")
            } catch {
                #expect(whole == error, "seed \(seed): \(bytes)")
            }
        }
    }
}
