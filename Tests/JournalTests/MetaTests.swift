import Records
import Testing

@testable import Journal

@Suite struct MetaTests {
    /// Nobody can tell any more whether an epoch before the list was one of ours: what is remembered of it stays.
    @Test func epochs_BeforeAFullList_CountAsKnown() {
        var meta = Meta(spool: .random(), lanes: 1)
        for number in 0..<Meta.epochsMax { meta.append(Meta.Epoch(number: UInt32(100 + 2 * number), nonce: 1)) }
        #expect(!meta.isKnown(epoch: 101))
        #expect(meta.isKnown(epoch: 100) && meta.isKnown(epoch: 102))
        #expect(meta.isKnown(epoch: 99), "the list is full: there may have been more")
        let newest = UInt32(100 + 2 * Meta.epochsMax)
        meta.append(Meta.Epoch(number: newest, nonce: 1))
        #expect(meta.isKnown(epoch: 100) && meta.isKnown(epoch: newest))
        #expect(!meta.isKnown(epoch: 103) && !meta.isKnown(epoch: newest + 1))
    }

    @Test func epochs_BeforeAShortList_AreUnknown() {
        var meta = Meta(spool: .random(), lanes: 1)
        #expect(!meta.isKnown(epoch: 1))
        meta.append(Meta.Epoch(number: 7, nonce: 1))
        #expect(meta.isKnown(epoch: 7) && !meta.isKnown(epoch: 6) && !meta.isKnown(epoch: 8))
    }
}
