import Primitives
import TestSupport
import Testing

@Suite struct TimersTests {
    @Test func timerThread_RunsActionsInOrderOfDeadline() {
        let timers = TimerThread()
        defer { timers.stop() }
        let order = Monitor<[Int]>([])
        let start = SystemClock().now()
        for (index, delay) in [30, 10, 20].enumerated() {
            timers.schedule(at: start + .milliseconds(delay)) {
                order.withLock { $0.append(index) }
                order.broadcast()
            }
        }
        let ran = order.wait(until: start + .seconds(10)) { $0.count == 3 ? $0 : nil }
        #expect(ran == [1, 2, 0])
    }

    @Test func timerThread_DoesNotRunWhatWasCancelled() {
        let timers = TimerThread()
        defer { timers.stop() }
        let ran = Monitor<[String]>([])
        let start = SystemClock().now()
        let token = timers.schedule(at: start + .milliseconds(20)) { ran.withLock { $0.append("cancelled") } }
        timers.schedule(at: start + .milliseconds(40)) {
            ran.withLock { $0.append("kept") }
            ran.broadcast()
        }
        timers.cancel(token)
        #expect(ran.wait(until: start + .seconds(10)) { $0.isEmpty ? nil : $0 } == ["kept"])
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
