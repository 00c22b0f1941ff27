import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import EmbeddedBroker

@Suite struct OutcomeTests {
    @Test func outcomes_AreThoseOfTheHandOvers_AlsoAfterReopeningAndDeletion() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        var expected: Set<Delivery> = []
        for start in [1, 11, 21] {
            let topic = start == 11 ? payments : orders
            expected.formUnion(
                try sink.deliver((start..<start + 10).map { outgoing($0, topic, partition: Int32($0 % 4)) }))
        }
        try harness.sink(spool: spoolTwo).deliver([outgoing(99)])
        _ = try harness.delete(payments)
        try harness.reopen()
        let recent = try harness.broker.recentDeliveries(spool: spoolOne, limit: 1000)
        #expect(recent.count == 30)
        #expect(Set(recent) == expected)
        // The newest, when there are more.
        let newest = try harness.broker.recentDeliveries(spool: spoolOne, limit: 12)
        let last = expected.filter { $0.lsn >= lsn(19) }
        #expect(Set(newest) == last)
        #expect(try harness.broker.recentDeliveries(spool: spoolOne, limit: 0).isEmpty)
    }

    @Test func outcomes_AreTrimmed_ButNeverBelowTheSetting() throws {
        let harness = try BrokerHarness { $0.outcomesKept = 25 }
        let sink = try harness.sink()
        for start in stride(from: 1, to: 101, by: 10) {
            try sink.deliver((start..<start + 10).map { outgoing($0) })
        }
        let kept = try harness.broker.recentDeliveries(spool: spoolOne, limit: 1000)
        let last = Set((71...100).map { lsn($0) })
        #expect(Set(kept.map(\.lsn)) == last)
    }

    /// What a crash leaves is the file and its log as they are at that moment.
    @Test func copyOfTheFiles_HoldsWholeHandOvers_WheneverItIsTaken() throws {
        let harness = try BrokerHarness { $0.checkpointPages = 50 }
        let broker = harness.broker
        let stop = Lock(false)
        let delivered = Lock(0)
        let failure = Lock<BrokerError?>(nil)
        let lane = WorkerThread(name: "lane") {
            do throws(BrokerError) {
                let sink = try broker.openSink(spool: spoolOne, lane: 0).sink
                var sequence = 0
                while !stop.withLock({ $0 }), sequence < 20_000 {
                    let batch = (1...10).map { outgoing(sequence + $0, partition: Int32($0 % 4)) }
                    try sink.deliver(batch)
                    sequence += 10
                    delivered.withLock { $0 = sequence }
                }
            } catch {
                failure.withLock { $0 = error }
            }
        }
        defer {
            stop.withLock { $0 = true }
            lane.join()
            let error = failure.withLock { $0 }
            #expect(error == nil)
        }
        var compared = 0
        let deadline = patienceEnd()
        while compared < 15, SystemClock().now() < deadline {
            let before = delivered.withLock { $0 }
            // No transaction and no checkpoint is running while this job copies: the log is whole, but nothing of it
            // was handed to anybody in an orderly way. Copied without it the two files would be of two moments, which
            // no crash leaves.
            let copy = try FileCopy(of: harness.directory, heldBy: broker)
            let recovered = try EmbeddedBroker(
                directory: copy.directory, clock: harness.clock, timers: harness.clock)
            defer {
                recovered.close()
                withExtendedLifetime(copy) {}
            }
            let previous = try recovered.openSink(spool: spoolOne, lane: 0).previous
            let last = Int((previous?.lsn ?? lsn(0)).sequence)
            #expect(last >= before)
            #expect(last % 10 == 0)
            let outcomes = try recovered.recentDeliveries(spool: spoolOne, limit: 100_000)
            let handedOver = Set((0..<last).map { lsn($0 + 1) })
            #expect(Set(outcomes.map(\.lsn)) == handedOver)
            guard last > 0 else { continue }
            compared += 1
            var values: Set<String> = []
            for partition in 0..<4 as Range<Int32> {
                let request = FetchRequest(
                    partition: TopicPartition(topic: orders, partition: partition), offset: 0, recordsMax: 40_000,
                    bytesMax: 32 << 20)
                let read = try answer { recovered.fetch(request, completion: $0) }
                #expect(read.records.map(\.offset) == Array(0..<read.highWatermark))
                values.formUnion(read.records.map { text($0.record.value) })
            }
            let expected = Set((0..<last).map { "v\($0 + 1)" })
            #expect(values == expected)
        }
        #expect(compared == 15)
    }
}

/// The broker's files, copied inside a job of its writer, that is in the middle of a transaction.
private struct FileCopy {
    private let parent: TemporaryDirectory
    var directory: String { parent.path }

    init(of source: String, heldBy broker: EmbeddedBroker) throws {
        parent = try TemporaryDirectory()
        let target = parent.path
        try broker.writes.wait { (_) throws(JobFailure) in
            do throws(FileSystemError) {
                let files = SystemFileSystem()
                for name in try files.list(source) where name.hasSuffix(".sqlite") || name.hasSuffix("-wal") {
                    let from = try files.open("\(source)/\(name)", .readOnly)
                    let bytes = try from.read(Int(try from.size()), at: 0)
                    try files.open("\(target)/\(name)", .createOrTruncate).writeAll(bytes, at: 0)
                }
            } catch {
                throw .refused(BrokerError(.processFatal, code: "copy", detail: error.description))
            }
        }
    }
}
