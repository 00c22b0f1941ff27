public import Primitives

/// How long a test waits for what must happen. Only a fault reaches it, however slow and busy the machine is.
public let testPatience = Duration.seconds(60)

/// `testPatience` from now.
public func patienceEnd() -> MonotonicInstant { SystemClock().now() + testPatience }

/// Looks every millisecond until `condition` holds; the thread sleeps in between, so that those it waits for can run.
///
/// - Returns: whether it held in time.
public func eventually(within: Duration = testPatience, _ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = SystemClock().now() + within
    let pause = Monitor(())
    while try !condition() {
        let now = SystemClock().now()
        if now >= deadline { return false }
        _ = pause.wait(until: now + .milliseconds(1)) { _ -> Bool? in nil }
    }
    return true
}
