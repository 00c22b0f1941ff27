import CChecksum
import Primitives
import TestSupport
import Testing

private func crc32c(_ bytes: some Sequence<UInt8>, seed: UInt32 = 0) -> UInt32 {
    Array(bytes).withUnsafeBytes { postrider_crc32c(seed, $0.baseAddress, $0.count) }
}

private func portable(_ bytes: some Sequence<UInt8>, seed: UInt32 = 0) -> UInt32 {
    Array(bytes).withUnsafeBytes { postrider_crc32c_portable(seed, $0.baseAddress, $0.count) }
}

/// One bit at a time, straight from the definition: shares no table with what it checks.
private func bitwise(_ bytes: some Sequence<UInt8>, seed: UInt32 = 0) -> UInt32 {
    var crc = ~seed
    for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0x82f6_3b78 : 0) }
    }
    return ~crc
}

@Suite struct ChecksumTests {
    /// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
    static let vectors: [(name: String, bytes: [UInt8], crc: UInt32)] = [
        ("check value", Array("123456789".utf8), 0xe306_9283),
        ("nothing", [], 0),
        ("32 zeros", Array(repeating: 0, count: 32), 0x8a91_36aa),
        ("32 ones", Array(repeating: 0xff, count: 32), 0x62a8_ab43),
        ("32 rising", Array(0..<32), 0x46dd_794e),
        ("32 falling", (0..<32).reversed(), 0x113f_db5c),
        (
            "iSCSI read command",
            [
                0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0,
                0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
            ], 0xd996_3a56
        ),
    ]

    @Test(arguments: vectors.indices) func crc32c_MatchesThePublishedVectors(index: Int) {
        let vector = Self.vectors[index]
        #expect(crc32c(vector.bytes) == vector.crc, "\(vector.name)")
        #expect(portable(vector.bytes) == vector.crc, "\(vector.name)")
        #expect(bitwise(vector.bytes) == vector.crc, "\(vector.name)")
    }

    /// Around every length at which the implementation changes its loop.
    @Test(arguments: [0, 1, 7, 8, 9, 767, 768, 769, 1024, 24_575, 24_576, 24_577, 50_000])
    func crc32c_EqualsTheDefinition_AtEveryLoopBoundary(length: Int) {
        let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 131 &+ $0 >> 8) }
        let expected = bitwise(bytes, seed: 0x1234_5678)
        #expect(crc32c(bytes, seed: 0x1234_5678) == expected)
        #expect(portable(bytes, seed: 0x1234_5678) == expected)
    }

    @Test func crc32c_EqualsPortable_ForRandomLengthsAlignmentsAndSeeds() {
        var random = SeededGenerator(printingFor: "crc32c property test")
        let seed = random.seed
        let bytes = (0..<100_000).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        for round in 0..<2_000 {
            // Most are short, as records are.
            let longest = round % 10 == 0 ? 90_000 : 3_000
            let start = Int.random(in: 0..<64, using: &random)
            let length = Int.random(in: 0...longest, using: &random)
            let from = UInt32.random(in: .min ... .max, using: &random)
            let (fast, slow) = bytes.withUnsafeBytes { all in
                let part = UnsafeRawBufferPointer(rebasing: all[start..<start + length])
                return (
                    postrider_crc32c(from, part.baseAddress, part.count),
                    postrider_crc32c_portable(from, part.baseAddress, part.count)
                )
            }
            #expect(fast == slow, "seed \(seed), start \(start), length \(length), from \(from)")
        }
    }

    @Test func crc32c_GoesOn_WhenAResultIsPassedAsTheSeed() {
        let bytes = (0..<30_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let whole = crc32c(bytes, seed: 42)
        for cut in [0, 1, 8, 768, 1000, 24_576, 29_999, 30_000] {
            #expect(crc32c(bytes[cut...], seed: crc32c(bytes[..<cut], seed: 42)) == whole)
        }
    }

    @Test func crc32c_Differs_WhenTheSeedOrAnyBitDiffers() {
        var bytes = Array("a frame that an old segment left behind".utf8)
        let original = crc32c(bytes, seed: 1)
        #expect(crc32c(bytes, seed: 2) != original)
        for bit in 0..<bytes.count * 8 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(crc32c(bytes, seed: 1) != original)
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }

    @Test func crc32c_IsRight_WhenTheFirstCallsAreConcurrent() {
        let results = Lock<[UInt32]>([])
        let threads = (0..<8).map { index in
            WorkerThread(name: "crc-\(index)") {
                let result = crc32c(Array("123456789".utf8))
                results.withLock { $0.append(result) }
            }
        }
        for thread in threads { thread.join() }
        #expect(results.withLock { $0 } == Array(repeating: 0xe306_9283, count: 8))
    }
}
