import Glibc
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

    /// What a run told the outside world before it ended.
    private struct Run {
        /// Requests that were acknowledged.
        var acknowledged = 0
        /// Records before this one were released: whether they are still there does not matter.
        var released = 0
        var died = false
        var deletedSegments = 0
        var epoch: UInt32 = 0
    }

    @Test func acceptedMeansDurable_AtEveryWriteAndSync_WhenKilledOrWithoutPower() throws {
        var stops = 0
        var recoveredRecords = 0
        var deletedSegments = 0
        for end in End.allCases {
            var call = 0
            while true {
                let disk = FakeFileSystem()
                disk.inject(.die, atCall: call)
                let run = run(on: disk)
                let survivor =
                    switch end {
                    case .killed: disk.killed()
                    case .powerLostAll: disk.withoutPower(.losesEverythingUnsynced)
                    case .powerKeptAll: disk.withoutPower(.keepsEverything)
                    case .powerKeptSome: disk.withoutPower(.keepsSome, seed: UInt64(call))
                    }
                recoveredRecords += try check(survivor, run, "\(end) at call \(call)")
                deletedSegments += run.deletedSegments
                stops += 1
                call += 1
                if !run.died { break }
            }
        }
        #expect(stops > 200)
        #expect(recoveredRecords > 1000)
        #expect(deletedSegments > 50)
        print("journal crash points: \(stops), recovered: \(recoveredRecords), segments deleted: \(deletedSegments)")
    }

    private func run(on disk: FakeFileSystem) -> Run {
        var run = Run()
        guard let harness = try? JournalHarness(disk) else {  // try?: the injected death
            run.died = true
            return run
        }
        run.epoch = harness.journal.epoch
        func segments() -> Int { disk.paths.filter { $0.hasSuffix(".seg") }.count }
        for request in 0..<Self.requests {
            guard harness.append(scriptedRecords(request)).value != nil else { break }
            run.acknowledged += 1
            if request % 7 == 6 {
                // Everything so far is delivered: whole segments go, as behind a forwarder.
                let before = segments()
                harness.letGo(disk)
                run.released = (0...request).flatMap(scriptedRecords).count
                run.deletedSegments += max(0, before - segments())
            }
        }
        harness.close()
        run.died = !harness.failures.withLock { $0.isEmpty } || run.acknowledged < Self.requests
        return run
    }

    /// Opens twice: the first recovery must leave a journal that the second finds the same, with new records after it.
    private func check(_ disk: FakeFileSystem, _ run: Run, _ context: String) throws -> Int {
        let script = (0..<Self.requests).flatMap(scriptedRecords)
        let promised = (0..<run.acknowledged).flatMap(scriptedRecords).count
        let first = try JournalHarness(disk)
        // Where lanes would begin. The script's records are of one epoch, numbered from 0.
        let from = first.released.withLock { $0 }
        let start = from.epoch == run.epoch ? Int(from.sequence) : 0
        let recovered = try first.read(from: from)
        let end = start + recovered.count
        #expect(start <= run.released, "\(context): records count as released that are not")
        #expect(end >= promised, "\(context): lost acknowledged records")
        #expect(end <= script.count, "\(context): more than was sent")
        if end <= script.count {
            #expect(recovered.map(\.text) == Array(script[start..<end]), "\(context): not what was sent, in order")
        }
        let whole = (0...Self.requests).contains { (0..<$0).flatMap(scriptedRecords).count == end }
        #expect(whole, "\(context): half a request was recovered")
        let appended = first.append(["after"])
        let lsn = try #require(appended.value?.first, "\(context): no append after recovery")
        #expect(recovered.allSatisfy { $0.lsn < lsn }, "\(context): an LSN was used again")

        // The next process dies too, at once: what it recovered was made durable before anybody saw it.
        let again = disk.withoutPower(.losesEverythingUnsynced)
        first.close()
        let second = try JournalHarness(again)
        let found = try second.read(from: from).map(\.text)
        #expect(found == recovered.map(\.text) + ["after"], "\(context): the second recovery differs")
        second.close()
        return recovered.count
    }
}
