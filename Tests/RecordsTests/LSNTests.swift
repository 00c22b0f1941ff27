import Records
import Testing

@Suite struct LSNTests {
    @Test func lsn_HoldsEpochAndSequence() {
        let lsn = LSN(epoch: 7, sequence: 9)
        #expect(lsn.rawValue == 7 << 32 | 9)
        #expect(lsn.epoch == 7)
        #expect(lsn.sequence == 9)
        #expect(lsn.advanced(by: 3) == LSN(epoch: 7, sequence: 12))
        #expect(LSN(epoch: 7, sequence: .max) < LSN(epoch: 8, sequence: 0))
        #expect(LSN(epoch: .max, sequence: .max).description == "18446744073709551615")
    }

    @Test func receipts_RoundTripThroughTheirText() throws {
        let receipt = Receipt(spool: SpoolID.random().short, lsn: LSN(epoch: 1_790_000_000, sequence: 42))
        #expect(Receipt(receipt.description) == receipt)
        #expect(try #require(Receipt("k3v7x2ab-1042")).lsn == LSN(rawValue: 1042))
    }

    @Test(arguments: [
        "", "-", "k3v7x2ab", "k3v7x2ab-", "k3v7x2a-1", "k3v7x2abc-1", "K3V7X2AB-1", "k3v9x2ab-1", "k3v0x2ab-1",
        "k3v7x2ab-0", "k3v7x2ab-01", "k3v7x2ab-+1", "k3v7x2ab--1", "k3v7x2ab-1 ", "k3v7x2ab-1x",
        "k3v7x2ab-18446744073709551616", "k3v7x2ab-1-1", "ékv7x2a-1",
    ])
    func receipts_AreRefused_WhenTheTextIsNone(text: String) {
        #expect(Receipt(text) == nil)
    }

    @Test func spoolID_HasItsTextForms() {
        let id = SpoolID(high: 0x0123_4567_89ab_4def, low: 0x8123_4567_89ab_cdef)
        #expect(id.description == "01234567-89ab-4def-8123-456789abcdef")
        // The leading 40 bits, 01 23 45 67 89, in base 32.
        #expect(id.short == "aerukz4j")
        #expect(SpoolID(high: 0, low: 0).short == "aaaaaaaa")
        #expect(SpoolID(high: .max, low: .max).short == "77777777")
        #expect(SpoolID(high: 0, low: 1).description == "00000000-0000-0000-0000-000000000001")
    }

    @Test func spoolID_IsRandom_WithTheBitsOfAVersion4UUID() {
        let ids = (0..<200).map { _ in SpoolID.random() }
        #expect(Set(ids).count == 200)
        #expect(ids.allSatisfy { $0.high >> 12 & 0xf == 4 && $0.low >> 62 == 2 })
    }
}
