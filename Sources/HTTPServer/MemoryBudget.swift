import Primitives
import Synchronization

/// A process-wide bound on bytes that many requests share. Any thread may call; nothing blocks.
final class MemoryBudget: Sendable {
    let bytesMax: Int
    private let used = Atomic<Int>(0)
    /// So that a release looks at the queue only when somebody waits.
    private let waiting = Atomic<Int>(0)
    private let waiters = Lock<[Waiter]>([])

    private struct Waiter {
        var bytes: Int
        var wake: @Sendable () -> Void
    }

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    var usedBytes: Int { used.load(ordering: .relaxed) }

    /// - Returns: false, and nothing is charged, when the bound would be passed.
    func charge(_ bytes: Int) -> Bool {
        let after = used.add(bytes, ordering: .relaxed).newValue
        if after <= bytesMax { return true }
        release(bytes)
        return false
    }

    /// Charges even when the bound is passed: for what exists already and is small.
    func chargeAlways(_ bytes: Int) { used.add(bytes, ordering: .relaxed) }

    func release(_ bytes: Int) {
        guard bytes > 0 else { return }
        // Sequentially consistent with `whenFree`: either it sees these bytes free, or this sees it waiting.
        used.subtract(bytes, ordering: .sequentiallyConsistent)
        if waiting.load(ordering: .sequentiallyConsistent) > 0 { wakeWhoFits() }
    }

    /// Calls `wake` once, when `bytes` may be free, on the thread that freed them or on the caller's. It is no
    /// reservation: another may be faster. The number of waiters is bounded by the requests in flight.
    func whenFree(_ bytes: Int, _ wake: @escaping @Sendable () -> Void) {
        waiters.withLock { $0.append(Waiter(bytes: bytes, wake: wake)) }
        waiting.add(1, ordering: .sequentiallyConsistent)
        wakeWhoFits()
    }

    /// First come, first served: one that needs much is not starved by many that need little.
    private func wakeWhoFits() {
        let due = waiters.withLock { waiters -> [Waiter] in
            var free = bytesMax - used.load(ordering: .sequentiallyConsistent)
            var count = 0
            while count < waiters.count, waiters[count].bytes <= max(free, 0) {
                free -= waiters[count].bytes
                count += 1
            }
            defer { waiters.removeFirst(count) }
            return Array(waiters.prefix(count))
        }
        waiting.subtract(due.count, ordering: .sequentiallyConsistent)
        for waiter in due { waiter.wake() }
    }
}
