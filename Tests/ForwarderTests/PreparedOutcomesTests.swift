import Broker
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

/// A broker that keeps no outcomes tells them before each commit; the next checkpoint says whether they hold.
@Suite struct PreparedOutcomesTests {
    private static let withoutOutcomes = Harness.BrokerForm(keepsOutcomes: false)

    @Test func lostAnswer_LeavesThePreparedPlaces_AlsoWhenTheNextOpeningsFail() throws {
        let harness = try Harness(broker: Self.withoutOutcomes, start: false)
        harness.log.append(foreign())
        let faults = Lock(0)
        harness.sinks.setPlan { call in
            guard call.lane == 0 else { return nil }
            return faults.withLock { faults in
                // The commit's answer is lost, then an opening fails, then the claim, whose answer is lost, too.
                let loses: Bool
                switch faults {
                case 0: loses = !call.batch.isEmpty
                case 1: loses = call.operation == .open
                case 2, 3: loses = call.operation == .deliver
                default: loses = false
                }
                guard loses else { return nil }
                faults += 1
                return faults == 3 ? .refuse(FakeSinks.unreachable) : .loseAnswer(FakeSinks.unreachable)
            }
        }
        let lsn = try harness.accept(0, "a", "b")
        harness.forwarder.start()
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        for number in 0..<2 {
            let outcome = try harness.spool.outcome(of: lsn.advanced(by: number))
            // Behind the other program's.
            #expect(outcome == .delivered(place(lsn, number, offset: number + 1)))
        }
        #expect(faults.withLock { $0 } == 4)
        harness.stop()
        #expect(harness.texts(0) == ["foreign", "a", "b"])
    }

    @Test func preparedPlaces_AreVoid_WhenTheHandOverWasNotCommitted() throws {
        let harness = try Harness(broker: Self.withoutOutcomes, start: false)
        let log = harness.log
        let refused = Lock(false)
        let foreign = foreign()
        harness.sinks.setPlan { call in
            guard call.lane == 0 else { return nil }
            let wasRefused = refused.withLock { refused in
                defer { refused = refused || !call.batch.isEmpty }
                return refused
            }
            if !wasRefused, !call.batch.isEmpty { return .refuseCommit(FakeSinks.unreachable) }
            // Another program takes the offset that the first try was told.
            if wasRefused, call.operation == .open { log.append(foreign) }
            return nil
        }
        let lsn = try harness.accept(0, "a", "b")
        harness.forwarder.start()
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        for number in 0..<2 {
            let outcome = try harness.spool.outcome(of: lsn.advanced(by: number))
            #expect(outcome == .delivered(place(lsn, number, offset: number + 1)))
        }
        harness.stop()
        #expect(harness.texts(0) == ["foreign", "a", "b"])
    }

    struct Row: CustomTestStringConvertible {
        var testDescription: String
        var checkpoint: Int
        var counts: Bool
    }

    @Test(arguments: [
        Row(testDescription: "the hand-over before it", checkpoint: 9, counts: false),
        Row(testDescription: "in the middle, where no hand-over ends", checkpoint: 11, counts: false),
        Row(testDescription: "its last record", checkpoint: 12, counts: true),
        Row(testDescription: "past it", checkpoint: 13, counts: true),
    ])
    func prepared_Count_AtOrUnderTheRecoveredCheckpoint(row: Row) {
        let deliveries = (10...12).map { place(LSN(rawValue: $0), 0, offset: Int($0)) }
        var prepared = PreparedOutcomes()
        let checkpoint = LSN(rawValue: UInt64(row.checkpoint))
        #expect(prepared.outcomes(recovered: checkpoint) == [])
        prepared.keep(deliveries)
        // The claim of the next sink: a hand-over without records.
        prepared.keep([])
        #expect(prepared.outcomes(recovered: checkpoint) == (row.counts ? deliveries : []))
        prepared.drop()
        #expect(prepared.outcomes(recovered: checkpoint) == [])
    }

    private func foreign() -> OutgoingRecord {
        OutgoingRecord(lsn: .zero, spooled: record(topic(0), "foreign"))
    }

    private func place(_ first: LSN, _ number: Int, offset: Int) -> Delivery {
        Delivery(
            lsn: first.advanced(by: number), partition: TopicPartition(topic: topic(0), partition: 0),
            offset: Int64(offset), timestampMs: 1)
    }
}
