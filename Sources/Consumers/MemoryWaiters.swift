import Primitives

/// Consumers with polls that wait for response memory, at most one entry each. Any thread may call.
final class MemoryWaiters: Sendable {
    private struct State {
        var generation: UInt64 = 0
        var line: [ObjectIdentifier] = []
        var wakeUps: [ObjectIdentifier: @Sendable () -> Void] = [:]
    }

    private let state = Lock(State())

    /// Read before asking for memory.
    var generation: UInt64 { state.withLock { $0.generation } }

    /// - Parameter since: the generation read before memory was refused. When some came back meanwhile, `wakeUp` is
    ///   called at once, so that no wake-up is lost.
    func wait(_ consumer: ObjectIdentifier, since: UInt64, wakeUp: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            if state.generation != since { return true }
            if state.wakeUps.updateValue(wakeUp, forKey: consumer) == nil { state.line.append(consumer) }
            return false
        }
        if isLate { wakeUp() }
    }

    func forget(_ consumer: ObjectIdentifier) {
        state.withLock { state in
            if state.wakeUps.removeValue(forKey: consumer) != nil { state.line.removeAll { $0 == consumer } }
        }
    }

    /// Memory came back.
    func wakeAll() {
        let wakeUps = state.withLock { state in
            state.generation += 1
            defer {
                state.line = []
                state.wakeUps = [:]
            }
            return state.line.compactMap { state.wakeUps[$0] }
        }
        for wakeUp in wakeUps { wakeUp() }
    }
}
