import Primitives

/// How many requests clients make: a token bucket and a count for each address. A pure value; one lock over it.
///
/// The bucket is kept as the time at which it is full again (the generic cell rate algorithm, ITU-T I.371), so nothing
/// has to be done as time passes. The table is bounded: an address without a request under way may be forgotten, the
/// one that was heard of longest ago first; whoever is forgotten begins anew with a full bucket.
struct AddressTable {
    struct Limits: Sendable {
        /// 0: no limit.
        var requestsPerSecond: Int
        /// Requests at once, after a rest; at least 1.
        var burst: Int
        /// Under way at one time; 0: no limit.
        var requestsMax: Int
        /// At least as many as connections, which bounds the addresses that cannot be forgotten.
        var addressesMax: Int

        /// Nanoseconds for which a request counts.
        var interval: UInt64 { requestsPerSecond > 0 ? max(1, 1_000_000_000 / UInt64(requestsPerSecond)) : 0 }
        var bucket: UInt64 { interval * UInt64(burst) }
    }

    /// What is left to an address, after the request that asks.
    struct Rest: Hashable, Sendable {
        /// Requests that would be taken at once; nil without that limit.
        var tokens: Int?
        /// Until there is one more; nil without that limit.
        var moreInSeconds: Int?
        /// More requests that may be under way; nil without that limit.
        var places: Int?
    }

    enum Verdict: Hashable, Sendable {
        /// Until `end` with this number.
        case taken(Int, Rest)
        case tooFast(Rest)
        case tooMany(Rest)

        var rest: Rest {
            switch self {
            case .taken(_, let rest), .tooFast(let rest), .tooMany(let rest): rest
            }
        }
    }

    private struct Entry {
        var address: ClientAddress
        var fullAt = MonotonicInstant(nanoseconds: 0)
        var underWay = 0
        /// In the line of those without a request under way, whoever was heard of longest ago first.
        var previous: Int?
        var next: Int?
    }

    private let limits: Limits
    private var entries: [Entry] = []
    private var numbers: [ClientAddress: Int] = [:]
    private var first: Int?
    private var last: Int?
    /// Addresses that were forgotten although their bucket was not full: they got more than their share.
    private(set) var forgottenEarly: UInt64 = 0

    init(_ limits: Limits) { self.limits = limits }

    var count: Int { numbers.count }

    /// A request of this address came.
    mutating func begin(_ address: ClientAddress, now: MonotonicInstant) -> Verdict {
        let number = number(of: address, now)
        let isIdle = entries[number].underWay == 0
        if limits.requestsMax > 0, entries[number].underWay >= limits.requestsMax {
            return .tooMany(rest(entries[number], now))
        }
        let fullAt = MonotonicInstant(
            nanoseconds: max(entries[number].fullAt.nanoseconds, now.nanoseconds) + limits.interval)
        let debt = fullAt.nanoseconds - now.nanoseconds
        guard debt <= limits.bucket else {
            // Who is refused was heard of, too.
            if isIdle { move(number) }
            return .tooFast(rest(entries[number], now))
        }
        if isIdle { leave(number) }
        entries[number].fullAt = fullAt
        entries[number].underWay += 1
        return .taken(number, rest(entries[number], now))
    }

    /// A request that was taken is over.
    mutating func end(_ number: Int) {
        precondition(entries[number].underWay > 0)
        entries[number].underWay -= 1
        if entries[number].underWay == 0 { join(number) }
    }

    private func rest(_ entry: Entry, _ now: MonotonicInstant) -> Rest {
        var rest = Rest()
        if limits.interval > 0 {
            let debt = max(entry.fullAt.nanoseconds, now.nanoseconds) - now.nanoseconds
            let tokens = (limits.bucket - min(debt, limits.bucket)) / limits.interval
            rest.tokens = Int(tokens)
            rest.moreInSeconds = Self.seconds(debt + (tokens + 1) * limits.interval - limits.bucket)
        }
        if limits.requestsMax > 0 { rest.places = limits.requestsMax - entry.underWay }
        return rest
    }

    /// Rounded up, at least 1.
    private static func seconds(_ nanoseconds: UInt64) -> Int {
        max(1, Int((nanoseconds + 999_999_999) / 1_000_000_000))
    }

    // MARK: Entries

    private mutating func number(of address: ClientAddress, _ now: MonotonicInstant) -> Int {
        if let known = numbers[address] { return known }
        let number: Int
        if entries.count < limits.addressesMax {
            number = entries.count
            entries.append(Entry(address: address))
        } else {
            guard let oldest = first else { preconditionFailure("more requests than connections") }
            number = oldest
            leave(number)
            numbers[entries[number].address] = nil
            if entries[number].fullAt > now { forgottenEarly += 1 }
            entries[number] = Entry(address: address)
        }
        numbers[address] = number
        join(number)
        return number
    }

    private mutating func move(_ number: Int) {
        leave(number)
        join(number)
    }

    private mutating func join(_ number: Int) {
        entries[number].previous = last
        entries[number].next = nil
        if let last { entries[last].next = number } else { first = number }
        last = number
    }

    private mutating func leave(_ number: Int) {
        let (previous, next) = (entries[number].previous, entries[number].next)
        if let previous { entries[previous].next = next } else { first = next }
        if let next { entries[next].previous = previous } else { last = previous }
    }
}
