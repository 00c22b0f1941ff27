import Records

@testable import Spool

/// The rules of promise 4, as the design says them: nothing is ever forgotten here, only looked at later.
struct RequestModel {
    static let lifetimeSeconds: Int64 = 100
    static let idleSeconds: Int64 = 300
    static let keysMax = 20

    struct Accepted {
        var number: UInt64 = 0
        var payload: UInt64
        var first: LSN
        var count: Int
        var seconds: Int64
    }

    /// By scope and by producer, in order of acceptance.
    private(set) var keys: [UInt64: [Accepted]] = [:]
    private(set) var producers: [UInt64: [Accepted]] = [:]
    /// Sent, and it is not known what became of it: with its payload, by what it is called.
    var unknown: [RequestIdentity: Attempt] = [:]

    struct Attempt {
        var text: String
        var count: Int
        var seconds: Int64
    }

    /// What a request has to be told.
    func told(_ identity: RequestIdentity, seconds now: Int64) -> Told {
        switch identity {
        case .key(let scope, let payload):
            guard let last = keys[scope.low]?.last, now - last.seconds <= Self.lifetimeSeconds else {
                let alive = keys.values.joined().filter { now - $0.seconds <= Self.lifetimeSeconds }.count
                return alive >= Self.keysMax ? .full(.keys(max: Self.keysMax)) : .first
            }
            return last.payload == payload.low ? .repeated(last.first, last.count) : .otherPayload
        case .sequence(let producer, let number, let payload):
            let all = life(of: producer.low, now)
            let last = all.last?.number ?? 0
            if number == last + 1 { return .first }
            guard number >= 1, number <= last else { return .gap(last + 1) }
            guard last - number < 64, let kept = all.last(where: { $0.number == number }) else { return .tooOld }
            return kept.payload == payload.low ? .repeated(kept.first, kept.count) : .otherPayload
        }
    }

    /// Whether the limit of keys is reached if those of unknown outcome were stored.
    func mayBeFull(seconds now: Int64) -> Bool {
        let alive = keys.values.joined().filter { now - $0.seconds <= Self.lifetimeSeconds }.count
        return alive < Self.keysMax && alive + unknown.count >= Self.keysMax
    }

    /// Of a producer's requests those since it began at 1 last; none when it is idle.
    private func life(of producer: UInt64, _ now: Int64) -> ArraySlice<Accepted> {
        guard let all = producers[producer], let last = all.last, now - last.seconds <= Self.idleSeconds,
            let start = all.lastIndex(where: { $0.number == 1 })
        else { return [] }
        return all[start...]
    }

    func last(of producer: UInt64, seconds now: Int64) -> UInt64 { life(of: producer, now).last?.number ?? 0 }

    mutating func accept(_ identity: RequestIdentity, _ first: LSN, count: Int, seconds: Int64) {
        switch identity {
        case .key(let scope, let payload):
            keys[scope.low, default: []].append(
                Accepted(payload: payload.low, first: first, count: count, seconds: seconds))
        case .sequence(let producer, let number, let payload):
            producers[producer.low, default: []].append(
                Accepted(number: number, payload: payload.low, first: first, count: count, seconds: seconds))
        }
    }
}
