import Journal
import Primitives
public import Records

/// Which limit of `IdempotencySettings` is reached.
public enum IdempotencyLimit: Hashable, Sendable {
    /// `idempotency.keys_max`.
    case keys(max: Int)
    /// `idempotency.producers_max`.
    case producers(max: Int)
}

/// What a request with a key or a sequence is (`Spool.admit`).
public enum Admission: Sendable {
    /// It was not accepted before: give the claim to `Spool.submit`, or abandon it.
    case first(RequestClaim)
    /// This very request was accepted. Its answer, as it was given or would have been.
    case repeated(Acceptance)
    /// The first one with this key, or the one before of this producer, is not answered yet, or it is not known what
    /// became of it: try again soon.
    case inFlight
    /// The key, or the number, was used for another payload.
    case otherPayload
    /// The producer's next request has this number; 1 for a producer that is not known, or not any more.
    case gap(expected: UInt64)
    /// It was accepted, so long ago that nobody knows its answer.
    case tooOld
    /// Nothing more can be remembered, so nothing with a new key, or of a new producer, is accepted.
    case full(IdempotencyLimit)
}

/// The right to store one request, exclusive until it is certain what became of it. Any thread.
///
/// Life: `Spool.admit` gives it; either `Spool.submit` takes it over, or `abandon` gives it up, which its end does too:
/// a refusal that stored nothing does not use a key up.
public final class RequestClaim: Sendable {
    public let identity: RequestIdentity
    private let id: UInt64
    private let requests: Requests
    private let isHeld = Lock(true)

    init(_ identity: RequestIdentity, id: UInt64, requests: Requests) {
        self.identity = identity
        self.id = id
        self.requests = requests
    }

    deinit { abandon() }

    /// Nothing was stored: the request may be made again. Does nothing after `submit` took the claim over.
    public func abandon() {
        if letGo() { requests.settle(identity, id: id, stored: nil) }
    }

    /// For `submit`. - Precondition: the claim was neither handed over nor abandoned.
    func handOver(records: Int) -> HandedClaim {
        let wasHeld = letGo()
        precondition(wasHeld, "a claim is for one submit")
        return HandedClaim(
            id: id, requests: requests,
            stamp: RequestStamp(
                identity: identity, count: UInt32(records), acceptedMs: requests.clock.milliseconds))
    }

    private func letGo() -> Bool {
        isHeld.withLock { held in
            defer { held = false }
            return held
        }
    }
}

/// A claim whose request is on its way to the journal.
struct HandedClaim: Sendable {
    let id: UInt64
    let requests: Requests
    let stamp: RequestStamp

    /// The journal is certain. - Parameter appended: nil when nothing is stored.
    func settle(_ appended: Appended?) {
        let stored = appended.map { RequestIndex.Stored($0.first, stamp) }
        requests.settle(stamp.identity, id: id, stored: stored)
    }
}

extension RequestIndex.Stored {
    init(_ first: LSN, _ stamp: RequestStamp) {
        self.init(first: first, count: stamp.count, seconds: RequestClock.seconds(stamp.acceptedMs))
    }
}
