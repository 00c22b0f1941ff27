import CoreMetrics
import Primitives
import Records

/// The accepted requests that are remembered, and those on their way: `RequestIndex` behind its lock, with the clock
/// that keys age by. Any thread.
final class Requests: Sendable {
    let index: Lock<RequestIndex>
    let clock: RequestClock
    let signal: RequestSignal
    let metrics = RequestMetrics()
    private let settings: IdempotencySettings

    init(_ index: RequestIndex, clock: RequestClock, settings: IdempotencySettings) {
        self.index = Lock(index)
        self.clock = clock
        self.settings = settings
        signal = RequestSignal(bytesMax: settings.unsavedBytesMax)
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
        let unsaved = index.withLock { index in
            index.settle(identity, id: id, stored: stored)
            return index.unsavedKeys
        }
        // Once: afterwards the saver knows.
        if unsaved == settings.unsavedKeysMax, stored != nil { signal.isDue() }
    }

    /// How far the store is, for CHECKPOINT.
    func mark(_ state: Lock<SpoolState>) -> RequestMark {
        // First: every request below was added before this was published.
        let durable = state.withLock { $0.durable }
        return index.withLock { $0.mark(durable: durable) }
    }

    var status: IdempotencyStatus {
        let (keys, producers, inFlight, gapMs) = index.withLock {
            ($0.keys.count, $0.producers.count, $0.inFlight, $0.saving.gapMs)
        }
        // As long as a key lives that may have been forgotten.
        let ends = gapMs + settings.lifetime.wholeMilliseconds
        let gap = gapMs > 0 && clock.milliseconds < ends ? IdempotencyGap(noticedMs: gapMs, endsMs: ends) : nil
        return IdempotencyStatus(keys: keys, producers: producers, inFlight: inFlight, gap: gap)
    }

    func report() { metrics.report(status) }
}
