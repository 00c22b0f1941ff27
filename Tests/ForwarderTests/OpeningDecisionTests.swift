import Broker
import Records
import Testing

@testable import Forwarder

@Suite struct OpeningDecisionTests {
    private static let epoch: UInt32 = 30
    private static let nonce: UInt64 = 1000

    struct Row: CustomTestStringConvertible {
        var testDescription: String
        /// LSN, epoch, nonce.
        var previous: (UInt64, UInt32, UInt64)?
        var delivered: UInt64 = 0
        var wasClaimed = false
        var expected: OpeningDecision
    }

    private static let rows = [
        Row(testDescription: "new lane", previous: nil, expected: .goOn(after: lsn(0), alarm: nil)),
        Row(
            testDescription: "checkpoint gone", previous: nil, delivered: 7,
            expected: .goOn(after: lsn(7), alarm: "checkpoint_missing")),
        Row(
            testDescription: "checkpoint gone while running", previous: nil, delivered: 7, wasClaimed: true,
            expected: .goOn(after: lsn(7), alarm: "checkpoint_missing")),
        Row(
            testDescription: "earlier process, as far as the spool knows", previous: (7, 20, 5), delivered: 7,
            expected: .goOn(after: lsn(7), alarm: nil)),
        Row(
            testDescription: "earlier process, whose last answer was lost", previous: (9, 20, 5), delivered: 7,
            expected: .goOn(after: lsn(9), alarm: nil)),
        Row(
            testDescription: "broker lost data", previous: (5, 20, 5), delivered: 7,
            expected: .goOn(after: lsn(7), alarm: "checkpoint_behind")),
        Row(
            testDescription: "restored from a backup", previous: (9, 25, 5), delivered: 7, expected: .historyUnknown),
        Row(
            testDescription: "a copy took the epoch of an earlier process", previous: (9, 20, 6), delivered: 7,
            expected: .historyUnknown),
        Row(
            testDescription: "a process that we know, in an epoch that we do not", previous: (40 << 32, 20, 5),
            delivered: 7, expected: .historyUnknown),
        Row(
            testDescription: "own, in a later epoch of this process", previous: (31 << 32, 30, 1000), delivered: 7,
            wasClaimed: true, expected: .goOn(after: lsn(31 << 32), alarm: nil)),
        Row(
            testDescription: "restored, and behind", previous: (5, 25, 5), delivered: 7, expected: .historyUnknown),
        Row(
            testDescription: "own, fenced by a freeze", previous: (9, 30, 1000), delivered: 7, wasClaimed: true,
            expected: .goOn(after: lsn(9), alarm: nil)),
        Row(
            testDescription: "own, the claim's answer was lost", previous: (0, 30, 1000),
            expected: .goOn(after: lsn(0), alarm: nil)),
        Row(
            testDescription: "twin of the same epoch", previous: (9, 30, 5), delivered: 7, expected: .ownedElsewhere),
        Row(
            testDescription: "twin of an older epoch claimed after us", previous: (9, 20, 5), delivered: 7,
            wasClaimed: true, expected: .ownedElsewhere),
        Row(
            testDescription: "twin of an unknown epoch claimed after us", previous: (9, 25, 5), delivered: 7,
            wasClaimed: true, expected: .ownedElsewhere),
    ]

    @Test(arguments: rows)
    func decision_IsTheTables(row: Row) {
        let decision = OpeningDecision.decide(
            previous: row.previous.map { SinkCheckpoint(lsn: lsn($0.0), epoch: $0.1, nonce: $0.2) },
            delivered: lsn(row.delivered), epoch: Self.epoch, nonce: Self.nonce, wasClaimed: row.wasClaimed,
            isKnown: { epoch, nonce in [(10, 4), (20, 5), (30, 1000), (31, 1000)].contains { $0 == (epoch, nonce) } })
        #expect(decision == row.expected)
    }
}

private func lsn(_ value: UInt64) -> LSN { LSN(rawValue: value) }
