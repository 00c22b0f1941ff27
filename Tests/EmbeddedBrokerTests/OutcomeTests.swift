import Broker
import Outcomes
import Primitives
import Records
import Store
import Telemetry
import TestSupport
import Testing

@testable import EmbeddedBroker

@Suite struct OutcomeTests {
    @Test func outcomes_AreThoseOfTheHandOvers_AlsoAfterReopeningAndDeletion() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        var expected: [Delivery] = []
        for start in [1, 11, 21] {
            let topic = start == 11 ? payments : orders
            expected += try sink.deliver((start..<start + 10).map { outgoing($0, topic, partition: Int32($0 % 4)) })
        }
        try harness.sink(spool: spoolTwo).deliver([outgoing(99)])
        _ = try harness.delete(payments)
        try harness.reopen()
        let found = try outcomes(of: harness.broker, 0...99)
        #expect(found.deliveries == [nil] + expected + Array(repeating: nil, count: 69))
        #expect(found.forgotten == .zero && found.missing == .zero)
    }

    @Test func outcomes_AreTrimmed_BySize() throws {
        let harness = try BrokerHarness { $0.outcomes.bytesMax = 1_000 }
        let sink = try harness.sink()
        for start in stride(from: 1, to: 101, by: 10) {
            try sink.deliver((start..<start + 10).map { outgoing($0) })
        }
        let kept = try outcomes(of: harness.broker, 1...100).deliveries.compactMap { $0?.lsn }
        #expect((10..<90).contains(kept.count) && kept == (101 - kept.count...100).map { lsn($0) })
        let metrics = String(decoding: harness.metrics.text(), as: UTF8.self)
        #expect(metrics.contains("postrider_receipts_records \(kept.count)\n"))
        #expect(metrics.contains("postrider_receipts_expired_records_total \(100 - kept.count)\n"))
        // None of them was old.
        #expect(metrics.contains("postrider_receipts_early_records_total \(100 - kept.count)\n"))
    }

    /// A broker that is older than the spool: its lane goes on behind what this file never saw.
    @Test func claimBeyondTheCheckpoint_SaysWhatIsMissing() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        _ = try sink.deliver([], checkpoint: SinkCheckpoint(lsn: .zero, epoch: 1_800_000_000, nonce: 1))
        try sink.deliver([outgoing(1)])
        // A dead letter is passed: nothing is missing.
        _ = try sink.deliver([], checkpoint: checkpoint(2))
        let next = try harness.sink()
        _ = try next.deliver([], checkpoint: checkpoint(2))
        #expect(try outcomes(of: harness.broker, 1...2).missing == .zero)
        _ = try harness.sink().deliver([], checkpoint: checkpoint(7))
        try harness.reopen()
        #expect(try outcomes(of: harness.broker, 1...2).missing == lsn(7))
    }

    /// The checkpoint is another process's, and of what this spool held that one had not everything.
    @Test func claimBelowTheCheckpoint_SaysWhatMayBeMissing() throws {
        let harness = try BrokerHarness()
        try harness.sink().deliver([outgoing(1), outgoing(2), outgoing(9)])
        _ = try harness.sink().deliver([], checkpoint: checkpoint(4))
        let found = try outcomes(of: harness.broker, 1...9)
        #expect(found.missing == lsn(4))
        #expect(found.deliveries.compactMap { $0?.lsn } == [1, 2, 9].map { lsn($0) })
    }

    /// What older versions kept is dropped: receipts of it say no place, and not that they were never given out.
    @Test func fileOfAnOlderVersion_SaysWhatIsMissing() throws {
        // From 2038 on an LSN does not fit a signed integer.
        let checkpoints = [lsn(7), LSN(epoch: 3_000_000_000, sequence: 5), nil]
        let directory = try TemporaryDirectory()
        do {
            let current = BrokerSchema.schema
            let schema = Schema(applicationID: current.applicationID, migrations: Array(current.migrations.prefix(2)))
            let old = try Connection.open(path: "\(directory.path)/broker.sqlite", schema: schema)
            let insert = try Statement(old, "INSERT INTO sinks (spool, lane, generation, lsn) VALUES (?, ?, 1, ?)")
            for (lane, lsn) in checkpoints.enumerated() {
                let stored = lsn.map { Value.integer(Int64(bitPattern: $0.rawValue)) } ?? .null
                try insert.run(.blob((lane == 1 ? spoolTwo : spoolOne).bytes), .integer(Int64(lane)), stored)
            }
        }
        let clock = ManualClock()
        let broker = try EmbeddedBroker(directory: directory.path, clock: clock, timers: clock)
        defer { broker.close() }
        for (spool, lsn) in [(spoolOne, checkpoints[0]), (spoolTwo, checkpoints[1])] {
            let found = try broker.outcomes.find([.zero], of: spool) { _, _ in true }
            #expect(found.missing == lsn && found.forgotten == .zero)
        }
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
            let found = try outcomes(of: recovered, 0...last + 10)
            let handedOver = (0...last + 10).map { $0 > 0 && $0 <= last ? lsn($0) : nil }
            #expect(found.deliveries.map { $0?.lsn } == handedOver)
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

private func outcomes(of broker: EmbeddedBroker, _ sequences: ClosedRange<Int>) throws -> FoundOutcomes {
    try broker.outcomes.find(sequences.map { lsn($0) }, of: spoolOne) { _, _ in true }
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
