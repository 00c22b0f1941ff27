import Broker
import DeadLetters
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

/// A dead letter that is sent again is delivered once, whatever fails when.
@Suite struct RedeliveryTests {
    /// A harness with a dead letter in lane 0; what was refused is taken from now on.
    private func withLetter(_ body: (Harness, LSN) throws -> Void) throws {
        let harness = try Harness(refusal: Self.refusalOnce)
        let dead = try harness.accept(0, "\(mark)0")
        #expect(eventually { harness.deadLetters.count(state: .final) == 1 })
        try body(harness, dead)
        harness.stop()
    }

    /// Refuses a marked record until it is sent again.
    private static let refusalOnce: @Sendable (OutgoingRecord) -> BrokerError? = { outgoing in
        outgoing.spooled.redelivers == nil ? refuseMarked(outgoing) : nil
    }

    private func expectDeliveredOnce(_ harness: Harness, _ dead: LSN, as successor: LSN) throws {
        #expect(harness.waitForTexts(0, 1))
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        #expect(harness.texts(0) == ["\(mark)0"])
        #expect(try harness.deadLetters.fate(of: dead) == .redelivered(as: successor))
        #expect(try harness.deadLetters.lookup(lsn: dead) == nil)
    }

    /// Where the process dies on the way of a redelivery.
    enum Death: CaseIterable, CustomTestStringConvertible {
        case claimed, submitted, linkedBySubmitter, metByTheLane, handedOver

        var testDescription: String { "\(self)" }
    }

    @Test(arguments: Death.allCases, [Harness.End.killed, .powerLoss])
    func redelivery_HappensOnceOrNotAtAll_WhereverTheProcessDies(death: Death, end: Harness.End) throws {
        try withLetter { harness, dead in
            // Nothing is handed over before the death, but for the last case.
            harness.sinks.setPlan { call in
                guard call.operation == .deliver, !call.batch.isEmpty else { return nil }
                return death == .handedOver
                    ? .die(committing: true) : death == .metByTheLane ? .die(committing: false) : .hang
            }
            var spooled = try harness.claim(dead)
            var successor: LSN?
            if death != .claimed {
                if death == .submitted || death == .linkedBySubmitter {
                    // The lane is busy with another record: it does not meet this one.
                    try harness.accept(0, "other")
                    #expect(eventually { harness.sinks.isHanging })
                }
                successor = try harness.accept([spooled])
                if death == .linkedBySubmitter {
                    try harness.deadLetters.link([(dead: dead, successor: try #require(successor))])
                }
            }
            if death == .metByTheLane || death == .handedOver { #expect(eventually { harness.sinks.isDead }) }
            let before = try harness.deadLetters.lookup(lsn: dead)?.state
            #expect(before == (death == .claimed || death == .submitted ? .redelivering : nil))
            try harness.restart(end)
            if let successor {
                #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
                #expect(harness.texts(0).filter { $0 == "\(mark)0" }.count == 1)
                #expect(try harness.deadLetters.fate(of: dead) == .redelivered(as: successor))
            } else {
                // It never reached the spool: it can be sent again, and is, once.
                #expect(try eventually { try harness.deadLetters.lookup(lsn: dead)?.state == .final })
                #expect(harness.texts(0).isEmpty)
                spooled = try harness.claim(dead)
                try expectDeliveredOnce(harness, dead, as: try harness.accept([spooled]))
            }
        }
    }

    @Test func record_IsLinkedBeforeItIsHandedOver() throws {
        try withLetter { harness, dead in
            let states = Lock<[DeadLetter.State?]>([])
            let store = harness.deadLetters
            harness.sinks.setPlan { call in
                guard call.batch.contains(where: { $0.spooled.redelivers == dead }) else { return nil }
                do {
                    let state = try store.lookup(lsn: dead)?.state
                    states.withLock { $0.append(state) }
                } catch {
                    Issue.record("\(error)")
                }
                return nil
            }
            let successor = try harness.accept([try harness.claim(dead)])
            try expectDeliveredOnce(harness, dead, as: successor)
            #expect(states.withLock { $0 } == [nil])
        }
    }

    @Test func claim_OfThisProcess_IsNotReleasedByItsLane() throws {
        try withLetter { harness, dead in
            let spooled = try harness.claim(dead)
            try harness.restart(.forwarderRestart)
            try harness.accept(0, "other")
            #expect(harness.waitForTexts(0, 1))
            #expect(try harness.deadLetters.lookup(lsn: dead)?.state == .redelivering)
            _ = try harness.accept([spooled])
            #expect(harness.waitForTexts(0, 2))
            #expect(harness.texts(0) == ["other", "\(mark)0"])
        }
    }

    @Test func redeliveredRecord_ThatDiesAgain_IsADeadLetterOfItsOwn() throws {
        let harness = try Harness()
        let dead = try harness.accept(0, "\(mark)0")
        #expect(eventually { harness.deadLetters.count(state: .final) == 1 })
        let successor = try harness.accept([try harness.claim(dead)])
        #expect(try eventually { try harness.deadLetters.lookup(lsn: successor)?.state == .final })
        #expect(try harness.deadLetters.fate(of: dead) == .redelivered(as: successor))
        #expect(try harness.deadLetters.record(lsn: successor)?.redelivers == dead)
        let last = try harness.accept([try harness.claim(successor)])
        #expect(try eventually { try harness.deadLetters.lookup(lsn: last)?.state == .final })
        for old in [dead, successor] { #expect(try harness.deadLetters.fate(of: old) == .redelivered(as: last)) }
        harness.stop()
    }
}

extension Harness {
    /// The first step of a redelivery.
    func claim(_ dead: LSN) throws -> SpoolRecord {
        let claim = try deadLetters.claimForRedelivery(lsn: dead, epoch: spool.epoch)
        guard case .done(let spooled) = claim else { throw Refused(claim: "\(claim)") }
        return spooled
    }

    struct Refused: Error { let claim: String }
}
