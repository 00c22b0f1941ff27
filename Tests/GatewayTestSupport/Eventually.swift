import Primitives

/// Looks every few milliseconds until `condition` holds. - Returns: whether it did in time.
public func eventually(
    within: Duration = HTTPClient.patience, _ condition: () throws -> Bool
) rethrows -> Bool {
    let pause = Monitor(())
    let deadline = SystemClock().now() + within
    while !(try condition()) {
        let now = SystemClock().now()
        if now >= deadline { return false }
        _ = pause.wait(until: now + .milliseconds(5)) { _ -> Bool? in nil }
    }
    return true
}
