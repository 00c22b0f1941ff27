import Broker
import Glibc
import Logging
import Primitives
import Records
import Store
import Telemetry
import TestSupport
import Testing

@testable import EmbeddedBroker

/// What the disk does to one job of a transaction is seen by the operator, and costs nobody else anything.
@Suite struct StoreFailureTests {
    private static let message = "job of a transaction failed"

    @Test func failedJob_IsLoggedAndCounted_AndARefusedOneIsNot() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        try expectRefusal("unknown_partition") { try sink.deliver([outgoing(1, partition: 99)]) }
        #expect(harness.log.lines(Self.message).isEmpty)
        #expect(harness.failures(.corrupt) == 0)

        try expectRefusal("broker_corrupt") {
            try harness.broker.writes.wait { (_) throws(JobFailure) in
                throw .store(.malformed("test", "planted"))
            }
        }
        let lines = harness.log.lines(Self.message)
        #expect(lines.count == 1)
        #expect(lines.first?.level == .error)
        #expect(lines.first?.metadata["error"]?.contains("planted") == true)
        #expect(harness.failures(.corrupt) == 1)
        try sink.deliver([outgoing(1)])
    }

    /// Whoever asked: a commit of offsets has nobody behind it who would end the process.
    @Test func failedSync_EndsTheProcess_AndRefusesEveryWriteAfterIt() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        try sink.deliver([outgoing(1)])
        try expectRefusal("broker_full") {
            try harness.broker.writes.wait { (writer) throws(JobFailure) in
                try stored { () throws(StoreError) in try writer.connection.rollback() }
                throw .store(StoreError(.full, operation: "commit", detail: "planted"))
            }
        }
        #expect(harness.fatal.withLock { $0.isEmpty })
        for _ in 0..<2 {
            try expectRefusal("broker_sync_failed") {
                try harness.broker.writes.wait { (writer) throws(JobFailure) in
                    try stored { () throws(StoreError) in try writer.connection.rollback() }
                    // SQLITE_IOERR_FSYNC, as a COMMIT says it.
                    throw .store(StoreError(.other, code: 1034, operation: "commit", detail: "planted"))
                }
            }
        }
        #expect(harness.fatal.withLock { $0.map(\.code) } == ["broker_sync_failed"])
        try expectRefusal("broker_sync_failed") { try sink.deliver([outgoing(2)]) }
        #expect(try Array(harness.values(orders).joined()) == ["v1"], "what was committed is read")
    }

    /// The number of partitions that are looked at in one transaction: what is undone with the one that fails must
    /// get its turn too.
    @Test(arguments: [1, 2, 3, 256])
    func retention_GoesOnWithTheOtherPartitions_WhenSomeFail(slicePartitions: Int) throws {
        let harness = try BrokerHarness { $0.retentionSlicePartitions = slicePartitions }
        let sink = try harness.sink()
        for topic in [orders, payments] {
            try sink.deliver((0...3).map { outgoing($0 + 1, topic, partition: Int32($0), atMs: 0) })
        }
        let failing = [partition(orders, 1), partition(orders, 2), partition(payments, 0)]
        try harness.failDeletion(of: failing)

        // A turn for each that fails and one more, and so many again for what the first round had behind it.
        for _ in 0..<(2 * (failing.count + 1)) { try harness.turn() }
        #expect(try harness.values(orders) == [[], ["v2"], ["v3"], []])
        #expect(try harness.values(payments) == [["v1"], [], [], []])
        let told = harness.log.lines(Self.message).compactMap { $0.metadata["error"] }
        for partition in failing {
            let mentions = told.filter { $0.contains("retention of \(partition): ") }
            #expect(!mentions.isEmpty, "nothing was logged of \(partition)")
        }
        #expect(harness.failures(.other) == told.count)
        // What is undone is not counted, and nothing is counted twice.
        let metrics = String(decoding: harness.metrics.text(), as: UTF8.self)
        #expect(metrics.contains("postrider_broker_expired_records_total 5\n"))

        // Once the fault is gone the next round takes the rest.
        try harness.failDeletion(of: [])
        for _ in 0..<(failing.count + 2) { try harness.turn() }
        #expect(try harness.values(orders) == [[], [], [], []])
        #expect(try harness.values(payments) == [[], [], [], []])
    }

    @Test func retention_GoesOn_WhenADeletedTopicsRecordsCannotBeRemoved() throws {
        let harness = try BrokerHarness()
        let kept = try #require(TopicName("kept"))
        let sink = try harness.sink()
        for topic in [orders, payments, kept] { try sink.deliver([outgoing(1, topic, atMs: 0)]) }
        try harness.failDeletion(of: [partition(orders, 0), partition(payments, 0)])
        for topic in [payments, orders] {
            #expect(try harness.delete(topic))
            try harness.settle()
        }
        for _ in 0..<6 { try harness.turn() }
        #expect(try harness.values(kept) == [[], [], [], []])
        let doomed = try harness.broker.writes.wait { (writer) throws(JobFailure) in writer.ledger.doomed.count }
        #expect(doomed == 2)
        #expect(harness.failures(.other) >= 2)

        try harness.failDeletion(of: [])
        for _ in 0..<4 { try harness.turn() }
        #expect(try harness.broker.writes.wait { (writer) throws(JobFailure) in writer.ledger.doomed.isEmpty })
    }

    /// The slice itself succeeds, its transaction does not: the next turn must not wait for an answer that came.
    @Test func retention_GoesOn_WhenAWholeTransactionFailed() throws {
        let harness = try BrokerHarness()
        try harness.sink().deliver([outgoing(1, atMs: 0)])
        let group = HeldGroup(harness.broker)
        harness.broker.retain(startingRound: true)
        harness.broker.writes.submit(
            Job<Writer>(completion: { (_: Result<Void, BrokerError>) in }) { (writer) throws(JobFailure) in
                // As SQLite does on some errors: the transaction is gone, the job says why.
                try stored { () throws(StoreError) in try writer.connection.execute("ROLLBACK") }
                throw .store(.malformed("test", "planted"))
            })
        group.release(afterQueued: 2)
        // Only then, or what this test asks for next becomes part of the failing transaction.
        #expect(eventually { !harness.broker.isRetaining })
        #expect(harness.log.lines("transaction failed").count == 1)
        #expect(try harness.values(orders)[0] == ["v1"])
        for _ in 0..<2 { try harness.turn() }
        #expect(try harness.values(orders)[0] == [])
    }

    private func partition(_ topic: TopicName, _ number: Int32) -> TopicPartition {
        TopicPartition(topic: topic, partition: number)
    }
}

extension BrokerHarness {
    /// One firing of retention's timer and all of its slices.
    fileprivate func turn() throws {
        clock.advance(by: broker.settings.retentionInterval)
        try settle()
    }

    /// Removing records of these fails from now on, of others no longer: as a damaged page does, of one partition.
    fileprivate func failDeletion(of partitions: [TopicPartition]) throws {
        let numbers = partitions.compactMap {
            broker.published[$0.topic]?.partitions[Int($0.partition)].number
        }
        try #require(numbers.count == partitions.count)
        let list = numbers.map { String($0) }.joined(separator: ", ")
        try broker.writes.wait { (writer) throws(JobFailure) in
            try stored { () throws(StoreError) in
                try writer.connection.execute(
                    """
                    DROP TRIGGER IF EXISTS planted;
                    CREATE TRIGGER planted BEFORE DELETE ON records WHEN OLD.id >> \(RecordKey.offsetBits) IN (\(list))
                    BEGIN SELECT RAISE(ABORT, 'planted'); END
                    """)
            }
        }
    }
}
