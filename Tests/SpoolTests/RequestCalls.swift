import Records

@testable import Spool

extension SpoolHarness {
    /// Admits, and stores one record where that may be done.
    ///
    /// - Returns: what it was admitted as, and what became of the record.
    @discardableResult
    func request(
        _ identity: RequestIdentity, _ records: [SpoolRecord] = [record(0, "x")]
    ) -> (Told, Result<Acceptance, SpoolRefusal>?) {
        let admission = spool.admit(identity)
        guard case .first(let claim) = admission else { return (Told(admission), nil) }
        return (.first, submit(records, claim: claim))
    }

    /// Admits, and gives up what it got.
    func ask(_ identity: RequestIdentity) -> Told { Told(spool.admit(identity)) }
}

/// An `Admission` that can be compared.
enum Told: Equatable {
    case first, inFlight, otherPayload, tooOld
    case repeated(LSN, Int)
    case gap(UInt64)
    case full(IdempotencyLimit)

    init(_ admission: Admission) {
        self =
            switch admission {
            case .first: .first
            case .repeated(let acceptance): .repeated(acceptance.first, acceptance.count)
            case .inFlight: .inFlight
            case .otherPayload: .otherPayload
            case .gap(let expected): .gap(expected)
            case .tooOld: .tooOld
            case .full(let limit): .full(limit)
            }
    }
}

func key(_ scope: UInt64, _ payload: UInt64 = 0) -> RequestIdentity {
    .key(scope: Digest(high: 1, low: scope), payload: Digest(high: 0, low: payload))
}

func sequence(_ producer: UInt64, _ number: UInt64, _ payload: UInt64 = 0) -> RequestIdentity {
    .sequence(producer: Digest(high: 2, low: producer), number: number, payload: Digest(high: 0, low: payload))
}
