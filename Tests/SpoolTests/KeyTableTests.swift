import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct KeyTableTests {
    private func entry(_ scope: UInt64, _ number: UInt64) -> KeyEntry {
        KeyEntry(
            scope: Digest(high: 0, low: scope), payload: Digest(high: number, low: 0), first: LSN(rawValue: number),
            count: 1, seconds: 0)
    }

    /// Small: many scopes share a home slot, so that every way of standing behind one another comes about. Large: over
    /// several chunks.
    @Test(arguments: [(40, 300, 1 << 60), (2 * KeyTable.chunkEntries, 6, 0x9e37_79b9_7f4a_7c15)])
    func table_FindsTheNewestOfEachScope_LikeADictionary(_ capacity: Int, _ rounds: Int, _ multiplier: UInt64) {
        var random = SeededGenerator(printingFor: "KeyTable")
        var table = KeyTable(capacity: capacity, seed: 0, multiplier: multiplier)
        var kept: [KeyEntry] = []
        var number: UInt64 = 0
        let scopes = UInt64(capacity) * 2
        for round in 0..<rounds {
            for _ in 0..<Int.random(in: 0...capacity / 4, using: &random) where kept.count < capacity {
                number += 1
                let added = entry(.random(in: 0..<scopes, using: &random), number)
                table.append(added)
                kept.append(added)
            }
            for _ in 0..<Int.random(in: 0...capacity / 4, using: &random) where !kept.isEmpty {
                #expect(table.first == kept.first)
                table.removeFirst()
                kept.removeFirst()
            }
            let newest = Dictionary(kept.map { ($0.scope.low, $0) }, uniquingKeysWith: { $1 })
            let wrong = (0..<scopes).filter { table.find(Digest(high: 0, low: $0)) != newest[$0] }
            #expect(wrong.isEmpty, "seed \(random.seed), round \(round)")
            #expect(table.count == kept.count)
            #expect(kept.indices.allSatisfy { table[$0] == kept[$0] })
        }
    }

    @Test func table_Grows_WhenMoreWasRecoveredThanItIsFor() {
        var table = KeyTable(capacity: 4)
        for number in 1...1000 { table.append(entry(UInt64(number), UInt64(number))) }
        let wrong = (1...1000).filter { (scope: UInt64) in
            table.find(Digest(high: 0, low: scope))?.first.rawValue != scope
        }
        #expect(wrong.isEmpty)
        #expect(table.find(Digest(high: 0, low: 1001)) == nil)
        #expect(MemoryLayout<KeyEntry>.stride == 48)
    }
}
