import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// Promise 1 on a disk that forgets: a scripted run is stopped at every call that changes the disk, and what is found
/// afterwards is compared with what was acknowledged.
@Suite struct CrashTests {
    private static let requests = 24

    private enum End: CaseIterable {
        case killed, powerLostAll, powerKeptAll, powerKeptSome
    }

    @Test func acceptedMeansDurable_AtEveryWriteAndSync_WhenKilledOrWithoutPower() throws {
        var stops = 0
        var recoveredRecords = 0
        for end in End.allCases {
            var call = 0
            while true {
                let disk = FakeFileSystem()
                disk.inject(.die, atCall: call)
                let (acknowledged, died) = run(on: disk)
                let survivor =
                    switch end {
                    case .killed: disk.killed()
                    case .powerLostAll: disk.withoutPower(.losesEverythingUnsynced)
                    case .powerKeptAll: disk.withoutPower(.keepsEverything)
                    case .powerKeptSome: disk.withoutPower(.keepsSome, seed: UInt64(call))
                    }
                recoveredRecords += try check(survivor, acknowledged: acknowledged, "\(end) at call \(call)")
                stops += 1
                call += 1
                if !died { break }
            }
        }
        #expect(stops > 200)
        #expect(recoveredRecords > 1000)
        print("journal crash points: \(stops), records recovered: \(recoveredRecords)")
    }

    /// - Returns: the acknowledged requests, and whether the disk died before the end.
    private func run(on disk: FakeFileSystem) -> (acknowledged: Int, died: Bool) {
        guard let harness = try? JournalHarness(disk) else { return (0, true) }  // try?: the injected death
        var acknowledged = 0
        for request in 0..<Self.requests {
            guard harness.append(scriptedRecords(request)).value != nil else { break }
            acknowledged += 1
            if request % 7 == 6 {
                // Lets the keeper delete what is behind, as a forwarder does.
                harness.released.withLock { $0 = harness.journal.durable }
                harness.released.withLock { $0 = .zero }
            }
        }
        harness.close()
        return (acknowledged, !harness.failures.withLock { $0.isEmpty } || acknowledged < Self.requests)
    }

    /// Opens twice: the first recovery must leave a journal that the second finds the same, with new records after it.
    private func check(_ disk: FakeFileSystem, acknowledged: Int, _ context: String) throws -> Int {
        let script = (0..<Self.requests).flatMap(scriptedRecords)
        let promised = (0..<acknowledged).flatMap(scriptedRecords)
        let first = try JournalHarness(disk)
        let recovered = try first.read()
        let texts = recovered.map(\.text)
        #expect(texts.count >= promised.count, "\(context): lost acknowledged records")
        #expect(texts == Array(script.prefix(texts.count)), "\(context): not a prefix of what was sent")
        let whole = (0...Self.requests).contains { (0..<$0).flatMap(scriptedRecords).count == texts.count }
        #expect(whole, "\(context): half a request was recovered")
        let appended = first.append(["after"])
        let lsn = try #require(appended.value?.first, "\(context): no append after recovery")
        #expect(recovered.allSatisfy { $0.lsn < lsn }, "\(context): an LSN was used again")

        // The next process dies too, at once: what it recovered was made durable before anybody saw it.
        let again = disk.withoutPower(.losesEverythingUnsynced)
        first.close()
        let second = try JournalHarness(again)
        #expect(try second.texts() == texts + ["after"], "\(context): the second recovery differs")
        second.close()
        return texts.count
    }
}
