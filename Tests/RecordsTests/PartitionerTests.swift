import Primitives
import Records
import Testing

@Suite struct PartitionerTests {
    /// Computed by `org.apache.kafka.common.utils.Utils.murmur2`; the first six are in Kafka's own UtilsTest.
    static let vectors: [(text: String, hash: Int32)] = [
        ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
    ]

    @Test(arguments: vectors.indices) func murmur2_IsTheJavaClients(index: Int) {
        let (text, hash) = Self.vectors[index]
        #expect(Int32(bitPattern: murmur2(Array(text.utf8)[...])) == hash)
        // Not only when the slice begins at 0.
        #expect(Int32(bitPattern: murmur2(Array("xyz\(text)".utf8)[3...])) == hash)
    }

    @Test func keys_GoWhereTheJavaClientPutsThem() {
        var partitioner = Partitioner()
        for (text, hash) in Self.vectors {
            // As DefaultPartitioner: toPositive(murmur2(key)) % partitions.
            let expected = (hash & 0x7fff_ffff) % 12
            #expect(partitioner.partition(key: Array(text.utf8)[...], explicit: nil, count: 12) == expected)
        }
    }

    @Test func explicitPartition_WinsOverTheKey() {
        var partitioner = Partitioner()
        #expect(partitioner.partition(key: Array("21".utf8)[...], explicit: 5, count: 12) == 5)
    }

    @Test func recordsWithoutKey_StayOnAPartitionForARun_ThenTakeTheNext() {
        var partitioner = Partitioner()
        let run = Partitioner.stickyRecords
        var seen: [Int32] = []
        for index in 0..<run * 4 {
            let partition = partitioner.partition(key: nil, explicit: nil, count: 3)
            if index % run == 0 { seen.append(partition) }
            #expect(partition == seen.last)
            // Records with a key or a partition of their own do not end a run.
            _ = partitioner.partition(key: [1], explicit: nil, count: 3)
            _ = partitioner.partition(key: nil, explicit: 1, count: 3)
        }
        #expect(seen == [0, 1, 2, 0])
        var resumed = Partitioner(startingAt: run)
        #expect(resumed.partition(key: nil, explicit: nil, count: 3) == 1)
    }

    @Test func lanes_NeverChange() throws {
        // Stored records are found by lane: another function would lose them.
        let lanes = try ["orders", "payments", "a", "_postrider_checkpoints"].map {
            lane(of: try #require(TopicName($0)), lanes: 8)
        }
        #expect(lanes == [6, 6, 0, 7])
        #expect(lane(of: try #require(TopicName("orders")), lanes: 1) == 0)
    }
}
