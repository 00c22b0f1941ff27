import Broker
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

@Suite struct OwnershipTests {
    @Test func twin_HaltsTheForwarder_AndNothingMoreIsDelivered() throws {
        let harness = try Harness()
        try harness.accept(0, "before")
        #expect(harness.waitForTexts(0, 1))
        // Each lane has its claim: to one that has none yet a foreign checkpoint is an unknown history.
        for lane in 0..<Harness.lanes { #expect(harness.waitForStatus(lane) { $0.state == .forwarding }) }
        let epoch = harness.spool.epoch
        let once = Lock(false)
        harness.sinks.setPlan { call in
            let first = once.withLock { done in
                defer { done = done || call.operation == .deliver }
                return !done && call.operation == .deliver
            }
            return first ? .twin(epoch: epoch + 5, nonce: 99) : nil
        }
        try harness.accept(0, "after")
        #expect(harness.waitForEvent(Harness.Event(hook: "processFatal", detail: "spool_owned_elsewhere")))
        // The other lanes have found nothing yet, and halt all the same.
        for lane in 0..<Harness.lanes {
            #expect(harness.waitForStatus(lane) { $0.state == .halted && $0.lastError == "spool_owned_elsewhere" })
            try harness.accept(lane, "late")
        }
        let claim = harness.log.checkpoint(spool: harness.spool.id, lane: 0)
        harness.stop()
        #expect(claim?.nonce == 99)
        #expect(harness.log.checkpoint(spool: harness.spool.id, lane: 0) == claim)
        #expect((0..<Harness.lanes).map { harness.texts($0) } == [["before"], [], []])
    }

    @Test func fence_WithoutATwin_GoesOn() throws {
        let harness = try Harness()
        for number in 0..<5 {
            try harness.accept(0, "\(number)")
            #expect(harness.waitForTexts(0, number + 1))
            harness.log.fence(spool: harness.spool.id, lane: 0)
        }
        harness.stop()
        #expect(harness.texts(0) == (0..<5).map { "\($0)" })
        #expect(harness.events.withLock { $0 } == [])
    }

    @Test func checkpointOfAnUnknownEpoch_ClosesIntakeAndForwarding_AndStaysUntouched() throws {
        let harness = try Harness(start: false)
        let first = try harness.accept(0, "a")
        try harness.accept(1, "b")
        let foreign = SinkCheckpoint(lsn: first, epoch: harness.spool.epoch + 100, nonce: 99)
        for lane in 0..<Harness.lanes {
            harness.log.setCheckpoint(spool: harness.spool.id, lane: lane, foreign)
        }
        harness.forwarder.start()
        for lane in 0..<Harness.lanes {
            #expect(harness.waitForStatus(lane) { $0.state == .halted && $0.lastError == "spool_history_unknown" })
        }
        #expect(harness.spool.intakeClosed == "spool_history_unknown")
        #expect(throws: SpoolRefusal.closed(code: "spool_history_unknown")) { try harness.accept(0, "refused") }
        harness.stop()
        for lane in 0..<Harness.lanes {
            #expect(harness.log.checkpoint(spool: harness.spool.id, lane: lane) == foreign)
        }
        #expect(harness.log.snapshot.partitions.isEmpty)
    }

    /// A copy that starts in the same second takes the same epoch.
    @Test func checkpointOfACopy_ClosesIntakeAndForwarding_ThoughItsEpochIsOneOfOurs() throws {
        let harness = try Harness(start: false)
        try harness.accept(0, "a")
        let last = try harness.accept(0, "b")
        let epoch = harness.spool.epoch
        harness.log.setCheckpoint(
            spool: harness.spool.id, lane: 0, SinkCheckpoint(lsn: last, epoch: epoch, nonce: harness.nonce + 98))
        try harness.restart(.restart)
        #expect(harness.waitForStatus(0) { $0.state == .halted && $0.lastError == "spool_history_unknown" })
        #expect(harness.spool.intakeClosed == "spool_history_unknown")
        harness.stop()
        #expect(harness.texts(0) == [])
    }

    @Test(arguments: [true, false])
    func lostCheckpoint_GoesOnFromTheLocalDelivered(missing: Bool) throws {
        let harness = try Harness()
        let first = try harness.accept(0, "a")
        let second = try harness.accept(0, "b")
        #expect(eventually { harness.spool.delivered(lane: 0) == second })
        let epoch = harness.spool.epoch
        harness.log.setCheckpoint(
            spool: harness.spool.id, lane: 0,
            missing ? nil : SinkCheckpoint(lsn: LSN(rawValue: first.rawValue - 1), epoch: epoch, nonce: 1))
        try harness.restart(.restart)
        let third = try harness.accept(0, "c")
        #expect(harness.waitForCheckpoint(0, third))
        harness.stop()
        // The broker still has a and b here; were they gone, sending them again is the operator's decision.
        #expect(harness.texts(0) == ["a", "b", "c"])
        #expect(harness.events.withLock { $0 } == [])
    }

    @Test func lostAnswer_IsReadBackFromTheBroker_WithItsPlaces() throws {
        let harness = try Harness(start: false)
        let lost = Lock(0)
        harness.sinks.setPlan { call in
            guard !call.batch.isEmpty, lost.withLock({ $0 }) < 1 else { return nil }
            lost.withLock { $0 += 1 }
            return .loseAnswer(FakeSinks.unreachable)
        }
        let lsn = try harness.accept(0, "a", "b")
        harness.forwarder.start()
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        for number in 0..<2 {
            guard case .delivered(let delivery) = try harness.spool.outcome(of: lsn.advanced(by: number)) else {
                Issue.record("the broker has it")
                continue
            }
            #expect(delivery.offset == Int64(number))
        }
        harness.stop()
        #expect(harness.texts(0) == ["a", "b"])
        #expect(lost.withLock { $0 } == 1)
    }

    /// More than one batch lies at the broker that CHECKPOINT does not know of.
    @Test func backlog_IsDelivered_WhenItsFirstBatchesAreKnownToBeAtTheBroker() throws {
        let harness = try Harness(start: false)
        let first = try harness.accept((0..<60).map { record(topic(0), "\($0)") })
        let delivered = first.advanced(by: 39)
        harness.log.setCheckpoint(
            spool: harness.spool.id, lane: 0,
            SinkCheckpoint(lsn: delivered, epoch: harness.spool.epoch, nonce: harness.nonce))
        harness.forwarder.start()
        #expect(harness.waitForCheckpoint(0, first.advanced(by: 59)))
        harness.stop()
        #expect(harness.texts(0) == (40..<60).map { "\($0)" })
    }
}
