import Primitives
import Synchronization

/// A process-wide bound on bytes that many requests share. Any thread may call; nothing blocks.
///
/// Who waits is served first come, first served: freed bytes are charged for the first in line before anybody is told,
/// so that nobody is woken in vain and one that needs much is not starved by many that need little. Nobody in line
/// passes the first, nor does a newcomer that would wait (`chargeOrWait`).
final class MemoryBudget: Sendable {
    let bytesMax: Int
    private let used = Atomic<Int>(0)
    /// So that a release looks at the line only when somebody waits.
    private let waiting = Atomic<Int>(0)
    private let line = Lock(Line())

    /// At most one place for each holder, so its length is bounded by the connections.
    private struct Line {
        var order: [ObjectIdentifier] = []
        var waiters: [ObjectIdentifier: Waiter] = [:]

        mutating func remove(_ holder: ObjectIdentifier) -> Bool {
            guard waiters.removeValue(forKey: holder) != nil else { return false }
            order.removeAll { $0 == holder }
            return true
        }
    }

    private struct Waiter {
        var bytes: Int
        var charged: @Sendable () -> Void
    }

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    var usedBytes: Int { used.load(ordering: .relaxed) }

    /// Whoever is in line.
    var waitingCount: Int { waiting.load(ordering: .relaxed) }

    /// - Returns: false, and nothing is charged, when the bound would be passed. Does not call anybody.
    func charge(_ bytes: Int) -> Bool {
        // Added only when it fits: what was added and taken back could hide free bytes from who looks in between.
        var current = used.load(ordering: .relaxed)
        while bytes <= bytesMax - current {
            let (exchanged, original) = used.compareExchange(
                expected: current, desired: current + bytes, ordering: .sequentiallyConsistent)
            if exchanged { return true }
            current = original
        }
        return false
    }

    /// Charges even when the bound is passed: for what exists already and is small.
    func chargeAlways(_ bytes: Int) { used.add(bytes, ordering: .relaxed) }

    /// May call waiters, so call it without a lock.
    func release(_ bytes: Int) {
        guard bytes > 0 else { return }
        // Sequentially consistent with `chargeOrWait`: either it sees these bytes free, or this sees it waiting.
        used.subtract(bytes, ordering: .sequentiallyConsistent)
        serveWaiting()
    }

    /// Charges now, or takes the last place in line; an earlier place of the same holder is given up. `charged` is
    /// called once the bytes are charged, unless the holder leaves first.
    ///
    /// Calls nobody, so it may be called with a lock; call `serveWaiting` afterwards, without it, when this was false.
    ///
    /// - Returns: whether the bytes are charged now. More than `bytesMax` is never charged and does not wait.
    func chargeOrWait(
        _ bytes: Int, for holder: ObjectIdentifier, charged: @escaping @Sendable () -> Void
    ) -> Bool {
        if waiting.load(ordering: .sequentiallyConsistent) == 0, charge(bytes) { return true }
        guard bytes <= bytesMax else { return false }
        line.withLock { line in
            if line.remove(holder) { waiting.subtract(1, ordering: .sequentiallyConsistent) }
            line.order.append(holder)
            line.waiters[holder] = Waiter(bytes: bytes, charged: charged)
            waiting.add(1, ordering: .sequentiallyConsistent)
        }
        return false
    }

    /// The holder's request is over. Calls nobody; call `serveWaiting` afterwards: it may have been in the way.
    func leave(_ holder: ObjectIdentifier) {
        guard waiting.load(ordering: .sequentiallyConsistent) > 0 else { return }
        line.withLock { line in
            if line.remove(holder) { waiting.subtract(1, ordering: .sequentiallyConsistent) }
        }
    }

    /// Charges for as many in line as fit, and calls them; call it without a lock.
    func serveWaiting() {
        guard waiting.load(ordering: .sequentiallyConsistent) > 0 else { return }
        let served = line.withLock { line -> [Waiter] in
            var served: [Waiter] = []
            for holder in line.order {
                guard let waiter = line.waiters[holder], charge(waiter.bytes) else { break }
                line.waiters[holder] = nil
                served.append(waiter)
            }
            line.order.removeFirst(served.count)
            waiting.subtract(served.count, ordering: .sequentiallyConsistent)
            return served
        }
        for waiter in served { waiter.charged() }
    }
}
