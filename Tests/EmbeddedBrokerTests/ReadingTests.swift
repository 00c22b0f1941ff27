import Broker
import Primitives
import Records
import Store
import Testing
import TestSupport

@testable import EmbeddedBroker

@Suite struct ReadingTests {
    @Test func fetch_Fails_WhenThereIsNoSuchTopicOrPartition() throws {
        let harness = try BrokerHarness()
        try expectRefusal("unknown_topic") { _ = try harness.fetch(orders) }
        _ = try harness.create(orders)
        for partition in [4, -1] as [Int32] {
            try expectRefusal("unknown_partition") { _ = try harness.fetch(orders, partition) }
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var from: Int64 = 0
        var to: Int64?
        var max = 1000
        var bytes = 1 << 20
        var offsets: [Int64]
        var next: Int64
    }

    /// Offsets 0, 1, 2, a gap of two, 5, 6, 7, a gap of two: the end is 10. A value is 1,000 bytes.
    static let cases = [
        Case(testDescription: "all", offsets: [0, 1, 2, 5, 6, 7], next: 10),
        Case(testDescription: "up to a gap", to: 3, offsets: [0, 1, 2], next: 3),
        Case(testDescription: "up to the middle of a gap", to: 4, offsets: [0, 1, 2], next: 4),
        Case(testDescription: "from a gap", from: 3, to: 6, offsets: [5], next: 6),
        Case(testDescription: "only a gap", from: 3, to: 5, offsets: [], next: 5),
        Case(testDescription: "the gap at the end", from: 8, offsets: [], next: 10),
        Case(testDescription: "as many as asked for", max: 2, offsets: [0, 1], next: 2),
        Case(testDescription: "as many as asked for, before a gap", max: 3, offsets: [0, 1, 2], next: 3),
        Case(testDescription: "all, as many as there are", max: 6, offsets: [0, 1, 2, 5, 6, 7], next: 10),
        Case(testDescription: "by bytes", bytes: 2100, offsets: [0, 1], next: 2),
        Case(testDescription: "at least one, however large", bytes: 1, offsets: [0], next: 1),
        Case(testDescription: "at least one record asked for", max: 0, offsets: [0], next: 1),
        Case(testDescription: "at the end", from: 10, offsets: [], next: 10),
        Case(testDescription: "past the end", from: 99, offsets: [], next: 99),
        Case(testDescription: "the end below the position", from: 6, to: 2, offsets: [], next: 6),
        Case(testDescription: "an end past the end", from: 7, to: 99, offsets: [7], next: 10),
    ]

    @Test(arguments: cases)
    func fetch_ReturnsTheRange(expected: Case) throws {
        let harness = try BrokerHarness { $0.gapAfterEachHandOver = { _ in 2 } }
        let sink = try harness.sink()
        let value = String(repeating: "x", count: 1000)
        for batch in [1...3, 4...6] { try sink.deliver(batch.map { outgoing($0, value: value) }) }
        let result = try harness.fetch(
            orders, from: expected.from, to: expected.to, max: expected.max, bytes: expected.bytes)
        #expect(result.records.map(\.offset) == expected.offsets)
        #expect(result.nextOffset == expected.next)
        #expect(result.lowWatermark == 0)
        #expect(result.highWatermark == 10)
    }

    @Test func fetch_SeesARecord_OnceDeliverReturned() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        for sequence in 1...50 {
            try sink.deliver([outgoing(sequence)])
            #expect(try harness.fetch(orders, from: Int64(sequence - 1)).records.count == 1)
        }
    }

    @Test func readsQueuedMax_RefusesOnABrokerThread_WhenTheReaderIsBehind() throws {
        let harness = try BrokerHarness { $0.readsQueuedMax = 2 }
        _ = try harness.create(orders)
        let started = Monitor(false)
        let released = Monitor(false)
        harness.broker.reads.submit(
            Job<Reader>(completion: { (_: Result<Void, BrokerError>) in }) { (_) throws(JobFailure) in
                started.withLock { $0 = true }
                started.broadcast()
                _ = released.wait(until: patienceEnd()) { $0 ? true : nil }
            })
        let running = started.wait(until: patienceEnd()) { $0 ? true : nil }
        #expect(running == true)
        let codes = Monitor<[String]>([])
        let request = FetchRequest(
            partition: TopicPartition(topic: orders, partition: 0), offset: 0, recordsMax: 1, bytesMax: 1)
        for _ in 0..<3 {
            harness.broker.fetch(request) { result in
                codes.withLock { codes in
                    if case .failure(let error) = result { codes.append(error.code) } else { codes.append("read") }
                }
                codes.broadcast()
            }
        }
        // Nothing is answered on this thread, not even the refusal.
        let early = codes.withLock { $0 }
        #expect(early.isEmpty)
        released.withLock { $0 = true }
        released.broadcast()
        let all = codes.wait(until: patienceEnd()) { $0.count == 3 ? $0 : nil }
        #expect(all == ["read", "read", "broker_busy"])
    }

    @Test func offsetsAtOrAfter_FindTheFirstRecordOfThatTime() throws {
        let seed = UInt64.random(in: .min ... .max)
        print("seed \(seed)")
        var generator = SeededGenerator(seed)
        let harness = try BrokerHarness { $0.gapAfterEachHandOver = { _ in 3 } }
        let sink = try harness.sink()
        var appended: [(offset: Int64, atMs: Int64)] = []
        var sequence = 0
        // Three chunks and a piece; the times mostly rise.
        while appended.count < 3 * Int(TimeIndex.chunkOffsets) + 100 {
            let batch = (0..<1500).map { _ -> OutgoingRecord in
                sequence += 1
                return outgoing(
                    sequence, value: "", atMs: Int64(sequence) + Int64.random(in: -500...500, using: &generator))
            }
            appended += try sink.deliver(batch).map { ($0.offset, $0.timestampMs) }
        }
        let end = try #require(appended.last).offset + 1 + 3
        for round in 0..<2 {
            let low = try harness.fetch(orders, max: 1).lowWatermark
            for _ in 0..<100 {
                let time = Int64.random(in: -1000...Int64(sequence) + 1000, using: &generator)
                let expected = appended.first { $0.offset >= low && $0.atMs >= time }?.offset ?? end
                let found = try answer { harness.broker.offsets(of: orders, atOrAfterMs: time, completion: $0) }
                #expect(found == [0: expected, 1: 0, 2: 0, 3: 0], "time \(time), round \(round)")
            }
            // Again with a partition whose first chunk is cut in the middle.
            if round == 0 {
                try harness.reopen { $0.retentionBytes = 1 }
                try harness.broker.writes.wait { (writer) throws(JobFailure) in
                    var topic = writer.ledger.topics[orders]
                    topic?.partitions[0].low = 2000
                    writer.ledger.topics[orders] = topic
                    guard let partition = topic?.partitions[0] else { return }
                    try stored { () throws(StoreError) in try writer.save(partition) }
                }
            }
        }
        try expectRefusal("unknown_topic") {
            _ = try answer { harness.broker.offsets(of: payments, atOrAfterMs: 0, completion: $0) }
        }
    }
}
