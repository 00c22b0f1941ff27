import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct OutcomeWaitTests {
    /// What a wait was told, in order.
    private final class Heard: Sendable {
        let news = Monitor<[OutcomeNews]>([])

        func tell(_ one: OutcomeNews) {
            news.withLock { $0.append(one) }
            news.broadcast()
        }

        var all: [OutcomeNews] { news.withLock { $0 } }
    }

    private func awaited(_ lane: Int, _ first: LSN, _ last: LSN) -> AwaitedRecords {
        AwaitedRecords(lane: lane, first: first, last: last)
    }

    @Test func wait_IsOver_WhenEveryLaneHasSettledItsLast() throws {
        let spool = try SpoolHarness(FakeFileSystem())
        let first = try spool.accept(record(0, "a"), record(1, "b"), record(0, "c"))
        let heard = Heard()
        let all = [awaited(0, first, first.advanced(by: 2)), awaited(1, first.advanced(by: 1), first.advanced(by: 1))]
        #expect(spool.spool.whenSettled(all, heard.tell) != nil)
        try spool.deliver(0, records: 1)
        try spool.deliver(1)
        #expect(heard.all == [] && spool.spool.outcomeWaits == 1)
        try spool.deliver(0)
        #expect(heard.all == [.settled] && spool.spool.outcomeWaits == 0)
        // Who comes late is told at once.
        let late = Heard()
        #expect(spool.spool.whenSettled(all, late.tell) != nil)
        #expect(late.all == [.settled])
        let lsns = (0..<3).map { first.advanced(by: $0) }
        #expect(spool.spool.deliveries(of: lsns).map { $0?.lsn } == lsns)
        spool.close()
    }

    @Test func wait_HearsOfTheDead_BeforeItIsOver() throws {
        let spool = try SpoolHarness(FakeFileSystem())
        let first = try spool.accept(record(0, "a"), record(0, "b"))
        let other = try spool.accept(record(0, "c"))
        let (heard, later) = (Heard(), Heard())
        _ = spool.spool.whenSettled([awaited(0, first, first.advanced(by: 1))], heard.tell)
        _ = spool.spool.whenSettled([awaited(0, other, other)], later.tell)
        spool.spool.advance(
            lane: 0, delivered: first, scanned: first.advanced(by: 1), settled: TopicCounts([record(0, "a").topic]),
            dead: [first])
        #expect(heard.all == [.dead(first)] && later.all == [])
        spool.spool.advance(
            lane: 0, delivered: first.advanced(by: 1), scanned: other, settled: TopicCounts([record(0, "b").topic]),
            dead: [first.advanced(by: 1)])
        #expect(heard.all == [.dead(first), .dead(first.advanced(by: 1)), .settled] && later.all == [])
        spool.close()
    }

    @Test func cancelledWait_HearsNothing_AndMakesRoom() throws {
        var settings = SpoolHarness.settings
        settings.outcomeWaitsMax = 2
        let spool = try SpoolHarness(FakeFileSystem(), settings: settings)
        let first = try spool.accept(record(0, "a"), record(0, "b"))
        let heard = (0..<4).map { _ in Heard() }
        let waits = heard.map { spool.spool.whenSettled([awaited(0, first, first)], $0.tell) }
        #expect(waits.map { $0 != nil } == [true, true, false, false])
        waits[0]?.cancel()
        waits[0]?.cancel()
        #expect(spool.spool.whenSettled([awaited(0, first, first)], heard[2].tell) != nil)
        try spool.deliver(0)
        #expect(heard.map(\.all) == [[], [.settled], [.settled], []])
        spool.close()
    }

    /// A model: waits over random stretches, in any order, are told exactly when the lane has passed their last.
    @Test func waits_AreToldInTime_WhateverTheirOrder() throws {
        var random = SeededGenerator(printingFor: "waits_AreToldInTime")
        for _ in 0..<200 {
            var waits = OutcomeWaits(countMax: 1000, delivered: [.zero, .zero])
            let told = Lock<[Int: Int]>([:])
            var lasts: [Int: [UInt64]] = [:]
            var through: [UInt64] = [0, 0]
            for number in 0..<40 {
                let records = (0..<2).filter { _ in Bool.random(using: &random) }.map { lane in
                    let last = UInt64.random(in: 1...100, using: &random)
                    return awaited(lane, LSN(rawValue: 1), LSN(rawValue: last))
                }
                let added = waits.add(records) { _ in told.withLock { $0[number, default: 0] += 1 } }
                var left = [UInt64](repeating: 0, count: 2)
                for one in records { left[one.lane] = one.last.rawValue }
                if case .waits = added { lasts[number] = left }
                let lane = Int.random(in: 0..<2, using: &random)
                through[lane] = max(through[lane], UInt64.random(in: 1...UInt64(number + 60), using: &random))
                for call in waits.passed(LSN(rawValue: through[lane]), lane: lane) { call.told(call.news) }
                for (number, left) in lasts {
                    let isOver = left[0] <= through[0] && left[1] <= through[1]
                    #expect(told.withLock { $0[number] ?? 0 } == (isOver ? 1 : 0))
                }
                let open = lasts.values.count { $0[0] > through[0] || $0[1] > through[1] }
                #expect(waits.count == open)
            }
        }
    }

    /// Against the look at each record alone.
    @Test func deliveries_AreThoseOfEachRecord() throws {
        var random = SeededGenerator(printingFor: "deliveries_AreThoseOfEachRecord")
        let place = TopicPartition(topic: topic(0), partition: 0)
        for _ in 0..<200 {
            var recent = RecentOutcomes(capacity: Int.random(in: 0...60, using: &random))
            for _ in 0..<Int.random(in: 0..<12, using: &random) {
                let begin = UInt64.random(in: 0..<60, using: &random)
                let run = (begin..<begin + 30).filter { _ in Bool.random(using: &random) }.map { lsn in
                    Delivery(lsn: LSN(rawValue: lsn), partition: place, offset: Int64(lsn), timestampMs: 0)
                }
                recent.add(run)
            }
            let lsns = (0..<100).filter { _ in Int.random(in: 0..<3, using: &random) == 0 }.map {
                LSN(rawValue: UInt64($0))
            }
            #expect(recent.deliveries(of: lsns) == lsns.map { recent[$0] })
        }
    }
}
