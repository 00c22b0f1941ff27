import Records
import TestSupport
import Testing

@testable import Spool

/// How old a lane's oldest record is: never less than it is, hardly more, whatever the backlog did.
@Suite struct LaneAgesTests {
    private func lsn(_ number: UInt64) -> LSN { LSN(rawValue: 1 << 32 | number) }

    @Test func oldest_IsThatOfTheFirstRecordThatIsNotSettled() {
        var ages = LaneAges()
        #expect(ages.oldestMs == nil)
        ages.add(lsn(1), atMs: 1_000)
        ages.add(lsn(5), atMs: 2_000)
        ages.add(lsn(9), atMs: 3_000)
        #expect(ages.oldestMs == 1_000)
        ages.settle(below: lsn(5))
        #expect(ages.oldestMs == 2_000)
        // 5 to 8 came together: 7 is as old as they.
        ages.settle(below: lsn(7))
        #expect(ages.oldestMs == 2_000)
        ages.settle(below: lsn(9))
        #expect(ages.oldestMs == 3_000)
        ages.removeAll()
        #expect(ages.oldestMs == nil)
    }

    @Test func recordsThatComeTogether_ShareAMark() {
        var ages = LaneAges()
        for number in 0..<1_000 { ages.add(lsn(UInt64(number)), atMs: 1_000 + Int64(number) / 100) }
        ages.settle(below: lsn(999))
        #expect(ages.oldestMs == 1_000)
    }

    /// Against a list of every record, with random traffic and outages of hours.
    @Test(arguments: 0..<20) func oldest_IsNeverTooYoung_AndOnlyABitTooOld(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var ages = LaneAges()
        var records: [(number: UInt64, atMs: Int64)] = []
        var (number, nowMs, spanMaxMs): (UInt64, Int64, Int64) = (1, 0, 0)
        for _ in 0..<3_000 {
            nowMs += Int64.random(in: 0...(Bool.random(using: &random) ? 50 : 60_000), using: &random)
            if Int.random(in: 0..<10, using: &random) < 6 {
                ages.add(lsn(number), atMs: nowMs)
                records.append((number, nowMs))
                number += 1
            } else if !records.isEmpty {
                records.removeFirst(Int.random(in: 0...min(records.count - 1, 8), using: &random))
                ages.settle(below: lsn(records[0].number))
            }
            guard let oldest = records.first else { continue }
            spanMaxMs = max(spanMaxMs, nowMs - oldest.atMs)
            let claimed = ages.oldestMs ?? .max
            #expect(claimed <= oldest.atMs, "seed \(seed)")
            #expect(oldest.atMs - claimed <= max(100, spanMaxMs / 16 + 100), "seed \(seed)")
        }
    }
}
