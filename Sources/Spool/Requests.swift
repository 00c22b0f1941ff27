import CoreMetrics
import Primitives
import Records

/// The accepted requests that are remembered, and those on their way: `RequestIndex` behind its lock, with the clock
/// that keys age by. Any thread.
final class Requests: Sendable {
    let index: Lock<RequestIndex>
    let clock: RequestClock
    let metrics = RequestMetrics()

    init(_ index: RequestIndex, clock: RequestClock) {
        self.index = Lock(index)
        self.clock = clock
    }

    /// - Parameter isSynced: whether everything below an LSN is.
    func admit(_ identity: RequestIdentity, isSynced: (LSN) -> Bool) -> Admission {
        let decision = index.withLock { $0.admit(identity, now: clock.seconds) }
        metrics.count(decision)
        switch decision {
        case .first(let id): return .first(RequestClaim(identity, id: id, requests: self))
        case .repeated(let first, let count):
            let end = LSN(rawValue: first.rawValue + UInt64(count))
            return .repeated(Acceptance(first: first, count: count, synced: isSynced(end)))
        case .inFlight: return .inFlight
        case .otherPayload: return .otherPayload
        case .gap(let expected): return .gap(expected: expected)
        case .tooOld: return .tooOld
        case .full(let limit): return .full(limit)
        }
    }

    func settle(_ identity: RequestIdentity, id: UInt64, stored: RequestIndex.Stored?) {
        index.withLock { $0.settle(identity, id: id, stored: stored) }
    }
}
