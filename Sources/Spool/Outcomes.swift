public import Records

/// What became of a record, as its receipt tells.
public enum Outcome: Hashable, Sendable {
    /// In the spool, not yet at the broker.
    case accepted
    case delivered(Delivery)
    /// Settled, and no longer remembered how.
    case expired
    /// This spool never gave out the receipt.
    case unknown
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
            var low = 0
            var high = run.count
            while low < high {
                let middle = (low + high) / 2
                if run[middle].lsn < lsn { low = middle + 1 } else { high = middle }
            }
            if low < run.count, run[low].lsn == lsn { return run[low] }
        }
        return nil
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
