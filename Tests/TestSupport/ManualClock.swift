public import Primitives

/// A clock that moves only when told, with the timers that hang on it: `advance` runs what is due on the caller's
/// thread, in order of deadline.
public final class ManualClock: TimeSource, Timers {
    private struct State {
        var now = MonotonicInstant(nanoseconds: 1_000_000_000)
        var wallMs: Int64 = 1_790_000_000_000
        var nextID: UInt64 = 1
        var actions: [TimerToken: (deadline: MonotonicInstant, action: @Sendable () -> Void)] = [:]
    }

    private let state = Lock(State())

    public init() {}

    public func now() -> MonotonicInstant { state.withLock { $0.now } }
    public func wallMilliseconds() -> Int64 { state.withLock { $0.wallMs } }

    /// Moves only the wall clock, as an operator or NTP does.
    public func jumpWall(milliseconds: Int64) { state.withLock { $0.wallMs += milliseconds } }

    @discardableResult
    public func schedule(at deadline: MonotonicInstant, _ action: @escaping @Sendable () -> Void) -> TimerToken {
        state.withLock { state in
            let token = TimerToken(id: state.nextID)
            state.nextID += 1
            state.actions[token] = (deadline, action)
            return token
        }
    }

    public func cancel(_ token: TimerToken) { state.withLock { _ = $0.actions.removeValue(forKey: token) } }

    public func advance(by duration: Duration) {
        let end = now() + duration
        while true {
            let due = state.withLock { state -> (@Sendable () -> Void)? in
                let next = state.actions.filter { $0.value.deadline <= end }
                    .min { ($0.value.deadline, $0.key.id) < ($1.value.deadline, $1.key.id) }
                guard let next else {
                    state.wallMs += (end - state.now).wholeMilliseconds
                    state.now = end
                    return nil
                }
                if next.value.deadline > state.now {
                    state.wallMs += (next.value.deadline - state.now).wholeMilliseconds
                    state.now = next.value.deadline
                }
                state.actions[next.key] = nil
                return next.value.action
            }
            guard let due else { return }
            due()
        }
    }
}
