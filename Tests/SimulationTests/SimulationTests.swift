import Glibc
import Store
import TestSupport
import Testing

@testable import DeadLetters

/// The promises of docs/RELIABILITY.md, over spool, forwarder and consumers on a simulated disk, clock and broker, with
/// clients and operators: whatever happens in whatever order. One thread does everything, so a seed is a run.
///
/// The broker is one in memory behind the protocols of `Broker`: the embedded one is SQLite, whose disk is not ours to
/// simulate. So is the dead-letter store, which here outlives every process with whatever it was told.
@Suite struct SimulationTests {
    private static let workers = 2
    private static let events = 50

    /// The same runs for every change, so that none is refused for a seed that nobody has met before: for those there
    /// is `Scripts/torture --only simulation`.
    private static let usualSeed: UInt64 = 4

    /// How many seeds: `POSTRIDER_TEST_SEEDS`.
    private static var seeds: Int {
        getenv("POSTRIDER_TEST_SEEDS").flatMap { Int(String(cString: $0)) } ?? 2_000
    }

    @Test func promises_AreKept_WhateverHappens() async throws {
        var seeds = SeededGenerator(printingFor: "simulation", usual: Self.usualSeed)
        // The first run is the printed seed's own, so that a failing one can be repeated alone.
        let all = (0..<Self.seeds).map { $0 == 0 ? seeds.seed : seeds.next() }
        let tallies = try await withThrowingTaskGroup(of: Tally.self) { group in
            for worker in 0..<Self.workers {
                let mine = stride(from: worker, to: all.count, by: Self.workers).map { all[$0] }
                group.addTask { try Self.run(mine) }
            }
            var sum = Tally()
            for try await tally in group { sum.add(tally) }
            return sum
        }
        print("simulation: seeds=\(all.count) \(tallies.text)")
        // A few seeds need not meet everything.
        if all.count >= 1_000 {
            for kind in Tally.Kind.allCases { #expect(tallies[kind] > 0, "it never happened: \(kind)") }
        }
    }

    @Test func seed_RepeatsItsRun() throws {
        var seeds = SeededGenerator(printingFor: "simulation, repeated")
        let stores = try Stores()
        for number in 0..<10 {
            let seed = number == 0 ? seeds.seed : seeds.next()
            let digests = try (0..<2).map { _ in
                let world = try stores.world(seed)
                try world.run(events: Self.events)
                return world.chance.digest
            }
            #expect(digests[0] == digests[1], "seed \(seed)")
        }
    }

    private static func run(_ seeds: [UInt64]) throws -> Tally {
        var tally = Tally()
        let stores = try Stores()
        for seed in seeds {
            let world = try stores.world(seed)
            try world.run(events: events)
            tally.add(world.ledger.tally)
            guard !world.ledger.violations.isEmpty else { continue }
            // Once more, and this time it tells.
            let again = try stores.world(seed, traces: true)
            try again.run(events: events)
            for line in (again.trace ?? []).suffix(3_000) { print(line) }
            Issue.record(
                """
                \(world.ledger.violations) in event \(world.ledger.now), and again: \(again.ledger.violations)
                repeat with POSTRIDER_TEST_SEED=\(seed) POSTRIDER_TEST_SEEDS=1
                """)
            break
        }
        return tally
    }
}

/// Two dead-letter stores, emptied for each world: making them takes longer than a run.
private final class Stores {
    private let directory: TemporaryDirectory
    private let stores: [DeadLetters]

    init() throws {
        directory = try TemporaryDirectory()
        let path = directory.path
        stores = try (0..<2).map { try DeadLetters(directory: "\(path)/\($0)") }
    }

    func world(_ seed: UInt64, traces: Bool = false) throws -> World {
        for store in stores {
            try store.change { (file) throws(StoreError) in
                try file.connection.execute("DELETE FROM dead_letters; DELETE FROM ends; DELETE FROM quarantined")
                try file.count()
            }
        }
        return try World(seed: seed, stores: stores, traces: traces)
    }
}
