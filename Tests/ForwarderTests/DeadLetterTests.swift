import Broker
import DeadLetters
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

@Suite struct DeadLetterTests {
    @Test func oneBadRecord_DiesAlone_AndTheOthersAreDeliveredInOrder() throws {
        var settings = Harness.shortBackoff
        settings.batchRecordsMax = 1000
        for bad in [0, 1, 37, 99] {
            let harness = try Harness(settings, start: false)
            let texts = (0..<100).map { $0 == bad ? "\(mark)\($0)" : "\($0)" }
            let first = try harness.accept(texts[..<50].map { record(topic(0), $0) })
            try harness.accept(texts[50...].map { record(topic(0), $0) })
            harness.forwarder.start()
            #expect(harness.waitForCheckpoint(0, first.advanced(by: 99)))
            let lsn = first.advanced(by: bad)
            #expect(eventually { harness.spool.delivered(lane: 0) == first.advanced(by: 99) })
            #expect(harness.texts(0) == texts.filter { !$0.hasPrefix(mark) })
            let dead = try #require(try harness.deadLetters.lookup(lsn: lsn))
            #expect(dead.state == .final && dead.code == "record_refused" && dead.lane == 0)
            #expect(text(try #require(try harness.deadLetters.record(lsn: lsn))) == "\(mark)\(bad)")
            #expect(harness.deadLetters.count(state: .final) == 1)
            #expect(harness.spool.lagRecords(lane: 0) == 0)
            harness.stop()
        }
    }

    /// Where the process dies on a bad record's way from refused to final.
    enum Death: CaseIterable, CustomTestStringConvertible {
        case whenRefused, onOpeningBeforePending, beforeTheCommit, afterTheCommit

        var testDescription: String { "\(self)" }
    }

    @Test(arguments: Death.allCases, [Harness.End.killed, .powerLoss])
    func badRecord_EndsDeadOnce_WhereverTheProcessDies(death: Death, end: Harness.End) throws {
        let harness = try Harness(start: false)
        let bad = try harness.accept(0, "\(mark)0")
        let last = try harness.accept(0, "after")
        let refused = Lock(false)
        harness.sinks.setPlan { call in
            let alone = call.batch.count == 1 && call.batch.first?.lsn == bad
            switch (death, call.operation) {
            case (.whenRefused, .deliver) where alone:
                return .die(committing: false)
            case (_, .deliver) where alone:
                refused.withLock { $0 = true }
                return nil
            case (.onOpeningBeforePending, .open) where call.lane == 0 && refused.withLock { $0 }:
                return .die(committing: true)
            case (.beforeTheCommit, .deliver) where call.batch.isEmpty && call.checkpoint?.lsn == bad:
                return .die(committing: false)
            case (.afterTheCommit, .deliver) where call.batch.isEmpty && call.checkpoint?.lsn == bad:
                return .die(committing: true)
            default:
                return nil
            }
        }
        harness.forwarder.start()
        #expect(eventually { harness.sinks.isDead })
        let pending = death == .beforeTheCommit || death == .afterTheCommit
        #expect(harness.deadLetters.count(state: .pending) == (pending ? 1 : 0))
        #expect(harness.deadLetters.count(state: .final) == 0)
        try harness.restart(end)
        #expect(harness.waitForCheckpoint(0, last))
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        harness.stop()
        #expect(harness.texts(0) == ["after"])
        #expect(harness.deadLetters.count(state: .pending) == 0)
        #expect(try harness.deadLetters.list(DeadLetterQuery(limit: 10)).map(\.lsn) == [bad])
    }

    /// A sink that blames records for what happened without any in it.
    @Test func record_DoesNotDie_ForARefusalOfAnEmptyHandOver() throws {
        let harness = try Harness(start: false)
        let opened = Lock(0)
        let once = Lock(false)
        harness.sinks.setPlan { call in
            let error = BrokerError(.recordFatal, code: "nonsense", detail: "as told by the test")
            if call.operation == .deliver, !call.batch.isEmpty, !once.withLock({ $0 }) {
                once.withLock { $0 = true }
                return .refuse(FakeSinks.unreachable)
            }
            guard once.withLock({ $0 }), call.batch.isEmpty, opened.withLock({ $0 }) < 10 else { return nil }
            opened.withLock { $0 += 1 }
            return .refuse(error)
        }
        try harness.accept(0, "good")
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 1))
        #expect(opened.withLock { $0 } == 10)
        harness.stop()
        #expect(harness.deadLetters.count(state: .final) == 0)
    }

    @Test(arguments: [true, false])
    func invalidTimestamp_IsStampedAnew_UnlessAClientHadSetIt(gateways: Bool) throws {
        let tries = Lock(0)
        let harness = try Harness { outgoing in
            let count = tries.withLock { tries in
                tries += 1
                return tries
            }
            let isOld = outgoing.spooled.record.timestampMs == 1
            // Also the new stamp is refused for a while: the clock is wrong, not the record.
            guard isOld || count < 6 else { return nil }
            return BrokerError(.recordFatal, code: "invalid_timestamp", detail: "as told by the test")
        }
        let lsn = try harness.accept([record(topic(0), "stamped", gatewaysTimestamp: gateways)])
        #expect(harness.waitForCheckpoint(0, lsn))
        harness.stop()
        #expect(harness.texts(0) == (gateways ? ["stamped"] : []))
        #expect(harness.deadLetters.count(state: .final) == (gateways ? 0 : 1))
        if gateways { #expect(tries.withLock { $0 } >= 6) }
    }

    @Test func fullDeadLetterStore_HoldsTheLane_AndLosesNothing() throws {
        var limits = DeadLettersSettings()
        limits.bytesMax = 1
        let harness = try Harness(deadLetters: limits)
        try harness.accept(0, "\(mark)0", "after")
        #expect(harness.waitForStatus(0) { $0.lastError == "dead_letters_unavailable" && $0.retries > 3 })
        #expect(harness.texts(0) == [])
        #expect(harness.spool.lagRecords(lane: 0) == 2)
        // The other lanes go on.
        try harness.accept(1, "other")
        #expect(harness.waitForTexts(1, 1))
        harness.stop()
    }
}
