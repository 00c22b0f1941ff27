import Primitives

/// Wakes one lane's thread. The lane waits; any thread wakes it.
final class LaneWakeup: Sendable {
    private struct Signal {
        var hasWork = false
        var isHurried = false
    }

    private let signal = Monitor(Signal())

    /// Until there is work, or `end`. - Returns: false when the deadline passed first.
    func wait(until deadline: MonotonicInstant?) -> Bool {
        signal.wait(until: deadline) { signal -> Bool? in
            defer { signal.hasWork = false }
            return signal.hasWork ? true : nil
        } ?? false
    }

    /// Until somebody is in a hurry, or `end`.
    func pace(until deadline: MonotonicInstant) {
        _ = signal.wait(until: deadline) { signal -> Bool? in
            defer { signal.isHurried = false }
            return signal.isHurried ? true : nil
        }
    }

    func hasWork() { wake { $0.hasWork = true } }

    func hurry() { wake { $0.isHurried = true } }

    func end() {
        wake {
            $0.hasWork = true
            $0.isHurried = true
        }
    }

    private func wake(_ change: (inout Signal) -> Void) {
        signal.withLock(change)
        signal.signal()
    }
}
