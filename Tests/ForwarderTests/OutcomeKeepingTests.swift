import Broker
import DeadLetters
import Outcomes
import Primitives
import Records
import Spool
import Store
import TestSupport
import Testing

@testable import Forwarder

/// Where records are is kept before each commit of a broker that keeps it not; the next checkpoint says whether it
/// holds.
@Suite struct OutcomeKeepingTests {
    @Test func lostAnswer_LeavesTheKeptPlaces_AlsoWhenTheNextOpeningsFail() throws {
        let harness = try Harness(start: false)
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

    @Test func keptPlaces_AreVoid_WhenTheHandOverWasNotCommitted() throws {
        let harness = try Harness(start: false)
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

    /// What was kept before a commit that nobody knows of says nothing, until the broker has told how far it got.
    @Test(arguments: [true, false]) func keptPlaces_SayNothing_BeforeTheBrokerWasAsked(committed: Bool) throws {
        let harness = try Harness(start: false)
        harness.sinks.setPlan { call in
            call.batch.isEmpty ? nil : committed ? .die(committing: true) : .refuseCommit(FakeSinks.unreachable)
        }
        let lsn = try harness.accept(0, "a", "b")
        harness.forwarder.start()
        #expect(harness.waitForStatus(0) { $0.retries > 0 })
        try harness.restart(.killed, start: false)
        #expect(try harness.spool.outcome(of: lsn) == .accepted)
        harness.sinks.setPlan { call in call.batch.isEmpty ? nil : .refuse(FakeSinks.unreachable) }
        harness.forwarder.start()
        #expect(harness.waitForStatus(0) { committed ? $0.delivered > lsn : $0.retries > 0 })
        let known = try harness.spool.outcome(of: lsn)
        #expect(known == (committed ? .delivered(place(lsn, 0, offset: 0)) : .accepted))
        harness.stop()
    }

    /// Places of dead letters are those of tries that were not committed.
    @Test func deadLetter_HasNoPlace_ThoughOneWasKept() throws {
        let harness = try Harness(start: false)
        let tries = Lock(0)
        harness.sinks.setPlan { call in
            guard !call.batch.isEmpty,
                tries.withLock({
                    $0 += 1; return $0
                }) == 1
            else { return nil }
            return .refuseCommit(BrokerError(.recordFatal, code: "record_refused", detail: "as told by the test"))
        }
        let lsn = try harness.accept(0, "a")
        harness.forwarder.start()
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        #expect(harness.deadLetters.count(state: .final) == 1)
        #expect(try harness.spool.outcome(of: lsn) == .untraced)
        try harness.restart(.killed)
        // Where CHECKPOINT did not have it yet, the broker has to be asked first.
        #expect(eventually { harness.spool.delivered(lane: 0) >= lsn })
        // Whether its segment was still there at the start is all that differs.
        let outcome = try harness.spool.outcome(of: lsn)
        #expect([.settled, .untraced].contains(outcome))
        harness.stop()
    }

    /// A dead record leaves no place and no gap: a number that was never given out is not taken for one whose outcome
    /// is gone.
    @Test func deadLetters_LeaveNothingMissing() throws {
        let harness = try Harness(start: false)
        let directory = try TemporaryDirectory()
        try harness.spool.keepOutcomes(in: directory.path)
        try harness.accept(0, "a", mark, mark)
        harness.forwarder.start()
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        #expect(harness.deadLetters.count(state: .final) == 2)
        // Its lanes ask the broker how far they are.
        try harness.restart(.forwarderRestart)
        #expect(harness.waitForStatus(0) { $0.state == .forwarding })
        harness.stop()
        let delivered = (0..<Harness.lanes).map { harness.spool.delivered(lane: $0) }
        let file = try OutcomeFile(directory: directory.path, spool: harness.spool.id, delivered: delivered)
        #expect(try file.reader.find([.zero], of: harness.spool.id) { _, _ in true }.missing == .zero)
    }

    /// The row may be on the disk or not; the next start finds out by the checkpoint, and no later sync is trusted.
    @Test func failedSync_EndsTheProcess_WithNothingCommitted() throws {
        let harness = try Harness(start: false)
        let directory = try TemporaryDirectory()
        let file = try OutcomeFile(
            directory: directory.path, spool: harness.spool.id,
            delivered: [LSN](repeating: .zero, count: Harness.lanes))
        harness.spool.keepOutcomes(in: file)
        harness.forwarder.start()
        for lane in 0..<Harness.lanes { #expect(harness.waitForStatus(lane) { $0.state == .forwarding }) }
        file.syncFault.withLock { $0 = StoreError(.other, code: 1034, operation: "commit", detail: "planted") }
        let lsn = try harness.accept(0, "a", "b")
        #expect(harness.waitForEvent(Harness.Event(hook: "processFatal", detail: "outcomes_sync_failed")))
        file.syncFault.withLock { $0 = nil }
        // Until the process is gone.
        try harness.accept(1, "c")
        #expect(harness.waitForStatus(1) { $0.state == .halted })
        #expect(harness.texts(0) == [] && harness.texts(1) == [])
        #expect(try harness.spool.outcome(of: lsn) == .accepted)
        harness.log.append(foreign())
        try harness.restart(.killed, start: false)
        try harness.spool.keepOutcomes(in: directory.path)
        harness.forwarder.start()
        #expect(eventually { (0..<Harness.lanes).allSatisfy { harness.spool.lagRecords(lane: $0) == 0 } })
        #expect(try harness.spool.outcome(of: lsn) == .delivered(place(lsn, 0, offset: 1)))
        harness.stop()
        #expect(harness.texts(0) == ["foreign", "a", "b"] && harness.texts(1) == ["c"])
    }

    /// Nothing is committed whose receipts could not be answered.
    @Test func fullDisk_KeepsHandOversFromBeingCommitted_UntilThereIsSpace() throws {
        let harness = try Harness(start: false)
        let directory = try TemporaryDirectory()
        var settings = OutcomesSettings()
        settings.pagesMax = 12
        try harness.spool.keepOutcomes(in: directory.path, settings: settings)
        harness.forwarder.start()
        var accepted: [LSN] = []
        let isFull = try eventually {
            accepted.append(try harness.accept(0, "\(accepted.count)"))
            return harness.forwarder.status[0].lastError == "outcomes_unavailable"
        }
        #expect(isFull)
        #expect(harness.waitForStatus(0) { $0.retries > 2 })
        // What the reserve is for.
        #expect(eventually { harness.disk.contents("/spool/RESERVE")?.isEmpty == true })
        let delivered = harness.texts(0).count
        #expect(delivered < accepted.count)
        #expect(try harness.spool.outcome(of: try #require(accepted.last)) == .accepted)
        try harness.spool.keepOutcomes(in: directory.path)
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        for (offset, lsn) in accepted.enumerated() {
            #expect(try harness.spool.outcome(of: lsn) == .delivered(place(lsn, 0, offset: offset)))
        }
        harness.stop()
        #expect(harness.texts(0) == accepted.indices.map { "\($0)" })
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
