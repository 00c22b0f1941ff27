import Primitives
import TestSupport
import Testing

@Suite struct TimersTests {
    private final class Gate: Sendable {
        private let state = Monitor((reached: false, open: false))

        func wait() {
            state.withLock { $0.reached = true }
            state.broadcast()
            _ = state.wait(until: patienceEnd()) { $0.open ? true : nil }
        }

        func waitUntilReached() -> Bool { state.wait(until: patienceEnd()) { $0.reached ? true : nil } ?? false }

        func open() {
            state.withLock { $0.open = true }
            state.broadcast()
        }
    }

    /// The thread of the timers runs nothing before the gate is open: what is due meanwhile depends on no machine.
    private func hold(_ timers: TimerThread, at start: MonotonicInstant) -> Gate {
        let gate = Gate()
        timers.schedule(at: start) { gate.wait() }
        #expect(gate.waitUntilReached())
        return gate
    }

    @Test func timerThread_RunsActionsInOrderOfDeadline() {
        let timers = TimerThread()
        defer { timers.stop() }
        let order = Monitor<[Int]>([])
        let start = SystemClock().now()
        let gate = hold(timers, at: start)
        for (index, delay) in [30, 10, 20].enumerated() {
            timers.schedule(at: start + .milliseconds(delay)) {
                order.withLock { $0.append(index) }
                order.broadcast()
            }
        }
        gate.open()
        let ran = order.wait(until: patienceEnd()) { $0.count == 3 ? $0 : nil }
        #expect(ran == [1, 2, 0])
    }

    @Test func timerThread_DoesNotRunWhatWasCancelled() {
        let timers = TimerThread()
        defer { timers.stop() }
        let ran = Monitor<[String]>([])
        let start = SystemClock().now()
        let gate = hold(timers, at: start)
        let token = timers.schedule(at: start + .milliseconds(20)) { ran.withLock { $0.append("cancelled") } }
        timers.schedule(at: start + .milliseconds(40)) {
            ran.withLock { $0.append("kept") }
            ran.broadcast()
        }
        timers.cancel(token)
        gate.open()
        #expect(ran.wait(until: patienceEnd()) { $0.isEmpty ? nil : $0 } == ["kept"])
    }

    @Test func manualClock_RunsWhatIsDueAndNothingElse() {
        let clock = ManualClock()
        let ran = Lock<[Int]>([])
        for delay in [3, 1, 2] {
            clock.schedule(at: clock.now() + .seconds(delay)) { ran.withLock { $0.append(delay) } }
        }
        clock.advance(by: .seconds(2))
        #expect(ran.withLock { $0 } == [1, 2])
    }

    @Test func backoff_DoublesUpToTheCapWithJitterOverTheUpperHalf() {
        var backoff = Backoff(initial: .milliseconds(10), cap: .milliseconds(50))
        for base in [10, 20, 40, 50, 50] {
            let delay = backoff.nextDelay().wholeNanoseconds
            let range = Int64(base) * 500_000...Int64(base) * 1_000_000
            #expect(range.contains(delay))
        }
        backoff.reset()
        #expect(backoff.nextDelay() <= .milliseconds(10))
    }
}
