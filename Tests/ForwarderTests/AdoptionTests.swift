import Broker
import Glibc
import Journal
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

/// A spool that was restored or copied: the broker's checkpoints come from a process that it never was.
@Suite struct AdoptionTests {
    /// Lane 0 has delivered "a"; "b" and lane 1's "c" are in the spool; another process claimed lanes 0 and 1 since.
    private func restored(claimed lanes: [Int] = [0, 1]) throws -> (Harness, SinkCheckpoint) {
        let harness = try Harness()
        let first = try harness.accept(0, "a")
        #expect(eventually { harness.spool.delivered(lane: 0) == first })
        for lane in 0..<Harness.lanes { #expect(harness.waitForStatus(lane) { $0.state == .forwarding }) }
        harness.sinks.setPlan { !$0.batch.isEmpty ? .refuse(FakeSinks.unreachable) : nil }
        try harness.accept(0, "b")
        try harness.accept(1, "c")
        let foreign = SinkCheckpoint(
            lsn: first.advanced(by: 100), epoch: harness.spool.epoch + 1000, nonce: 99)
        try harness.restart(.restart, start: false)
        claim(harness, foreign, lanes)
        return (harness, foreign)
    }

    private func claim(_ harness: Harness, _ foreign: SinkCheckpoint, _ lanes: [Int]) {
        for lane in lanes { harness.log.setCheckpoint(spool: harness.spool.id, lane: lane, foreign) }
    }

    private func adopt(_ decision: Adoption.Decision) -> (FakeFileSystem) throws -> Void {
        { disk in
            _ = try Journal.adopt(
                directory: "/spool", decision, settings: Harness.spoolSettings.journal, fileSystem: disk)
        }
    }

    private func expectClosed(_ harness: Harness) {
        for lane in 0..<Harness.lanes {
            #expect(harness.waitForStatus(lane) { $0.state == .halted && $0.lastError == "spool_history_unknown" })
        }
        #expect(harness.spool.intakeClosed == "spool_history_unknown")
    }

    @Test(arguments: Adoption.Decision.allCases, [Harness.End.restart, .powerLoss])
    func decision_LetsTheNextStartGoOn(decision: Adoption.Decision, end: Harness.End) throws {
        let (harness, _) = try restored()
        harness.forwarder.start()
        expectClosed(harness)
        try harness.restart(end, between: adopt(decision))
        // Intake is open, and what is accepted from now on is forwarded in any case.
        let last = try harness.accept(0, "new")
        try harness.accept(1, "new")
        #expect(harness.waitForCheckpoint(0, last))
        #expect(eventually { (0..<Harness.lanes).allSatisfy { harness.spool.lagRecords(lane: $0) == 0 } })
        #expect(harness.texts(0) == (decision == .resend ? ["a", "b", "new"] : ["a", "new"]))
        #expect(harness.texts(1) == (decision == .resend ? ["c", "new"] : ["new"]))
        // Claimed: the history is this spool's again, for every later start.
        try harness.restart(.killed)
        try harness.accept(0, "later")
        #expect(eventually { harness.texts(0).last == "later" })
        harness.stop()
        #expect(harness.events.withLock { $0 }.allSatisfy { $0.hook == "historyUnknown" })
    }

    /// Where the process dies between the decision and the claim.
    @Test(arguments: Adoption.Decision.allCases, [false, true])
    func crash_BeforeOrAfterTheClaim_RepeatsSafely(decision: Adoption.Decision, committing: Bool) throws {
        let (harness, _) = try restored()
        try harness.restart(
            .restart, between: adopt(decision),
            plan: { $0.lane == 0 && $0.operation == .deliver ? .die(committing: committing) : nil })
        for life in 0..<2 {
            #expect(eventually { harness.sinks.isDead })
            try harness.restart(
                life == 0 ? .killed : .powerLoss,
                plan: {
                    life == 0 && $0.lane == 0 && $0.operation == .deliver ? .die(committing: committing) : nil
                })
        }
        let last = try harness.accept(0, "new")
        #expect(harness.waitForCheckpoint(0, last))
        harness.stop()
        #expect(harness.texts(0) == (decision == .resend ? ["a", "b", "new"] : ["a", "new"]))
    }

    /// What a fenced hand-over was told of its places is another's by now: a receipt must not name one of those, and it
    /// still says that the record is settled when nothing else of it is there any more.
    ///
    /// - Parameter isLast: whether the spool holds nothing behind them: then the lane goes on where its rows end.
    @Test(arguments: [true, false]) func assumedRecords_HaveNoPlace_AlsoAfterALaterStart(isLast: Bool) throws {
        let harness = try Harness(start: false)
        // The places are kept, and then the lane finds its broker no more.
        let isRefused = Lock(false)
        harness.sinks.setPlan { call in
            if call.lane != 0 { return call.batch.isEmpty ? nil : .refuse(FakeSinks.unreachable) }
            if call.batch.isEmpty { return isRefused.withLock { $0 } ? .refuse(FakeSinks.unreachable) : nil }
            isRefused.withLock { $0 = true }
            return .refuseCommit(FakeSinks.unreachable)
        }
        // One that the other process never had.
        var other = try harness.accept(1, "c")
        let lsn = try harness.accept(0, "a", "b")
        if !isLast { other = try harness.accept(1, "d") }
        harness.forwarder.start()
        #expect(harness.waitForStatus(0) { $0.retries > 2 })
        let foreign = SinkCheckpoint(lsn: lsn.advanced(by: 100), epoch: harness.spool.epoch + 1000, nonce: 99)
        let decide = adopt(.assumeDelivered)
        try harness.restart(.restart) { disk in
            for text in ["foreign", "a", "b"] {
                harness.log.append(OutgoingRecord(lsn: lsn, spooled: record(topic(0), text)))
            }
            claim(harness, foreign, [0, 1])
            try decide(disk)
        }
        #expect(eventually { (0..<Harness.lanes).allSatisfy { harness.spool.lagRecords(lane: $0) == 0 } })
        let assumed = [lsn, lsn.advanced(by: 1), other].sorted()
        #expect(try harness.spool.outcomes(of: assumed) == [.settled, .settled, .settled])
        try harness.restart(.killed)
        let isGone = try eventually {
            try harness.accept([record(topic(0), "more", padding: 900), record(topic(1), "more", padding: 900)])
            return try assumed.allSatisfy { try harness.spool.lane(of: $0) == nil }
        }
        #expect(isGone)
        try harness.restart(.restart)
        #expect(try harness.spool.outcomes(of: assumed) == [.expired, .expired, .expired])
        harness.stop()
    }

    @Test func decision_IsUsedOnce_AndNotForAnotherUnknownHistory() throws {
        let (harness, foreign) = try restored()
        try harness.restart(.restart, between: adopt(.resend))
        #expect(eventually { harness.texts(0) == ["a", "b"] && harness.texts(1) == ["c"] })
        #expect(harness.waitForStatus(2) { $0.state == .forwarding })
        try harness.restart(.restart, start: false)
        // The other copy ran once more: lane 0 has used its decision, lane 2 had no need of it.
        var later = foreign
        later.nonce += 1
        claim(harness, later, [0, 2])
        harness.forwarder.start()
        expectClosed(harness)
        for lane in [0, 2] {
            #expect(harness.log.checkpoint(spool: harness.spool.id, lane: lane) == later)
        }
        harness.stop()
    }

    @Test func decisionThatCannotBeBound_HoldsTheLane_AndGuessesNothing() throws {
        let (harness, foreign) = try restored(claimed: [0])
        try harness.restart(.restart, start: false, between: adopt(.resend))
        harness.disk.failWrites(to: "ADOPTION", EIO)
        harness.forwarder.start()
        #expect(harness.waitForStatus(0) { $0.lastError == "adoption_unwritable" && $0.retries > 3 })
        #expect(harness.log.checkpoint(spool: harness.spool.id, lane: 0) == foreign)
        harness.disk.failWrites(to: nil, EIO)
        #expect(eventually { harness.texts(0) == ["a", "b"] })
        harness.stop()
    }
}
