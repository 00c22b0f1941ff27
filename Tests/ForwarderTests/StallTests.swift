import Broker
import DeadLetters
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

/// What a broker does to a lane without losing anything: hanging, fencing, withdrawing rights.
@Suite struct StallTests {
    @Test(arguments: [FakeSinks.Operation.open, .deliver])
    func stop_InterruptsAHangingBroker_AndTheNextStartDelivers(operation: FakeSinks.Operation) throws {
        var settings = Harness.shortBackoff
        settings.stopTimeout = .milliseconds(20)
        let harness = try Harness(settings, start: false)
        harness.sinks.setPlan { call in
            call.lane == 0 && call.operation == operation && (operation == .open || !call.batch.isEmpty) ? .hang : nil
        }
        harness.forwarder.start()
        try harness.accept(0, "a")
        #expect(harness.sinks.waitUntilOneHangs())
        // Returns although nobody releases it.
        harness.forwarder.stop()
        #expect(harness.forwarder.status.allSatisfy { $0.state == .stopped })
        #expect(harness.texts(0) == [])
        try harness.restart(.restart)
        #expect(harness.waitForTexts(0, 1))
        harness.stop()
        #expect(harness.texts(0) == ["a"])
    }

    @Test(arguments: [true, false])
    func fencesWithoutEnd_AreSpacedByTheBreaker(withRecords: Bool) throws {
        var settings = Harness.shortBackoff
        settings.retryInitial = .milliseconds(4)
        settings.retryMax = .milliseconds(16)
        let harness = try Harness(settings, start: false)
        let openings = Lock<[MonotonicInstant]>([])
        let isOver = Lock(false)
        harness.sinks.setPlan { call in
            guard call.lane == 0, !isOver.withLock({ $0 }) else { return nil }
            if call.operation == .open { openings.withLock { $0.append(SystemClock().now()) } }
            return call.operation == .deliver && call.batch.isEmpty != withRecords ? .fence : nil
        }
        if withRecords { try harness.accept(0, "a", "b") }
        harness.forwarder.start()
        #expect(harness.waitForStatus(0) { $0.retries >= 8 && $0.lastError == "fenced" })
        isOver.withLock { $0 = true }
        if !withRecords { try harness.accept(0, "a", "b") }
        #expect(harness.waitForTexts(0, 2))
        harness.stop()
        let seen = openings.withLock { $0 }
        let pauses = zip(seen, seen.dropFirst()).map { $1 - $0 }
        // At least half of the base: 4, 8, then 16 milliseconds.
        for (pause, least) in zip(pauses, [2, 4, 8, 8, 8, 8]) { #expect(pause >= .milliseconds(least)) }
        #expect(pauses.count >= 6)
        #expect(harness.texts(0) == ["a", "b"])
        // Each time the nonce was our own: no twin, no reason to stop.
        #expect(harness.events.withLock { $0 } == [])
    }

    @Test func withdrawnAuthorisation_IsWaitedFor_AndNobodyDies() throws {
        let harness = try Harness(start: false)
        let isWithdrawn = Lock(true)
        let error = BrokerError(
            .retriable, code: "topic_authorization_failed", detail: "as told by the test", alarm: true)
        harness.sinks.setPlan { call in
            isWithdrawn.withLock { $0 } && !call.batch.isEmpty ? .refuse(error) : nil
        }
        try harness.accept(0, "a", "b")
        harness.forwarder.start()
        #expect(harness.waitForStatus(0) { $0.retries > 20 && $0.lastError == error.code })
        let status = harness.forwarder.status[0]
        #expect(status.failingSinceMs != nil && status.state == .retrying)
        isWithdrawn.withLock { $0 = false }
        #expect(harness.waitForTexts(0, 2))
        #expect(harness.waitForStatus(0) { $0.failingSinceMs == nil && $0.nextTryMs == nil && $0.retries == 0 })
        harness.stop()
        #expect(harness.deadLetters.count(state: .final) == 0)
    }
}
