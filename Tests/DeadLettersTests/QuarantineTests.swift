import DeadLetters
import Records
import Store
import TestSupport
import Testing

/// Records and ranges that a repair of the spool took out of it.
@Suite struct QuarantineTests {
    private func record(_ text: String) -> SpoolRecord {
        SpoolRecord(
            topic: TopicName("orders")!, partition: nil, timestampIsGateways: true,
            record: Record(key: nil, value: Array(text.utf8)[...], timestampMs: 5))
    }

    private func lsn(_ sequence: UInt32) -> LSN { LSN(epoch: 7, sequence: sequence) }

    @Test func quarantinedRecord_IsDead_UnlessTheBrokerHasIt() throws {
        let directory = try TemporaryDirectory()
        let store = try DeadLetters(directory: directory.path + "/d")
        let letters = (1...4 as ClosedRange<UInt32>).map { (lsn($0), 0, record("record \($0)")) }
        for _ in 0..<2 { try store.quarantine(letters, detail: "broken", atMs: 9) }
        #expect(store.count(state: .pending) == 4)
        #expect(try store.fate(of: lsn(3)) == .pending)
        // A refused record of the same lane is decided the other way round.
        try store.addPending(lsn: lsn(5), lane: 0, record("refused"), code: "too_large", detail: "", atMs: 1)
        try store.addPending(lsn: lsn(2_000), lane: 1, record("other lane"), code: "too_large", detail: "", atMs: 1)
        #expect(try store.reconcile(lane: 0, recoveredCheckpoint: lsn(2)) == [lsn(3), lsn(4)])
        #expect(try store.lookup(lsn: lsn(1)) == nil && store.lookup(lsn: lsn(2)) == nil)
        #expect(try store.lookup(lsn: lsn(5)) == nil)
        #expect(try store.lookup(lsn: lsn(2_000))?.state == .pending)
        #expect(
            try store.fate(of: lsn(3)) == .dead(code: "quarantined", detail: "broken", atMs: 9, discardedAtMs: nil))
        #expect(store.count(state: .final) == 2)
        #expect(try store.list(DeadLetterQuery(code: "quarantined", limit: 10)).map(\.lsn) == [lsn(3), lsn(4)])
        // Decided: later openings, and a repeated repair, change nothing.
        #expect(try store.reconcile(lane: 0, recoveredCheckpoint: lsn(9)) == [])
        guard case .done = try store.discard(lsn: lsn(4), atMs: 10) else { return #expect(Bool(false)) }
        try store.quarantine(letters.filter { $0.0 > lsn(2) }, detail: "again", atMs: 11)
        #expect(try store.lookup(lsn: lsn(3))?.state == .final)
        #expect(try store.lookup(lsn: lsn(4)) == nil)
    }

    @Test func quarantinedRange_IsKept_AndGrows() throws {
        let directory = try TemporaryDirectory()
        do {
            let store = try DeadLetters(directory: directory.path + "/d")
            try store.quarantine(lsn(5)..<lsn(8), detail: "lost", atMs: 3)
            try store.quarantine(lsn(20)..<lsn(21), detail: "lost", atMs: 4)
            try store.quarantine(lsn(5)..<lsn(10), detail: "lost", atMs: 5)
            try store.quarantine(lsn(5)..<lsn(7), detail: "lost", atMs: 6)
        }
        let store = try DeadLetters(directory: directory.path + "/d")
        let lost = DeadLetterFate.dead(code: "quarantined", detail: "lost", atMs: 3, discardedAtMs: nil)
        for sequence in 5..<10 as Range<UInt32> { #expect(try store.quarantined(lsn(sequence)) == lost) }
        for sequence in [4, 10, 19, 21] as [UInt32] { #expect(try store.quarantined(lsn(sequence)) == nil) }
        #expect(try store.quarantined(lsn(20)) != nil)
    }
}
