import Broker
import DeadLetters
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

@Suite struct BatchSizeTests {
    private static var small: ForwarderSettings {
        var settings = Harness.shortBackoff
        settings.batchRecordsMax = 8
        settings.drainRecordsMax = 50
        settings.batchBytesMax = 1000
        settings.drainBytesMax = 10_000
        return settings
    }

    @Test func size_DoublesWhileItDrains_AndGoesBackWhenTheBacklogIsGone() {
        var size = BatchSize(Self.small)
        var seen: [[Int]] = []
        for _ in 0..<6 {
            seen.append([size.recordsMax, size.bytesMax])
            size.succeeded(drains: true)
        }
        #expect(seen == [[8, 1000], [16, 2000], [32, 4000], [50, 8000], [50, 10_000], [50, 10_000]])
        // Hand-overs that were not full change nothing.
        size.succeeded(drains: false)
        #expect(size.recordsMax == 50)
        size.backlogIsGone()
        #expect([size.recordsMax, size.bytesMax] == [8, 1000])
    }

    @Test func size_NeverOverflowsOrFallsUnderOne() {
        var settings = Self.small
        settings.batchRecordsMax = .max / 2
        settings.drainRecordsMax = .max
        settings.batchBytesMax = .max
        settings.drainBytesMax = 1
        var size = BatchSize(settings)
        for _ in 0..<70 { size.succeeded(drains: true) }
        #expect(size.recordsMax == .max)
        // Never under the ordinary size.
        #expect(size.bytesMax == .max)
        size.timedOut(tried: 0)
        #expect(size.recordsMax == 1)
    }

    @Test func size_HalvesAfterTimeouts_AndGrowsAgain() {
        var size = BatchSize(Self.small)
        for expected in [4, 2, 1, 1] {
            size.timedOut(tried: size.recordsMax)
            #expect(size.recordsMax == expected)
        }
        for expected in [2, 4, 8, 8, 8] {
            size.succeeded(drains: false)
            #expect(size.recordsMax == expected)
        }
        size.succeeded(drains: true)
        #expect(size.recordsMax == 16)
    }

    @Test func backlog_IsDrainedInGrowingHandOvers_AndThenTheyAreSmallAgain() throws {
        let harness = try Harness(Self.small, start: false)
        let sizes = recordSizes(of: harness)
        for first in stride(from: 0, to: 200, by: 10) {
            try harness.accept((first..<first + 10).map { record(topic(0), "\($0)") })
        }
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 200))
        #expect(harness.waitForStatus(0) { $0.batchRecordsMax == 8 && $0.state == .forwarding })
        harness.stop()
        // 200 = 8 + 16 + 32 + 50 + 50 + 44.
        #expect(sizes.withLock { $0 } == [8, 16, 32, 50, 50, 44])
        #expect(harness.texts(0) == (0..<200).map { "\($0)" })
    }

    @Test func timedOutTransactions_MakeHandOversSmaller_DownToOneRecord() throws {
        let harness = try Harness(Self.small, start: false)
        let error = BrokerError(.fenced, code: "transaction_timed_out", detail: "as told by the test")
        let sizes = recordSizes(of: harness) { seen in seen.contains(1) ? nil : .refuse(error) }
        try harness.accept((0..<16).map { record(topic(0), "\($0)") })
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 16))
        harness.stop()
        #expect(sizes.withLock { $0 }.prefix(7) == [8, 4, 2, 1, 2, 4, 1])
        #expect(harness.texts(0) == (0..<16).map { "\($0)" })
        #expect(harness.events.withLock { $0 } == [])
    }

    @Test func afterFailuresInARow_TheFirstHandOverIsOneRecord() throws {
        let harness = try Harness(Self.small, start: false)
        let sizes = recordSizes(of: harness) { $0.count <= 4 ? .refuse(FakeSinks.unreachable) : nil }
        try harness.accept((0..<8).map { record(topic(0), "\($0)") })
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 8))
        harness.stop()
        #expect(sizes.withLock { $0 } == [8, 8, 1, 1, 1, 2, 4, 1])
        #expect(harness.texts(0) == (0..<8).map { "\($0)" })
    }

    @Test func recordThatCannotBeWritten_HoldsUpOnlyWhatIsBehindIt() throws {
        let harness = try Harness(Self.small, start: false)
        // Its partition has no leader, say.
        let stuck = Lock(true)
        harness.sinks.setPlan { call in
            let holdsIt = call.batch.contains { text($0.spooled) == "5" }
            return holdsIt && stuck.withLock { $0 } ? .refuse(FakeSinks.unreachable) : nil
        }
        try harness.accept((0..<8).map { record(topic(0), "\($0)") })
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 5))
        // It stands alone now, and the breaker is all that happens.
        #expect(harness.waitForStatus(0) { $0.retries > 10 && $0.batchRecordsMax == 1 })
        #expect(harness.texts(0) == (0..<5).map { "\($0)" })
        stuck.withLock { $0 = false }
        #expect(harness.waitForTexts(0, 8))
        harness.stop()
        #expect(harness.texts(0) == (0..<8).map { "\($0)" })
        #expect(harness.deadLetters.count(state: .final) == 0)
    }

    /// Records of each try of lane 0, and what happens to it.
    private func recordSizes(
        of harness: Harness, fault: @escaping @Sendable ([Int]) -> FakeSinks.Fault? = { _ in nil }
    ) -> Lock<[Int]> {
        let sizes = Lock<[Int]>([])
        harness.sinks.setPlan { call in
            guard call.lane == 0, !call.batch.isEmpty else { return nil }
            return sizes.withLock { sizes in
                sizes.append(call.batch.count)
                return fault(sizes)
            }
        }
        return sizes
    }
}
