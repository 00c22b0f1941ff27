import CoreMetrics
import Primitives

/// The right to hold fetched records, for so many polls of the process at a time; granted in order of asking. Any
/// thread may call. What waits is bounded by `ConsumersSettings.pollsWaitingMax`.
final class FetchSlots: Sendable {
    struct Key: Hashable {
        let consumer: ObjectIdentifier
        let slot: SlotID
    }

    private struct State {
        var held: Set<Key> = []
        var waiting: [Key: @Sendable () -> Void] = [:]
        /// With keys that left the line, until their turn.
        var line: [Key] = []
        var isGranting = false
    }

    private let limit: Int
    private let full = Limit.pollsFetching.counter
    private let state = Lock(State())

    init(limit: Int) { self.limit = limit }

    /// `granted` is called once, now or later, unless `release` comes first.
    func acquire(_ key: Key, granted: @escaping @Sendable () -> Void) {
        let isFull = state.withLock { state in
            state.waiting[key] = granted
            state.line.append(key)
            return state.held.count >= limit
        }
        if isFull { full.increment() }
        grant()
    }

    /// Gives the slot back, or leaves the line.
    func release(_ key: Key) {
        state.withLock { state in
            if state.waiting.removeValue(forKey: key) != nil {
                if state.line.count > 64, state.line.count > 2 * state.waiting.count {
                    state.line.removeAll { state.waiting[$0] == nil }
                }
            } else {
                state.held.remove(key)
            }
        }
        grant()
    }

    /// One thread at a time grants, in a loop: a grant that ends at once would otherwise recurse through the whole
    /// line.
    private func grant() {
        var isMine = false
        while true {
            let granted = state.withLock { state -> (@Sendable () -> Void)? in
                if state.isGranting, !isMine { return nil }
                isMine = true
                state.isGranting = true
                var taken = 0
                defer { state.line.removeFirst(taken) }
                while state.held.count < limit, taken < state.line.count {
                    let key = state.line[taken]
                    taken += 1
                    guard let granted = state.waiting.removeValue(forKey: key) else { continue }
                    state.held.insert(key)
                    return granted
                }
                state.isGranting = false
                return nil
            }
            guard let granted else { return }
            granted()
        }
    }
}
