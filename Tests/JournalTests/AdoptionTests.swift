import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

@Suite struct AdoptionTests {
    private static let foreign = Adoption.Checkpoint(lsn: LSN(epoch: 99, sequence: 5), epoch: 99, nonce: 7)
    private static let other = Adoption.Checkpoint(lsn: LSN(epoch: 99, sequence: 5), epoch: 99, nonce: 8)

    private func adopt(_ disk: FakeFileSystem, _ decision: Adoption.Decision) throws(JournalError) -> Adoption {
        try Journal.adopt(
            directory: JournalHarness.directory, decision, settings: JournalHarness.settings, fileSystem: disk,
            log: JournalHarness.quiet)
    }

    @Test func adoption_IsRefused_WhereThereIsNoJournal_AndMakesNone() throws {
        let disk = FakeFileSystem()
        let error = #expect(throws: JournalError.self) { try adopt(disk, .resend) }
        #expect(error?.description.contains("META") == true)
        #expect(try !disk.exists(JournalHarness.directory))
    }

    @Test func adoption_IsRefused_WhileAGatewayRuns() throws {
        let disk = FakeFileSystem()
        let harness = try JournalHarness(disk)
        let error = #expect(throws: JournalError.self) { try adopt(disk, .resend) }
        guard case .inUse = error else { return #expect(Bool(false), "\(String(describing: error))") }
        #expect(try harness.journal.adopt(lane: 0, Self.foreign) == nil)
        harness.close()
    }

    @Test(arguments: Adoption.Decision.allCases)
    func decision_IsBoundToTheFirstUnknownCheckpointOfEachLane_WhateverCrashes(decision: Adoption.Decision) throws {
        var disk = FakeFileSystem()
        let first = try JournalHarness(disk)
        let appended = try first.append(["a", "b"]).get()
        first.close()
        let adoption = try adopt(disk, decision)
        #expect(adoption.decision == decision && adoption.end == appended.first.advanced(by: 2))

        // Each process loses its power after it was told.
        disk = disk.withoutPower(.losesEverythingUnsynced)
        for life in 0..<3 {
            let harness = try JournalHarness(disk)
            let bound = try harness.journal.adopt(lane: 2, Self.foreign)
            #expect(bound?.decision == decision && bound?.end == adoption.end, "life \(life)")
            #expect(try harness.journal.adopt(lane: 2, Self.other) == nil)
            // A lane whose history is known needs no decision any more.
            try harness.journal.closeAdoption(lane: 3)
            try harness.journal.closeAdoption(lane: 2)
            let left = disk.withoutPower(.losesEverythingUnsynced)
            harness.close()
            disk = left
        }
        let last = try JournalHarness(disk)
        #expect(try last.journal.adopt(lane: 3, Self.foreign) == nil)
        #expect(try last.journal.adopt(lane: 4, Self.other) != nil)
        last.close()
        // A new decision is about everything again.
        _ = try adopt(disk, .resend)
        let again = try JournalHarness(disk)
        #expect(try again.journal.adopt(lane: 3, Self.other)?.decision == .resend)
        #expect(try again.journal.adopt(lane: 2, Self.other)?.decision == .resend)
        again.close()
    }

    @Test func brokenFile_DecidesNothing() throws {
        let disk = FakeFileSystem()
        try JournalHarness(disk).close()
        _ = try adopt(disk, .assumeDelivered)
        let path = JournalHarness.directory + "/ADOPTION"
        let file = try disk.open(path, .readWrite)
        let (one, two) = (try file.read(1, at: 24), try file.read(1, at: 8192 + 24))
        // The decision, in both slots.
        try file.writeAll(one.map { $0 ^ 3 }, at: 24)
        try file.writeAll(two.map { $0 ^ 3 }, at: 8192 + 24)
        let harness = try JournalHarness(disk)
        #expect(try harness.journal.adopt(lane: 0, Self.foreign) == nil)
        harness.close()
        // And does not stand in the way of another.
        _ = try adopt(disk, .assumeDelivered)
        let next = try JournalHarness(disk)
        #expect(try next.journal.adopt(lane: 0, Self.foreign) != nil)
        next.close()
    }

    @Test func adoption_SurvivesItsOwnForm() throws {
        var adoption = Adoption(.resend, end: LSN(rawValue: 77), lanes: 64)
        let isMeant = adoption.bind(lane: 63, to: Self.foreign)
        #expect(isMeant)
        adoption.close(lane: 0)
        #expect(adoption.encoded().count == 10 + 64 * 21)
        #expect(adoption.encoded().count <= Adoption.kind.payloadBytesMax)
        #expect(try Adoption(decoding: adoption.encoded()[...]) == adoption)
        let bytes = adoption.encoded()
        for wrong in [[], Array(bytes.dropLast()), bytes + [0], [3] + bytes.dropFirst()] {
            #expect(throws: MalformedBytes.self) { try Adoption(decoding: wrong[...]) }
        }
    }
}
