import Primitives
import TestSupport
import Testing

@testable import HTTPServer

/// What one address may do, on a clock that stands still unless told.
@Suite struct AddressTableTests {
    private static func address(_ number: UInt64) -> ClientAddress { ClientAddress(high: 0, low: number) }

    private static func limits(
        rate: Int = 10, burst: Int = 5, requests: Int = 0, addresses: Int = 100
    ) -> AddressTable.Limits {
        AddressTable.Limits(
            requestsPerSecond: rate, burst: burst, requestsMax: requests, addressesMax: addresses)
    }

    /// Begins and, if it was taken, ends at once.
    private static func isTaken(
        _ table: inout AddressTable, _ number: UInt64, _ now: MonotonicInstant
    ) -> Bool {
        guard case .taken(let place, _) = table.begin(address(number), now: now) else { return false }
        table.end(place)
        return true
    }

    @Test func requests_AreTaken_UpToTheBurst_ThenAtTheRate() {
        var table = AddressTable(Self.limits())
        let start = MonotonicInstant(nanoseconds: 1_000_000_000)
        for left in [4, 3, 2, 1, 0] {
            guard case .taken(let place, let rest) = table.begin(Self.address(1), now: start) else {
                Issue.record("refused with \(left) left")
                return
            }
            #expect(rest == AddressTable.Rest(tokens: left, moreInSeconds: 1, places: nil))
            table.end(place)
        }
        let refused = table.begin(Self.address(1), now: start)
        let empty = AddressTable.Rest(tokens: 0, moreInSeconds: 1, places: nil)
        #expect(refused == .tooFast(empty))
        // Another address is not concerned, and one token comes each tenth of a second.
        #expect(Self.isTaken(&table, 2, start))
        #expect(!Self.isTaken(&table, 1, start + .milliseconds(99)))
        #expect(Self.isTaken(&table, 1, start + .milliseconds(100)))
        #expect(!Self.isTaken(&table, 1, start + .milliseconds(100)))
        // After a rest there is a burst, and no more.
        let later = start + .seconds(60)
        let taken = (0..<10).filter { _ in Self.isTaken(&table, 1, later) }
        #expect(taken.count == 5)
    }

    @Test func refusal_SaysWhenToComeBack_WhenTheRateIsSlow() {
        var table = AddressTable(Self.limits(rate: 1, burst: 3))
        let start = MonotonicInstant(nanoseconds: 7)
        for _ in 0..<3 { #expect(Self.isTaken(&table, 1, start)) }
        let rest = AddressTable.Rest(tokens: 0, moreInSeconds: 1, places: nil)
        #expect(table.begin(Self.address(1), now: start) == .tooFast(rest))
        #expect(Self.isTaken(&table, 1, start + .seconds(1)))
    }

    @Test func requests_AreRefused_WhileTooManyAreUnderWay() {
        var table = AddressTable(Self.limits(rate: 0, requests: 2))
        let now = MonotonicInstant(nanoseconds: 1)
        guard case .taken(let first, let rest) = table.begin(Self.address(1), now: now),
            case .taken(let second, _) = table.begin(Self.address(1), now: now)
        else {
            Issue.record("refused")
            return
        }
        #expect(rest == AddressTable.Rest(tokens: nil, moreInSeconds: nil, places: 1))
        #expect(table.begin(Self.address(1), now: now) == .tooMany(AddressTable.Rest(places: 0)))
        #expect(Self.isTaken(&table, 2, now))
        table.end(first)
        #expect(Self.isTaken(&table, 1, now))
        table.end(second)
    }

    @Test func address_IsForgotten_WhenItWasHeardOfLongestAgo_AndHasNothingUnderWay() {
        var table = AddressTable(Self.limits(burst: 1, addresses: 3))
        let now = MonotonicInstant(nanoseconds: 1_000_000_000)
        guard case .taken = table.begin(Self.address(1), now: now) else {
            Issue.record("refused")
            return
        }
        for number in [2, 3] as [UInt64] { #expect(Self.isTaken(&table, number, now)) }
        // Heard of again, though refused: now 3 is the oldest without a request under way.
        #expect(!Self.isTaken(&table, 2, now))
        #expect(Self.isTaken(&table, 4, now))
        #expect(table.count == 3)
        #expect(table.forgottenEarly == 1)
        #expect(!Self.isTaken(&table, 1, now), "under way, so never forgotten")
        #expect(!Self.isTaken(&table, 2, now))
        #expect(Self.isTaken(&table, 3, now), "forgotten: it begins with a full bucket")
        // What is forgotten with a full bucket lost nothing.
        let before = table.forgottenEarly
        #expect(Self.isTaken(&table, 5, now + .seconds(10)))
        #expect(table.forgottenEarly == before)
    }

    /// Against a table without a bound that counts tokens one by one.
    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func table_DecidesAsAPlainOne_WhateverHappens(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let limits = Self.limits(rate: 4, burst: 3, requests: 2, addresses: 8)
        var table = AddressTable(limits)
        var model: [UInt64: (fullAt: UInt64, places: [Int])] = [:]
        var now = MonotonicInstant(nanoseconds: 1_000_000_000)
        for step in 0..<4_000 {
            now = now + .milliseconds(Int64.random(in: 0...60, using: &random))
            // As many addresses as the table holds, so that nobody is forgotten.
            let number = UInt64.random(in: 1...8, using: &random)
            var entry = model[number] ?? (0, [])
            if Bool.random(using: &random), !entry.places.isEmpty {
                table.end(entry.places.removeLast())
            } else {
                let fullAt = max(entry.fullAt, now.nanoseconds) + limits.interval
                let verdict = table.begin(Self.address(number), now: now)
                switch verdict {
                case .taken(let place, _):
                    #expect(entry.places.count < 2 && fullAt - now.nanoseconds <= limits.bucket, "seed \(seed) \(step)")
                    entry = (fullAt, entry.places + [place])
                case .tooMany: #expect(entry.places.count == 2, "seed \(seed) \(step)")
                case .tooFast(let rest):
                    #expect(entry.places.count < 2 && fullAt - now.nanoseconds > limits.bucket, "seed \(seed) \(step)")
                    #expect(rest.moreInSeconds == 1)
                }
            }
            model[number] = entry
        }
        #expect(table.forgottenEarly == 0)
    }
}
