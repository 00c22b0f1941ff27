import Primitives
import TestSupport
import Testing

@testable import Spool

/// How fast lanes settle records, and when a refused request may come back.
@Suite struct DrainRateTests {
    private static let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    @Test func rate_IsThatOfTheLastHalfMinute() throws {
        var rate = DrainRate()
        #expect(rate.perSecond(Self.start) == nil)
        rate.begins(Self.start)
        #expect(rate.perSecond(Self.start + .seconds(5)) == nil, "nothing was settled: nothing is known")
        var now = Self.start
        for _ in 0..<20 {
            now = now + .milliseconds(500)
            rate.settled(50, now)
        }
        // From the first seconds on.
        var known = try #require(rate.perSecond(now))
        #expect(abs(known - 100) < 5, "\(known)")
        for _ in 0..<600 {
            now = now + .milliseconds(500)
            rate.settled(5, now)
        }
        known = try #require(rate.perSecond(now))
        #expect(abs(known - 10) < 0.5, "what was five minutes ago does not count: \(known)")
        let later = try #require(rate.perSecond(now + .seconds(60)))
        #expect(later < 3, "it stands still: \(later)")
    }

    @Test func rate_DoesNotFall_WhileThereIsNothingToSettle() throws {
        var rate = DrainRate()
        var now = Self.start
        for _ in 0..<10 {
            rate.begins(now)
            now = now + .seconds(1)
            rate.settled(100, now)
            rate.rests()
            now = now + .seconds(3600)
        }
        let known = try #require(rate.perSecond(now))
        #expect(abs(known - 100) < 1, "\(known)")
    }

    @Test func estimate_IsBounded() {
        #expect(DrainEstimate.seconds(records: 1_000, perSecond: nil) == nil)
        #expect(DrainEstimate.seconds(records: 1_000, perSecond: 0) == nil)
        #expect(DrainEstimate.seconds(records: 0, perSecond: 10) == 1)
        #expect(DrainEstimate.seconds(records: 1_000, perSecond: 100) == 10)
        #expect(DrainEstimate.seconds(records: 1_001, perSecond: 100) == 11)
        #expect(DrainEstimate.seconds(records: 1e18, perSecond: 1e-9) == 300)
        var random = SeededGenerator(seed: 7)
        for seconds in [1, 10, 290, 300] {
            for _ in 0..<200 {
                let spread = DrainEstimate.spread(seconds, using: &random)
                #expect((seconds...min(300, seconds + max(1, seconds / 4))).contains(spread))
            }
        }
    }

    /// Of a spool at its quota, by what its lanes do.
    @Test func refusedRequest_IsToldWhenToComeBack_ByWhatTheLanesSettle() throws {
        let clock = ManualClock()
        let harness = try SpoolHarness(FakeFileSystem(), clock: clock)
        defer { harness.close() }
        for number in 0..<100 { try harness.accept(record(0, "\(number)" + String(repeating: "x", count: 200))) }
        // As if the spool were just full.
        let refusal = SpoolRefusal.quota(bytesMax: harness.spool.usedBytes)
        #expect(harness.spool.retryAfterSeconds(refusal) == nil)
        // One record a second.
        for _ in 0..<20 {
            clock.advance(by: .seconds(1))
            try harness.deliver(0, records: 1)
        }
        let seconds = try #require(harness.spool.retryAfterSeconds(refusal))
        // 80 are left; at most all of them are in the way, and at least some are.
        #expect((2...100).contains(seconds), "\(seconds)")
        let lane = try #require(
            harness.spool.retryAfterSeconds(.topicBacklog(topic: topic(0), lane: 0)))
        #expect((80...100).contains(lane), "\(lane)")
        #expect(harness.spool.retryAfterSeconds(.topicBacklog(topic: topic(1), lane: 1)) == nil)
        #expect(harness.spool.retryAfterSeconds(.queueFull) == nil)
    }
}
