import TestSupport

/// All choices of a run, from its seed; and a digest of what came of them, by which two runs of a seed are compared.
struct Chance {
    private var random: SeededGenerator
    /// FNV-1a.
    private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func pick(_ range: Range<Int>) -> Int {
        range.lowerBound + Int(random.next() % UInt64(range.count))
    }

    mutating func next() -> UInt64 { random.next() }
    mutating func percent(_ chance: Int) -> Bool { pick(0..<100) < chance }
    mutating func perMille(_ chance: Int) -> Bool { pick(0..<1000) < chance }
    mutating func one<Element>(of elements: [Element]) -> Element { elements[pick(0..<elements.count)] }

    mutating func note(_ number: Int) {
        digest = (digest ^ UInt64(bitPattern: Int64(number))) &* 0x100_0000_01b3
    }
}
