import Primitives
import Records
import TestSupport
import Testing

@testable import Outcomes

@Suite struct PackedDeliveriesTests {
    @Test func packed_TellsEachPlace_AndNothingElse() throws {
        var random = SeededGenerator(printingFor: "packed_TellsEachPlace")
        for _ in 0..<300 {
            let deliveries = randomDeliveries(&random, from: randomLSN(&random))
            let packed = PackedDeliveries.pack(deliveries)
            let range = deliveries[0].lsn...deliveries[deliveries.count - 1].lsn
            // Those in it, those between and around them, some twice.
            var asked = deliveries.map(\.lsn).filter { _ in Bool.random(using: &random) }
            asked += asked.filter { _ in Int.random(in: 0..<8, using: &random) == 0 }
            asked += asked.map { LSN(rawValue: $0.rawValue &+ 1) } + [.zero, LSN(rawValue: .max)]
            asked.sort()
            var found = [Delivery?](repeating: nil, count: asked.count)
            try PackedDeliveries.find(asked[...], in: packed, range: range) { found[$0] = $1 }
            let known = Dictionary(uniqueKeysWithValues: deliveries.map { ($0.lsn, $0) })
            #expect(found == asked.map { known[$0] })
        }
    }

    @Test func packed_TakesFourBytesARecord_OfAnOrdinaryHandOver() {
        let topic = TopicName("orders")!
        let deliveries = (0..<10_000).map { (number: Int) -> Delivery in
            let place = TopicPartition(topic: topic, partition: Int32(number % 4))
            let timestampMs = 1_800_000_000_000 + Int64(number / 20)
            let lsn = LSN(epoch: 1_800_000_000, sequence: UInt32(number))
            return Delivery(lsn: lsn, partition: place, offset: Int64(number / 4), timestampMs: timestampMs)
        }
        #expect(PackedDeliveries.pack(deliveries).count < 4 * deliveries.count + 100)
    }

    /// Never a wrong answer.
    @Test func damaged_IsRefused_WhateverByteAndBitItIs() throws {
        var random = SeededGenerator(printingFor: "damaged_IsRefused")
        let deliveries = randomDeliveries(&random, from: LSN(epoch: 9, sequence: 1), count: 20)
        let lsns = deliveries.map(\.lsn)
        let range = lsns[0]...lsns[19]
        let packed = Array(PackedDeliveries.pack(deliveries))
        for index in packed.indices {
            for bit in 0..<8 {
                var damaged = packed
                damaged[index] ^= 1 << bit
                #expect(throws: MalformedBytes.self) {
                    try PackedDeliveries.find(lsns[...], in: damaged[...], range: range) { _, _ in
                        Issue.record("byte \(index), bit \(bit): an answer")
                    }
                }
            }
            #expect(throws: MalformedBytes.self) {
                try PackedDeliveries.find(lsns[...], in: packed[..<index], range: range) { _, _ in }
            }
        }
        // Another hand-over's.
        #expect(throws: MalformedBytes.self) {
            try PackedDeliveries.find(lsns[...], in: packed[...], range: lsns[0]...lsns[18]) { _, _ in }
        }
    }
}

func randomLSN(_ random: inout SeededGenerator) -> LSN {
    LSN(epoch: UInt32.random(in: 1 ... .max, using: &random), sequence: UInt32.random(in: 0...1000, using: &random))
}

/// - Parameter count: nil: a few, or many.
func randomDeliveries(
    _ random: inout SeededGenerator, from first: LSN, count: Int? = nil, topics: Int = 4
) -> [Delivery] {
    let partitions = Int32.random(in: 1...6, using: &random)
    var lsn = first
    return (0..<(count ?? [1, 2, 30, 400].randomElement(using: &random)!)).map { _ in
        defer { lsn = lsn.advanced(by: [1, 1, 1, 2, 300].randomElement(using: &random)!) }
        let topic = TopicName("topic-\(Int.random(in: 0..<topics, using: &random))")!
        // Extremes, too: what a broker says is not for this to judge.
        let isOdd = Int.random(in: 0..<40, using: &random) == 0
        return Delivery(
            lsn: lsn,
            partition: TopicPartition(topic: topic, partition: Int32.random(in: 0..<partitions, using: &random)),
            offset: isOdd ? [.max, .min, -1001, 0].randomElement(using: &random)! : Int64(lsn.sequence),
            timestampMs: isOdd ? [.max, .min, -1].randomElement(using: &random)! : 1_800_000_000_000)
    }
}
