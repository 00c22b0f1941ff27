import Primitives
import Records
import Spool

/// Some records whose outcomes a request waits for. Any thread; nothing here blocks.
final class OutcomeWatch: Sendable {
    /// More outcomes than these are written on the thread of look-ups: a lane must not be held up by an answer.
    static let inlineMax = 100

    private struct State {
        var wait: OutcomeWait?
        var isOver = false
        /// Of records that were looked up because they are not delivered.
        var found: [LSN: ReceiptOutcome] = [:]
    }

    /// Sorted.
    let lsns: [LSN]
    private let api: API
    private let state = Lock(State())

    init(_ lsns: [LSN], _ api: API) {
        self.lsns = lsns
        self.api = api
    }

    /// - Parameter settled: once, when every record is delivered or dead; not after `cancel`.
    /// - Returns: false when too many wait already; nothing is told then.
    func start(_ records: [AwaitedRecords], settled: @escaping @Sendable () -> Void) -> Bool {
        let wait = api.spool.whenSettled(records) { [self] news in
            switch news {
            case .dead(let lsn): note(lsn)
            case .settled: finish(settled)
            }
        }
        guard let wait else { return false }
        let isOver = state.withLock { state in
            state.wait = wait
            return state.isOver
        }
        if isOver { wait.cancel() }
        return true
    }

    func cancel() {
        state.withLock { state in
            state.isOver = true
            return state.wait
        }?.cancel()
    }

    /// Whether one is known to be dead.
    var hasDead: Bool { state.withLock { $0.found.values.contains(where: \.isDead) } }

    /// What is known now, in the order of `lsns`.
    func outcomes() -> [ReceiptOutcome] {
        let found = state.withLock { $0.found }
        return zip(lsns, api.spool.deliveries(of: lsns)).map { lsn, delivery in
            delivery.map { ReceiptOutcome(state: .delivered($0)) } ?? found[lsn] ?? ReceiptOutcome(state: .accepted)
        }
    }

    private func note(_ lsn: LSN) {
        guard isAwaited(lsn) else { return }
        // Where no look-up can be made now, it is at the end.
        _ = api.lookups.run { [self] in look(up: [lsn]) }
    }

    private func isAwaited(_ lsn: LSN) -> Bool {
        var (low, high) = (0, lsns.count)
        while low < high {
            let middle = (low + high) / 2
            if lsns[middle] < lsn { low = middle + 1 } else { high = middle }
        }
        return low < lsns.count && lsns[low] == lsn
    }

    private func finish(_ settled: @escaping @Sendable () -> Void) {
        let isDelivered = lsns.count <= Self.inlineMax && !api.spool.deliveries(of: lsns).contains { $0 == nil }
        if isDelivered { return settled() }
        let queued = api.lookups.run { [self] in
            look(up: zip(lsns, api.spool.deliveries(of: lsns)).filter { $0.1 == nil }.map(\.0))
            settled()
        }
        // Then the answer says less, and nothing wrong.
        if !queued { settled() }
    }

    /// Reads the disk, unless nobody waits any more. What cannot be read counts as still accepted.
    private func look(up lsns: [LSN]) {
        if lsns.isEmpty || state.withLock({ $0.isOver }) { return }
        do {
            let outcomes = try api.outcomes(of: lsns)
            state.withLock { state in
                for (lsn, outcome) in zip(lsns, outcomes) { state.found[lsn] = outcome }
            }
        } catch {
            return
        }
    }
}
