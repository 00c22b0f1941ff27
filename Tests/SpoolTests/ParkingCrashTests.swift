import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

/// Whatever happens while a lane is parked: nothing is lost, nothing comes twice.
@Suite struct ParkingCrashTests {
    private static let deaths = 70
    private static let losses: [FakeFileSystem.PowerLoss?] = [nil, .losesEverythingUnsynced, .keepsSome]

    /// Where the next process found the lane.
    private enum Found: Hashable {
        /// Nothing is parked, and nothing was left.
        case nothing
        /// A file that no CHECKPOINT names, which the start removed.
        case unnamed
        case partlyParked
        case parked
        /// Delivered, with files that nobody had removed.
        case drained
    }

    /// The process dies before the Nth change of the disk, for every N from before the lane is parked until its files
    /// are gone.
    @Test func parking_LosesAndDoublesNothing_AfterADeathAtEveryStep() throws {
        var found: [Found: Int] = [:]
        /// Segments had gone: the parked files alone had the lane's next record.
        var onlyCopies = 0
        for number in 0..<3 * Self.deaths {
            let (loss, death) = (Self.losses[number % 3], number / 3)
            let life = try ParkingLife()
            for _ in 0..<24 { life.accept(0) }
            life.read(0, records: 5)
            life.disk.inject(.die, atCall: death)
            _ = life.flow { life.isParked }
            if !life.isDead { for _ in 0..<6 { life.deliver(0, records: 5) } }
            _ = life.flow(turns: 20) { life.files.isEmpty }
            let wasDrained = life.parkedTo == .zero && life.spool.spool.lagRecords(lane: 0) == 0
            try life.restart(loss, seed: UInt64(death))
            let calls = life.disk.log
            let state = life.spool.spool.state.withLock { $0.cursors.lanes[0] }
            let segments = life.disk.paths.filter { $0.hasSuffix(".seg") }
            let first = segments.compactMap { UInt64($0.dropLast(4).suffix(20)) }.min() ?? 0
            if state.isParked, first > state.undelivered.rawValue { onlyCopies += 1 }
            if state.isParked {
                found[state.hasWork ? .partlyParked : .parked, default: 0] += 1
            } else if calls.prefix(while: { $0 != "posix_fallocate" }).contains("unlink"), !life.disk.paths.isEmpty {
                found[wasDrained ? .drained : .unnamed, default: 0] += 1
            } else {
                found[.nothing, default: 0] += 1
            }
            life.end()
        }
        print("deaths while parking: \(found), \(onlyCopies) with the only copy parked")
        for place in [.unnamed, .partlyParked, .parked, .drained] as [Found] {
            #expect((found[place] ?? 0) > 0, "\(place)")
        }
        #expect(onlyCopies > 0)
    }

    @Test func parking_LosesAndDoublesNothing_WhateverHappens() throws {
        var seeds = SeededGenerator(printingFor: "parking_LosesAndDoublesNothing")
        var (parked, refused, restarts) = (0, 0, 0)
        let losses: [FakeFileSystem.PowerLoss?] = [nil, .losesEverythingUnsynced, .keepsEverything, .keepsSome]
        for number in 0..<30 {
            var random = SeededGenerator(seed: number == 0 ? seeds.seed : seeds.next())
            let life = try ParkingLife()
            var stuck = Set([0])
            for _ in 0..<150 {
                let lane = Int.random(in: 0..<3, using: &random)
                switch Int.random(in: 0..<24, using: &random) {
                case 0: _ = life.flow(turns: 60) { life.isParked }
                case 1: stuck = Set((0..<3).filter { _ in Int.random(in: 0..<3, using: &random) == 0 })
                case 2 where Int.random(in: 0..<3, using: &random) == 0:
                    let loss = losses.randomElement(using: &random)!
                    restarts += 1
                    try life.restart(loss, seed: random.next())
                case 3 where Int.random(in: 0..<4, using: &random) == 0:
                    life.disk.inject(.die, atCall: Int.random(in: 0..<40, using: &random))
                case 4..<8: life.read(lane, records: Int.random(in: 1...12, using: &random))
                case 8..<12: if !stuck.contains(lane) { life.settle(lane) }
                default: life.accept(lane)
                }
                if life.isParked { parked += 1 }
                if life.isDead { try life.restart(.keepsSome, seed: random.next()) }
            }
            if life.isDead { try life.restart(.keepsSome, seed: random.next()) }
            refused += life.backlogRefusals
            // A death that waits for its call is not to meet the end.
            try life.restart(nil)
            life.end()
        }
        print("parking lives: parked at \(parked) steps, \(refused) refused, \(restarts) restarts")
        #expect(parked > 100 && refused > 20 && restarts > 20)
    }
}
