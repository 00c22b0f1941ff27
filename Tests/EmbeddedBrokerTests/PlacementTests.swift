import Broker
import Primitives
import Records
import Testing

@testable import EmbeddedBroker

@Suite struct PlacementTests {
    /// From `UtilsTest.testMurmur2` of Kafka's Java client.
    @Test(
        arguments: [
            ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
        ] as [(String, Int32)])
    func record_GoesToThePartitionOfTheJavaClient(key: String, hash: Int32) throws {
        #expect(Int32(bitPattern: murmur2(ByteSlice(key.utf8))) == hash)
        let harness = try BrokerHarness()
        _ = try harness.create(orders, TopicSettings(partitions: 7))
        let delivery = try harness.sink().deliver([outgoing(1, partition: nil, key: key)])
        // `Utils.toPositive(hash) % numPartitions`.
        #expect(delivery.map(\.partition.partition) == [(hash & 0x7FFF_FFFF) % 7])
    }

    @Test func recordsWithoutKey_StayOnAPartitionForARunAndThenMoveOn() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        let run = Partitioner.stickyRecords
        // In two batches: the run goes on over the boundary.
        var deliveries = try sink.deliver((1...10).map { outgoing($0, partition: nil) })
        deliveries += try sink.deliver((11...2 * run).map { outgoing($0, partition: nil) })
        let expected = (0..<2 * run).map { Int32($0 / run) }
        #expect(deliveries.map(\.partition.partition) == expected)
    }

    @Test func recordsOfABatch_KeepTheirOrderWithinEachPartitionAndTopic() throws {
        let seed = UInt64.random(in: .min ... .max)
        print("seed \(seed)")
        var generator = SeededGenerator(seed)
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        var expected: [TopicPartition: [String]] = [:]
        var sequence = 0
        for _ in 0..<20 {
            let batch = (0..<Int.random(in: 1...200, using: &generator)).map { _ -> OutgoingRecord in
                sequence += 1
                let topic = Bool.random(using: &generator) ? orders : payments
                return outgoing(sequence, topic, partition: Int32.random(in: 0..<4, using: &generator))
            }
            let deliveries = try sink.deliver(batch)
            #expect(deliveries.map(\.lsn) == batch.map(\.lsn))
            for (record, delivery) in zip(batch, deliveries) {
                #expect(delivery.partition.topic == record.spooled.topic)
                #expect(delivery.partition.partition == record.spooled.partition)
                // Contiguous from 0.
                #expect(delivery.offset == Int64(expected[delivery.partition]?.count ?? 0))
                expected[delivery.partition, default: []].append(text(record.spooled.record.value))
            }
        }
        for (partition, values) in expected {
            let read = try harness.fetch(partition.topic, partition.partition, max: 10_000)
            let found = read.records.map { text($0.record.value) }
            #expect(found == values)
        }
    }
}

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
