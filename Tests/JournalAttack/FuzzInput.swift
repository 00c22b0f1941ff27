import TestSupport

/// What a fuzzer chooses: which journal, and what is done to it.
public struct FuzzInput: Sendable {
    /// Things done in one case; the rest of the input has no meaning.
    public static let damagesMax = 12
    private static let bytesOfOne = 8

    private let journals: [Verdict]
    private let targets: [[String]]
    private let earlier: [[(path: String, bytes: [UInt8])]]

    /// Writes one journal of each kind. - Throws: what the writer throws.
    public init(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let generated = try GeneratedJournal.Kind.allCases.map { try GeneratedJournal($0, random: &random) }
        journals = generated.map { Verdict($0) }
        targets = generated.map { journal in
            journal.segments + ["META", "CHECKPOINT"].map { GeneratedJournal.directory + "/" + $0 }
        }
        earlier = generated.map { $0.earlier.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }

    /// The first byte chooses the journal; each eight that follow are what is done, to which file, and three numbers.
    public func decode(_ input: [UInt8]) -> (journal: Int, damage: [Damage]) {
        guard let first = input.first else { return (0, []) }
        let journal = Int(first) % journals.count
        var damage: [Damage] = []
        var place = 1
        while place + Self.bytesOfOne <= input.count, damage.count < Self.damagesMax {
            let word = { (at: Int) in Int(input[place + at]) | Int(input[place + at + 1]) << 8 }
            let files = targets[journal]
            let file = files[Int(input[place + 1]) % files.count]
            damage += self.damage(
                Int(input[place]), file, files[word(6) % files.count], word(2), word(4), word(6), earlier[journal])
            place += Self.bytesOfOne
        }
        return (journal, damage)
    }

    private func damage(
        _ choice: Int, _ file: String, _ other: String, _ a: Int, _ b: Int, _ c: Int,
        _ earlier: [(path: String, bytes: [UInt8])]
    ) -> [Damage] {
        let sectors = 12
        switch choice % 10 {
        case 0: return [.truncate(file, bytes: a)]
        case 1: return [.flip(file, bit: a * 8 + b % 8)]
        case 2: return [.zeroSector(file, a % sectors)]
        case 3: return [.swapSectors(file, a % sectors, with: other, b % sectors)]
        case 4: return [.repeatSector(file, a % sectors, over: other, b % sectors)]
        case 5: return [.splice(from: file, a..<a + b % 2048, into: other, at: c)]
        case 6:
            if earlier.isEmpty { return [] }
            let old = earlier[a % earlier.count]
            return [.replace(b % 4 == 0 ? file : old.path, old.bytes)]
        case 7: return file.hasSuffix(".seg") ? [.delete(file)] : []
        case 8: return [.write(file, [b, c].flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }, at: a)]
        default:
            // A field of a frame's header, and checksums that fit.
            guard file.hasSuffix(".seg") else { return [] }
            let place = a & ~7
            let bytes = [UInt8(c & 255), UInt8(c >> 8)]
            return [.write(file, bytes, at: place + 8 + b % 30), .seal(file, at: place)]
        }
    }

    /// Runs one case. - Returns: broken promises, in words.
    public func run(_ input: [UInt8]) throws -> [String] {
        let (journal, damage) = decode(input)
        var verdict = journals[journal]
        try verdict.check(damage)
        return verdict.violations
    }
}
