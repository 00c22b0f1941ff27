public import Records

/// What became of a record, as its receipt tells.
public enum Outcome: Hashable, Sendable {
    /// In the spool, not yet at the broker.
    case accepted
    case delivered(Delivery)
    /// Accepted by an earlier process, and dead, or delivered where nobody knows: what would tell was lost, or the
    /// spool was adopted.
    case settled
    /// Settled, if it ever was accepted, and no longer remembered how.
    case expired
    /// No hand-over had it, and everything near it is remembered: it is dead, or was never accepted.
    case untraced
    /// This spool never gave out the receipt.
    case unknown
    /// What would tell is broken.
    case damaged(String)
}

/// The last delivered records, in the runs in which they were handed over: adding a run costs the same whatever its
/// length, and the memory is bounded by the number of records. A value behind a lock of its own.
struct RecentOutcomes {
    private let capacity: Int
    /// Each sorted by LSN, not empty; oldest first.
    private var runs: [[Delivery]] = []
    /// Runs before this index were dropped; compacted now and then, so that dropping costs nothing.
    private var head = 0
    private var count = 0

    init(capacity: Int) { self.capacity = capacity }

    subscript(lsn: LSN) -> Delivery? {
        // Newest first: that is what is asked for. Thousands of runs at the most, each a comparison or two.
        for run in runs[head...].reversed() {
            guard let first = run.first, let last = run.last, first.lsn <= lsn, lsn <= last.lsn else { continue }
            let at = run.firstIndexInOrder { $0.lsn >= lsn }
            if at < run.count, run[at].lsn == lsn { return run[at] }
        }
        return nil
    }

    /// Where each of the records is; nil for what is not remembered.
    ///
    /// - Parameter lsns: sorted.
    func deliveries(of lsns: [LSN]) -> [Delivery?] {
        var found = [Delivery?](repeating: nil, count: lsns.count)
        guard let first = lsns.first, let last = lsns.last else { return found }
        var missing = lsns.count
        for run in runs[head...].reversed() where missing > 0 {
            guard let begin = run.first, let end = run.last, begin.lsn <= last, first <= end.lsn else { continue }
            var index = lsns.firstIndexInOrder { $0 >= begin.lsn }
            for delivery in run[run.firstIndexInOrder { $0.lsn >= first }...] where index < lsns.count {
                while index < lsns.count, lsns[index] < delivery.lsn { index += 1 }
                guard index < lsns.count, lsns[index] == delivery.lsn else { continue }
                if found[index] == nil { missing -= 1 }
                found[index] = delivery
            }
        }
        return found
    }

    /// - Parameter run: sorted by LSN.
    mutating func add(_ run: [Delivery]) {
        guard !run.isEmpty, capacity > 0 else { return }
        let run = run.count > capacity ? Array(run.suffix(capacity)) : run
        runs.append(run)
        count += run.count
        // Whole runs go: never less than the capacity stays, and at most one hand-over more.
        while count - runs[head].count >= capacity {
            count -= runs[head].count
            runs[head] = []
            head += 1
        }
        if head > 1024, head > runs.count / 2 {
            runs.removeFirst(head)
            head = 0
        }
    }
}

extension Array {
    /// First index whose element satisfies the predicate, which holds for all after it; the count when none does.
    fileprivate func firstIndexInOrder(_ isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
