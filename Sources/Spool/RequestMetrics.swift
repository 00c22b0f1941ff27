import CoreMetrics
import Primitives

/// Of the requests that carry a key or a sequence.
final class RequestMetrics: Sendable {
    private let replays = Counter(label: "postrider_idempotency_replays_total")
    private let inFlight = conflict("in_flight")
    private let otherPayload = conflict("other_payload")
    private let gap = conflict("sequence_gap")
    private let tooOld = conflict("sequence_too_old")
    private let keysFull = full("keys")
    private let producersFull = full("producers")
    let keysExpired = Counter(label: "postrider_idempotency_keys_expired_total")
    let producersExpired = Counter(label: "postrider_idempotency_producers_expired_total")
    let saveFailures = Counter(label: "postrider_idempotency_save_failures_total")
    private let keys = Gauge(label: "postrider_idempotency_keys")
    private let producers = Gauge(label: "postrider_idempotency_producers")
    private let requestsInFlight = Gauge(label: "postrider_idempotency_in_flight")
    private let isGap = Gauge(label: "postrider_idempotency_gap")

    private static func conflict(_ reason: String) -> Counter {
        Counter(label: "postrider_idempotency_conflicts_total", dimensions: [("reason", reason)])
    }

    private static func full(_ limit: String) -> Counter {
        Counter(label: "postrider_idempotency_full_total", dimensions: [("limit", limit)])
    }

    /// Every few seconds.
    func report(_ status: IdempotencyStatus) {
        keys.record(status.keys)
        producers.record(status.producers)
        requestsInFlight.record(status.inFlight)
        isGap.record(status.gap == nil ? 0 : 1)
    }

    func count(_ decision: RequestIndex.Decision) {
        switch decision {
        case .first: break
        case .repeated: replays.increment()
        case .inFlight: inFlight.increment()
        case .otherPayload: otherPayload.increment()
        case .gap: gap.increment()
        case .tooOld: tooOld.increment()
        case .full(.keys):
            keysFull.increment()
            Limit.idempotencyKeys.reached()
        case .full(.producers):
            producersFull.increment()
            Limit.idempotencyProducers.reached()
        }
    }
}
