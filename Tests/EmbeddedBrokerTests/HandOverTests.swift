import Broker
import Glibc
import Outcomes
import Primitives
import Records
import Store
import TestSupport
import Testing

@testable import EmbeddedBroker

@Suite struct HandOverTests {
    @Test func twinSink_IsFencedAndAppendsNothing() throws {
        let harness = try BrokerHarness()
        let first = try harness.sink()
        try first.deliver([outgoing(1)])
        let (second, previous) = try harness.broker.openSink(spool: spoolOne, lane: 0)
        #expect(previous == checkpoint(1))
        for batch in [[outgoing(2)], []] {
            try expectRefusal(class: .fenced) { _ = try first.deliver(batch, checkpoint: checkpoint(2)) }
        }
        try second.deliver([outgoing(2, value: "second")])
        #expect(try harness.values(orders)[0] == ["v1", "second"])
        // Other lanes and other spools are not fenced by it.
        let others = [try harness.sink(lane: 1), try harness.sink(spool: spoolTwo)]
        _ = try harness.sink()
        for other in others { try other.deliver([outgoing(3)]) }
    }

    @Test func fencing_HoldsAfterReopening() throws {
        let harness = try BrokerHarness()
        _ = try harness.sink()
        try harness.reopen()
        let old = EmbeddedSink(key: SinkKey(spool: spoolOne, lane: 0), generation: 1, writes: harness.broker.writes)
        try old.deliver([outgoing(1)])
        _ = try harness.sink()
        try expectRefusal(class: .fenced) { try old.deliver([outgoing(2)]) }
    }

    @Test func openSink_ReturnsNoCheckpoint_UntilOneWasDelivered() throws {
        let harness = try BrokerHarness()
        for _ in 0..<2 { #expect(try harness.broker.openSink(spool: spoolOne, lane: 3).previous == nil) }
        let claim = SinkCheckpoint(lsn: .zero, epoch: 7, nonce: .max)
        #expect(try harness.sink(lane: 3).deliver([], checkpoint: claim).isEmpty)
        try harness.reopen()
        #expect(try harness.broker.openSink(spool: spoolOne, lane: 3).previous == claim)
        #expect(try harness.broker.openSink(spool: spoolTwo, lane: 3).previous == nil)
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        var testDescription: String { name }
        var name: String
        var bad: OutgoingRecord
        var code: String
        var createTopics = true
    }

    static let refusals = [
        Refusal(name: "partition past the end", bad: outgoing(2, partition: 4), code: "unknown_partition"),
        Refusal(name: "negative partition", bad: outgoing(2, partition: -1), code: "unknown_partition"),
        Refusal(
            name: "partition past the default", bad: outgoing(2, payments, partition: 4), code: "unknown_partition"),
        Refusal(
            name: "too large", bad: outgoing(2, value: String(repeating: "x", count: 2001)), code: "record_too_large"),
        Refusal(
            name: "too large with its headers",
            bad: outgoing(
                2, value: String(repeating: "x", count: 1990), headers: [RecordHeader(name: "0123456789", value: [1])]),
            code: "record_too_large"),
        Refusal(name: "no topic", bad: outgoing(2, payments), code: "unknown_topic", createTopics: false),
        Refusal(
            name: "header name",
            bad: outgoing(2, headers: [RecordHeader(name: String(repeating: "n", count: 65_536), value: nil)]),
            code: "header_name_too_long"),
    ]

    @Test(arguments: refusals)
    func deliver_IsRecordFatalAndAppendsNothing_WhenOneRecordOfABatchIsBad(refusal: Refusal) throws {
        let harness = try BrokerHarness {
            $0.recordBytesMax = 2000
            $0.createTopics = refusal.createTopics
        }
        _ = try harness.create(orders)
        let sink = try harness.sink()
        _ = try sink.deliver([], checkpoint: checkpoint(0))
        for batch in [[outgoing(1), refusal.bad, outgoing(3)], [refusal.bad]] {
            let error = try brokerError { _ = try sink.deliver(batch, checkpoint: checkpoint(3)) }
            #expect(error.class == .recordFatal)
            #expect(error.code == refusal.code)
        }
        #expect(try harness.values(orders) == [[], [], [], []])
        #expect(try harness.describe(payments) == nil)
        #expect(try harness.broker.openSink(spool: spoolOne, lane: 0).previous == checkpoint(0))
    }

    @Test func records_ComeBackAsTheyWere() throws {
        let harness = try BrokerHarness()
        var records = [
            Record(key: nil, value: nil, timestampMs: -1),
            Record(key: [], value: [], timestampMs: 0),
            Record(key: [0, 255], value: ByteSlice(repeating: 7, count: 100_000), timestampMs: .max),
        ]
        records[2].headers = [
            RecordHeader(name: "", value: nil), RecordHeader(name: "ä", value: []), RecordHeader(name: "ä", value: [1]),
        ]
        let batch = records.enumerated().map { index, record in
            OutgoingRecord(
                lsn: lsn(index + 1),
                spooled: SpoolRecord(topic: orders, partition: 2, timestampIsGateways: false, record: record))
        }
        let deliveries = try harness.sink().deliver(batch)
        #expect(deliveries.map(\.offset) == [0, 1, 2])
        #expect(deliveries.map(\.lsn) == [lsn(1), lsn(2), lsn(3)])
        #expect(deliveries.map(\.timestampMs) == [-1, 0, .max])
        try harness.reopen()
        let read = try harness.fetch(orders, 2)
        #expect(read.records.map(\.record) == records)
        #expect(read.records.map(\.offset) == [0, 1, 2])
    }

    @Test func oneFailingJobOfAGroup_UndoesOnlyItself() throws {
        let harness = try BrokerHarness()
        let (good, bad) = (try harness.sink(lane: 0), try harness.sink(lane: 1))
        try good.deliver([outgoing(1)])
        let group = HeldGroup(harness.broker)
        let results = Lock<[String: Result<[Delivery], BrokerError>]>([:])
        let lanes = [("good", good, outgoing(2)), ("bad", bad, outgoing(2, partition: 99))].map { name, sink, record in
            WorkerThread(name: name) {
                let result = Result { () throws(BrokerError) in try sink.deliver([record]) }
                results.withLock { $0[name] = result }
            }
        }
        // Fails after it appended, as a disk does: a record, a topic and an offset must all be undone.
        let storeFailure = Lock<BrokerError?>(nil)
        harness.broker.writes.submit(
            Job<Writer>(completion: { (result: Result<Void, BrokerError>) in
                if case .failure(let error) = result { storeFailure.withLock { $0 = error } }
            }) { (writer) throws(JobFailure) in
                _ = try writer.createTopic(payments, TopicSettings())
                let key = SinkKey(spool: spoolTwo, lane: 0)
                _ = try stored { () throws(StoreError) in try writer.openSink(key) }
                let handOver: HandOver
                do throws(BrokerError) {
                    handOver = try HandOver(
                        sink: key, generation: 1, batch: [outgoing(1, value: "undone")], checkpoint: checkpoint(1),
                        isClaim: false)
                } catch {
                    throw .refused(error)
                }
                _ = try writer.handOver(handOver)
                throw .store(.malformed("test", "failed half way"))
            })
        group.release(afterQueued: 3)
        for lane in lanes { lane.join() }
        try harness.settle()

        let (goodResult, badResult) = results.withLock { ($0["good"], $0["bad"]) }
        #expect(try goodResult?.get().map(\.offset) == [1])
        try expectRefusal("unknown_partition") { _ = try badResult?.get() }
        let failure = storeFailure.withLock { $0 }
        #expect(failure?.code == "broker_corrupt")
        #expect(try harness.values(orders)[0] == ["v1", "v2"])
        #expect(harness.broker.knowledge(of: payments) != .known(KnownTopic(partitions: 4, recordBytesMax: 1_114_112)))
        #expect(try harness.broker.openSink(spool: spoolTwo, lane: 0).previous == nil)
        try good.deliver([outgoing(3)])
        #expect(try harness.values(orders)[0] == ["v1", "v2", "v3"])
    }

    @Test func fullDisk_IsRetriable_AndNothingIsHalfDone() throws {
        let harness = try BrokerHarness { $0.pagesMax = 100 }
        let sink = try harness.sink()
        try sink.deliver([outgoing(1)])
        let large = (2...400).map { outgoing($0, value: String(repeating: "x", count: 8000)) }
        let error = try brokerError { try sink.deliver(large) }
        #expect(error.class == .retriable)
        #expect(error.code == "broker_full")
        #expect(try harness.values(orders)[0] == ["v1"])
        let found = try harness.broker.outcomes.find((1...400).map { lsn($0) }, of: spoolOne) { _, _ in true }
        #expect(found.deliveries.compactMap { $0?.lsn } == [lsn(1)])
        // A commit of an offset and a small hand-over still work, at the offset that was left.
        #expect(try sink.deliver([outgoing(2)]).map(\.offset) == [1])
        try harness.reopen { $0.pagesMax = nil }
        let (again, previous) = try harness.broker.openSink(spool: spoolOne, lane: 0)
        #expect(previous == checkpoint(2))
        #expect(try again.deliver(large).map(\.offset) == Array(2...400))
    }

    @Test func quota_RefusesRecordsAsRetriable_ButNotCheckpoints() throws {
        let harness = try BrokerHarness { $0.quotaBytes = 450_000 }
        let sink = try harness.sink()
        let large = (1...300).map { outgoing($0, value: String(repeating: "x", count: 1000)) }
        let error = try brokerError { try sink.deliver(large) }
        #expect(error.class == .retriable)
        #expect(error.code == "broker_full")
        _ = try sink.deliver([], checkpoint: checkpoint(5))
        try sink.deliver(Array(large.prefix(10)))
        #expect(try harness.values(orders)[0].count == 10)
    }

    @Test func closedSinkAndClosedBroker_Refuse() throws {
        let harness = try BrokerHarness()
        let (closed, open) = (try harness.sink(lane: 0), try harness.sink(lane: 1))
        closed.close()
        try expectRefusal(class: .sinkFatal) { try closed.deliver([]) }
        harness.broker.close()
        try expectRefusal("broker_closed") { try open.deliver([outgoing(1)]) }
    }

    @Test func secondBroker_IsRefused_WhenTheDirectoryIsOpen() throws {
        let harness = try BrokerHarness()
        let error = try brokerError {
            _ = try EmbeddedBroker(directory: harness.directory, clock: harness.clock, timers: harness.clock)
        }
        #expect(error.class == .processFatal)
        #expect(error.code == "broker_owned_elsewhere")
    }
}

/// Keeps the writer thread busy, so that what is queued meanwhile becomes one group.
final class HeldGroup: Sendable {
    private let broker: EmbeddedBroker
    private let started = Monitor(false)
    private let released = Monitor(false)

    init(_ broker: EmbeddedBroker) {
        self.broker = broker
        let (started, released) = (started, released)
        broker.writes.submit(
            Job<Writer>(completion: { (_: Result<Void, BrokerError>) in }) { (_) throws(JobFailure) in
                started.withLock { $0 = true }
                started.broadcast()
                _ = released.wait(until: patienceEnd()) { $0 ? true : nil }
            })
        _ = started.wait(until: patienceEnd()) { $0 ? true : nil }
    }

    /// Waits until so many jobs are behind it, then lets them go.
    func release(afterQueued count: Int) {
        #expect(eventually { broker.writes.depth >= count })
        #expect(broker.writes.depth == count)
        released.withLock { $0 = true }
        released.broadcast()
    }
}
