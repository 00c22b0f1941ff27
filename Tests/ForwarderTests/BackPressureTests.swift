import Broker
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

@Suite struct BackPressureTests {
    @Test func hangingSink_HoldsItsLaneOnly_AndStopReturnsWhenItDoes() throws {
        let harness = try Harness(start: false)
        harness.sinks.setPlan { $0.lane == 0 && !$0.batch.isEmpty ? .hang : nil }
        harness.forwarder.start()
        try harness.accept(0, "hangs")
        #expect(harness.sinks.waitUntilOneHangs())
        for number in 0..<20 {
            try harness.accept(1, "\(number)")
            try harness.accept(2, "\(number)")
        }
        #expect(harness.waitForTexts(1, 20) && harness.waitForTexts(2, 20))
        #expect(harness.texts(0) == [])
        #expect(harness.spool.lagRecords(lane: 0) == 1)
        let stopped = Monitor(false)
        let forwarder = harness.forwarder
        let stopper = WorkerThread(name: "stopper") {
            forwarder.stop()
            stopped.withLock { $0 = true }
            stopped.broadcast()
        }
        #expect(harness.waitForStatus(1) { $0.state == .stopped })
        #expect(!stopped.withLock { $0 })
        harness.sinks.release()
        #expect(stopped.wait(until: patienceEnd()) { $0 ? true : nil } == true)
        stopper.join()
        // What it was in was ended, not abandoned.
        #expect(harness.texts(0) == ["hangs"])
        harness.stop()
    }

    @Test func tries_AreSpacedUpToTheCap_AndNothingIsDropped() throws {
        var settings = Harness.shortBackoff
        settings.retryInitial = .milliseconds(4)
        settings.retryMax = .milliseconds(16)
        let harness = try Harness(settings, start: false)
        let times = Lock<[MonotonicInstant]>([])
        harness.sinks.setPlan { call in
            guard call.operation == .deliver, !call.batch.isEmpty else { return nil }
            let tries = times.withLock { times in
                times.append(SystemClock().now())
                return times.count
            }
            return tries <= 8 || tries == 10 ? .refuse(FakeSinks.unreachable) : nil
        }
        try harness.accept(0, "a")
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 1))
        try harness.accept(0, "b")
        #expect(harness.waitForTexts(0, 2))
        harness.stop()
        let seen = times.withLock { $0 }
        #expect(seen.count == 11)
        let pauses = zip(seen, seen.dropFirst()).map { $1 - $0 }
        // At least half of the base: 4, 8, then 16 milliseconds.
        for (pause, least) in zip(pauses, [2, 4, 8, 8, 8, 8, 8, 8]) { #expect(pause >= .milliseconds(least)) }
        #expect(harness.texts(0) == ["a", "b"])
        #expect(harness.forwarder.status[0].retries == 0)
    }

    @Test func backoff_GrowsAndIsCappedAndResets() {
        var backoff = Backoff(initial: .milliseconds(4), cap: .milliseconds(16))
        var random = SeededGenerator(seed: 1)
        for base in [4, 8, 16, 16, 16] {
            let delay = backoff.nextDelay(using: &random)
            #expect(delay >= .milliseconds(base / 2) && delay <= .milliseconds(base))
        }
        backoff.reset()
        #expect(backoff.nextDelay(using: &random) <= .milliseconds(4))
    }

    @Test func status_SaysRetrying_UntilADeliverySucceeds() throws {
        let harness = try Harness(start: false)
        harness.sinks.setPlan { !$0.batch.isEmpty ? .refuse(FakeSinks.unreachable) : nil }
        try harness.accept(0, "a")
        harness.forwarder.start()
        // Opening succeeds each time: that alone is not health.
        #expect(harness.waitForStatus(0) { $0.retries > 20 && $0.state == .retrying })
        harness.sinks.setPlan { _ in nil }
        #expect(harness.waitForTexts(0, 1))
        #expect(harness.waitForStatus(0) { $0.state == .forwarding && $0.retries == 0 && $0.lastError == nil })
        harness.stop()
    }

    @Test func batches_StayWithinRecordsAndBytes_ButForALargerRecordAlone() throws {
        var settings = Harness.shortBackoff
        settings.batchRecordsMax = 5
        settings.drainRecordsMax = 5
        let share = 1000
        settings.batchBytesMax = share
        settings.drainBytesMax = share
        let harness = try Harness(settings, start: false)
        let batches = Lock<[[Int]]>([])
        harness.sinks.setPlan { call in
            if !call.batch.isEmpty {
                batches.withLock { $0.append(call.batch.map { SpoolRecordCodec.encodedBytes($0.spooled) }) }
            }
            return nil
        }
        for number in 0..<40 {
            try harness.accept([record(topic(0), "\(number)", padding: number == 20 ? 2500 : number % 7 * 60)])
        }
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 40))
        harness.stop()
        let seen = batches.withLock { $0 }
        for sizes in seen {
            #expect(sizes.count <= 5)
            #expect(sizes.reduce(0, +) <= share || sizes.count == 1)
        }
        #expect(seen.contains { $0.count == 5 } && seen.contains { $0.count == 1 && $0[0] > share })
        #expect(harness.texts(0) == (0..<40).map { "\($0)" })
    }

    @Test func lag_IsNotZero_WhileRecordsWaitInTheSpool() throws {
        let harness = try Harness(start: false)
        harness.sinks.setPlan { !$0.batch.isEmpty ? .refuse(FakeSinks.unreachable) : nil }
        harness.forwarder.start()
        for number in 0..<30 { try harness.accept(0, "\(number)") }
        #expect(harness.waitForStatus(0) { $0.retries > 2 })
        #expect(harness.spool.lagRecords(lane: 0) == 30)
        harness.sinks.setPlan { _ in nil }
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        #expect(harness.texts(0).count == 30)
        harness.stop()
    }
}
