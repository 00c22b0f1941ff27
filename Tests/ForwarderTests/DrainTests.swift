import Primitives
import TestSupport
import Testing

@testable import Forwarder

/// What a stop waits for before it ends the lanes.
@Suite struct DrainTests {
    @Test func drain_ReturnsWhenTheBrokerHasEverything() throws {
        var settings = Harness.shortBackoff
        settings.drainTimeout = testPatience
        let harness = try Harness(settings, start: false)
        let isHeld = Lock(true)
        harness.sinks.setPlan { call in
            call.lane == 0 && call.operation == .deliver && !call.batch.isEmpty && isHeld.withLock { $0 } ? .hang : nil
        }
        harness.forwarder.start()
        try harness.accept(0, "a", "b", "c")
        #expect(harness.sinks.waitUntilOneHangs())
        let ended = Monitor(false)
        let forwarder = harness.forwarder
        let draining = WorkerThread(name: "drain") {
            forwarder.drain()
            ended.withLock { $0 = true }
            ended.broadcast()
        }
        #expect(ended.wait(until: SystemClock().now() + .milliseconds(100)) { $0 ? true : nil } == nil)
        isHeld.withLock { $0 = false }
        harness.sinks.release()
        #expect(ended.wait(until: patienceEnd()) { $0 ? true : nil } == true)
        draining.join()
        #expect(harness.texts(0) == ["a", "b", "c"])
        harness.stop()
    }

    @Test func drain_GivesUp_AtItsDeadline() throws {
        var settings = Harness.shortBackoff
        settings.drainTimeout = .milliseconds(50)
        settings.stopTimeout = .milliseconds(20)
        let harness = try Harness(settings, start: false)
        harness.sinks.setPlan { call in
            call.lane == 0 && call.operation == .deliver && !call.batch.isEmpty ? .hang : nil
        }
        harness.forwarder.start()
        try harness.accept(0, "a")
        #expect(harness.sinks.waitUntilOneHangs())
        // Returns although nobody releases it; so does the stop.
        harness.forwarder.drain()
        harness.forwarder.stop()
        try harness.restart(.restart)
        #expect(harness.waitForTexts(0, 1))
        harness.stop()
    }

    /// A lane whose broker is away is not waited for, however long the time-out is; others are.
    @Test func drain_DoesNotWait_ForALaneThatFails() throws {
        var settings = Harness.shortBackoff
        settings.drainTimeout = testPatience * 100
        let harness = try Harness(settings, start: false)
        let isAway = Lock(true)
        harness.sinks.setPlan { call in
            call.lane == 0 && call.operation == .deliver && !call.batch.isEmpty && isAway.withLock { $0 }
                ? .refuse(FakeSinks.unreachable) : nil
        }
        harness.forwarder.start()
        try harness.accept(0, "a")
        try harness.accept(1, "b")
        #expect(harness.waitForStatus(0) { $0.state == .retrying })
        #expect(harness.waitForStatus(1) { $0.state == .forwarding })
        harness.forwarder.drain()
        #expect(harness.texts(1) == ["b"])
        #expect(harness.texts(0) == [])
        isAway.withLock { $0 = false }
        harness.stop()
    }
}
