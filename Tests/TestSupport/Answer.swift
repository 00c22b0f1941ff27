import Primitives

/// Calls something that answers on another thread, and waits.
///
/// - Returns: nil when nothing came in time.
public func waitForAnswer<Answer: Sendable>(
    within limit: Duration = .seconds(60), _ call: (@escaping @Sendable (Answer) -> Void) -> Void
) -> Answer? {
    let answer = Monitor<Answer?>(nil)
    call { value in
        answer.withLock { $0 = value }
        answer.broadcast()
    }
    return answer.wait(until: SystemClock().now() + limit) { $0 }
}
