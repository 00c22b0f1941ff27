import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

@Suite struct SlotFileTests {
    private static let kind = SlotFile.Kind(name: "SLOTS", magic: 7, slotBytes: 2048)

    /// Over several sectors, so that a write can be torn.
    private func payload(_ number: UInt8) -> [UInt8] { [UInt8](repeating: number, count: 1500) }

    /// A file whose newest slot says 4, which was written and not synced when its process was killed.
    private func unsynced() throws -> FakeFileSystem {
        let disk = FakeFileSystem()
        try disk.createDurableDirectory("/d")
        let file = try SlotFile.create(Self.kind, in: "/d", payload: payload(1), on: disk)
        try file.write(payload(3))
        // After the write.
        disk.inject(.die, atCall: 1)
        #expect(throws: FileSystemError.self) { try file.write(payload(4)) }
        return disk.killed()
    }

    private func open(_ disk: FakeFileSystem) throws -> (file: SlotFile, number: UInt8?) {
        let (file, payload) = try SlotFile.open(Self.kind, in: "/d", on: disk)
        return (file, payload.first)
    }

    @Test func slotThatWasRead_StaysAfterAPowerFailure_OnceItIsSettled() throws {
        let disk = try unsynced()
        let (file, number) = try open(disk)
        #expect(number == 4)
        #expect(try open(disk.copied().withoutPower(.losesEverythingUnsynced)).number == 3, "nobody acted upon it")
        try file.settle()
        #expect(try open(disk.withoutPower(.losesEverythingUnsynced)).number == 4)
    }

    /// The next write goes over the slot that a power failure would have left.
    @Test(arguments: 0..<12) func oneSlotIsAlwaysGood_WhereverTheNextWriteEnds(call: Int) throws {
        let disk = try unsynced()
        let (file, _) = try open(disk)
        disk.inject(.die, atCall: call)
        do {
            try file.write(payload(5))
        } catch {}
        for seed in 0..<50 as Range<UInt64> {
            let survivor = disk.copied().withoutPower(.keepsSome, seed: seed)
            let number = try open(survivor).number
            #expect([3, 4, 5].contains(number), "seed \(seed)")
        }
    }
}
