import Primitives
import Records

/// The rules of promise 4: which requests were accepted, which are on their way, and what a request is to either. A
/// value behind the lock of `Requests`; knows no clock, no disk and no thread.
struct RequestIndex {
    /// What a request is.
    enum Decision: Equatable {
        /// It may be stored, under this number. Whoever got it says what became of it: `settle`.
        case first(UInt64)
        case repeated(first: LSN, count: Int)
        case inFlight
        case otherPayload
        case gap(expected: UInt64)
        case tooOld
        case full(IdempotencyLimit)
    }

    /// A request that may be stored, and whose fate is not certain yet. There are no more of them than connections.
    private struct Flight {
        var id: UInt64
        /// Counted in `newProducers`.
        var isNewProducer = false
    }

    /// Expired keys that one request takes away, at most: the rest is the saver's.
    static let expiredPerRequestMax = 16

    private let settings: IdempotencySettings
    private var flights: [RequestIdentity.Name: Flight] = [:]
    private var lastID: UInt64 = 0
    private var keysInFlight = 0
    private var newProducers = 0
    // (Not private for RequestIndex+Saving.swift.)
    var keys: KeyTable
    private(set) var producers: [Digest: Producer] = [:]
    var saving = Saving()
    private let lifetimeSeconds: UInt32
    private let idleSeconds: UInt32

    init(_ settings: IdempotencySettings) {
        self.settings = settings
        keys = KeyTable(capacity: settings.keysMax)
        // Rounded up, and compared with whole seconds that were begun: never early.
        lifetimeSeconds = UInt32(clamping: (settings.lifetime.wholeMilliseconds + 999) / 1000)
        idleSeconds = UInt32(clamping: (settings.producerIdle.wholeMilliseconds + 999) / 1000)
    }

    // MARK: - Requests

    /// - Parameter now: seconds since 1970 of the clock for requests.
    mutating func admit(_ identity: RequestIdentity, now: UInt32) -> Decision {
        switch identity {
        case .key(let scope, let payload): admitKey(scope, payload, now)
        case .sequence(let producer, let number, let payload): admit(producer, number, payload, now)
        }
    }

    private mutating func admitKey(_ scope: Digest, _ payload: Digest, _ now: UInt32) -> Decision {
        if flights[.key(scope)] != nil { return .inFlight }
        if let entry = keys.find(scope), !isExpired(entry, now) {
            return entry.payload == payload ? .repeated(first: entry.first, count: Int(entry.count)) : .otherPayload
        }
        expireKeys(now: now, max: Self.expiredPerRequestMax)
        guard keys.count + keysInFlight < settings.keysMax else { return .full(.keys(max: settings.keysMax)) }
        keysInFlight += 1
        return .first(depart(.key(scope)))
    }

    private mutating func admit(
        _ name: Digest, _ number: UInt64, _ payload: Digest, _ now: UInt32
    ) -> Decision {
        let known = producers[name].flatMap { isIdle($0, now) && flights[.producer(name)] == nil ? nil : $0 }
        let last = known?.last ?? 0
        if let known, (1...last).contains(number) {
            guard let answer = known.answer(to: number) else { return .tooOld }
            return answer.payload == payload ? .repeated(first: answer.first, count: Int(answer.count)) : .otherPayload
        }
        if flights[.producer(name)] != nil { return .inFlight }
        guard number == last + 1 else { return .gap(expected: last + 1) }
        let isNew = producers[name] == nil
        if isNew {
            guard producers.count + newProducers < settings.producersMax else {
                return .full(.producers(max: settings.producersMax))
            }
            newProducers += 1
        }
        return .first(depart(.producer(name), isNewProducer: isNew))
    }

    private mutating func depart(_ name: RequestIdentity.Name, isNewProducer: Bool = false) -> UInt64 {
        lastID += 1
        flights[name] = Flight(id: lastID, isNewProducer: isNewProducer)
        return lastID
    }

    /// It is certain what became of a request that was admitted as `first(id)`.
    ///
    /// - Parameter stored: where its records are; nil when they are not, and the request may be tried again.
    mutating func settle(_ identity: RequestIdentity, id: UInt64, stored: Stored?) {
        guard let flight = flights[identity.name], flight.id == id else { return }
        flights[identity.name] = nil
        if flight.isNewProducer { newProducers -= 1 }
        if case .key = identity { keysInFlight -= 1 }
        if let stored { add(identity, stored) }
    }

    /// Requests on their way, those whose outcome is unknown included.
    var inFlight: Int { flights.count }

    /// Where a request's records are, and since when.
    struct Stored: Equatable {
        var first: LSN
        var count: UInt32
        var seconds: UInt32
    }

    /// A request was accepted, after all that were added before.
    mutating func add(_ identity: RequestIdentity, _ stored: Stored) {
        switch identity {
        case .key(let scope, let payload):
            saving.keysAdded += 1
            keys.append(
                KeyEntry(
                    scope: scope, payload: payload, first: stored.first, count: stored.count, seconds: stored.seconds))
        case .sequence(let name, let number, let payload):
            // One that was idle for too long began again at 1.
            if saving.changed[name] == nil { saving.changed[name] = stored.first }
            producers[name, default: Producer()].accept(
                number, Producer.Answer(first: stored.first, count: stored.count, payload: payload),
                seconds: stored.seconds)
        }
    }

    // MARK: - Forgetting

    private func isExpired(_ entry: KeyEntry, _ now: UInt32) -> Bool {
        now > entry.seconds && now - entry.seconds > lifetimeSeconds
    }

    private func isIdle(_ producer: Producer, _ now: UInt32) -> Bool {
        now > producer.seconds && now - producer.seconds > idleSeconds
    }

    /// Forgets the oldest keys that are past their lifetime. - Returns: how many.
    @discardableResult
    mutating func expireKeys(now: UInt32, max: Int) -> Int {
        var expired = 0
        while expired < max, let entry = keys.first, isExpired(entry, now) {
            keys.removeFirst()
            expired += 1
        }
        return expired
    }

    /// Forgets the producers that were idle for too long, but for those with a request on its way.
    ///
    /// - Returns: how many.
    mutating func expireProducers(now: UInt32) -> Int {
        let idle = producers.filter { isIdle($0.value, now) && flights[.producer($0.key)] == nil }.map(\.key)
        for name in idle {
            producers[name] = nil
            saving.changed[name] = nil
            saving.forgotten.insert(name)
        }
        return idle.count
    }

    // MARK: - What an earlier process left

    /// A key that the store had.
    mutating func restore(_ entry: KeyEntry, now: UInt32) {
        guard !isExpired(entry, now) else { return }
        saving.keysAdded += 1
        saving.keysSaved += 1
        keys.append(entry)
    }

    /// A producer that the store had.
    mutating func restore(_ name: Digest, _ producer: Producer, now: UInt32) {
        if isIdle(producer, now) { saving.forgotten.insert(name) } else { producers[name] = producer }
    }

    /// Producers of which nothing at or past an LSN is known may have gone on in what was lost before it: what is told
    /// them is that they are unknown.
    mutating func forgetProducers(silentSince end: LSN) {
        for (name, producer) in producers where (producer.answers.last?.first ?? .zero) < end {
            producers[name] = nil
            saving.changed[name] = nil
            saving.forgotten.insert(name)
        }
    }

    /// A request that stands in the journal: the store may have had it, too.
    mutating func replay(_ identity: RequestIdentity, _ stored: Stored) {
        let newest =
            switch identity {
            case .key: keys.last?.first
            case .sequence(let name, _, _): producers[name]?.answers.last?.first
            }
        if let newest, stored.first <= newest { return }
        add(identity, stored)
    }
}
