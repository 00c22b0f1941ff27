import Primitives
import TestSupport
import Testing

/// What the crash tests prove rests on the disk that they run on.
@Suite struct FakeFileSystemTests {
    private static let rounds = 50
    private static let fileBytes = 8 << 20

    /// Else a record that was accepted counts as lost, although no real disk loses it.
    @Test func sync_IsNotAnswered_WhenThePowerGoesBeforeItTookEffect() throws {
        for round in 0..<Self.rounds {
            let disk = FakeFileSystem()
            let file = try disk.open("/file", .createOrOpen)
            try file.allocate(Int64(Self.fileBytes))
            try file.syncData()
            try disk.syncDirectory("/")
            try file.writeAll([1], at: 0)

            let hasBegun = Monitor(false)
            let isAnswered = Lock(false)
            let thread = WorkerThread(name: "sync") {
                hasBegun.withLock { $0 = true }
                hasBegun.signal()
                // try?: whether it was answered is all that counts.
                let answer: Void? = try? file.syncData()
                isAnswered.withLock { $0 = answer != nil }
            }
            hasBegun.wait { $0 ? () : nil }
            // While this reads, the sync waits for the file; the power goes at the moment when it goes on.
            _ = try file.read(Self.fileBytes, at: 0)
            let survivor = disk.withoutPower(.losesEverythingUnsynced)
            thread.join()

            let (answered, isThere) = (isAnswered.withLock { $0 }, survivor.contents("/file")?.first == 1)
            #expect(!answered || isThere, "round \(round): synced, and lost")
        }
    }
}
