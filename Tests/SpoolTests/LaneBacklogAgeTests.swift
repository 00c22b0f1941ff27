import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

/// The age that a lane shows is that of its oldest undelivered record, of this process or an earlier one.
@Suite struct LaneBacklogAgeTests {
    private let clock = ManualClock()
    private let topic = TopicName("orders")!
    private let epoch: UInt64 = 1 << 32

    private func lsn(_ number: UInt64) -> LSN { LSN(rawValue: epoch | number) }

    private func backlog(recovered: UInt64 = 0) -> LaneBacklog {
        LaneBacklog(lane: 0, scanned: lsn(0), recovered: lsn(recovered), clock: clock)
    }

    private func accept(_ count: Int, at number: UInt64, _ backlog: LaneBacklog) {
        backlog.add(topic, count)
        backlog.accepted(from: lsn(number))
    }

    private func settle(_ count: Int, to number: UInt64, _ backlog: LaneBacklog) {
        backlog.remove(TopicCounts(Array(repeating: topic, count: count)), scanned: lsn(number))
    }

    @Test func age_IsThatOfTheOldestRecord_AndZeroWithoutAny() {
        let backlog = backlog()
        #expect(backlog.age == .zero)
        accept(2, at: 0, backlog)
        clock.advance(by: .seconds(10))
        accept(1, at: 2, backlog)
        clock.advance(by: .seconds(5))
        #expect(backlog.age == .seconds(15))
        settle(2, to: 2, backlog)
        #expect(backlog.age == .seconds(5))
        settle(1, to: 3, backlog)
        #expect(backlog.age == .zero)
        // What comes after a quiet hour is not an hour old.
        clock.advance(by: .seconds(3_600))
        accept(1, at: 3, backlog)
        #expect(backlog.age == .zero)
    }

    @Test func age_OfRecoveredRecords_ComesFromTheirTimestamps() {
        let backlog = backlog(recovered: 10)
        clock.advance(by: .seconds(1))
        // Nobody knows yet what there is: it counts from the start.
        #expect(backlog.age == .seconds(1))
        let wallMs = clock.wallMilliseconds()
        backlog.read(
            [(lsn: lsn(3), topic: topic, acceptedMs: wallMs - 60_000), (lsn(4), topic, wallMs - 20_000)], end: lsn(10))
        #expect(backlog.age == .seconds(60))
        accept(1, at: 10, backlog)
        settle(1, to: 4, backlog)
        #expect(backlog.age == .seconds(20))
        settle(1, to: 10, backlog)
        #expect(backlog.age == .zero)
        clock.advance(by: .seconds(2))
        #expect(backlog.age == .seconds(2))
    }

    @Test(arguments: [nil, Int64.max, 0]) func age_OfRecoveredRecords_IsNeverNegative_WhateverTheirTimestamps(
        acceptedMs: Int64?
    ) {
        let backlog = backlog(recovered: 10)
        backlog.read([(lsn: lsn(3), topic: topic, acceptedMs: acceptedMs)], end: lsn(10))
        clock.advance(by: .seconds(1))
        #expect(backlog.age >= .zero)
        settle(1, to: 10, backlog)
        #expect(backlog.age == .zero)
    }
}
