import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct IntakeTests {
    @Test func submit_IsRefusedOverTheQuota_AndAcceptedAgainAfterDelivery_AlsoAfterARestart() throws {
        var settings = SpoolHarness.settings
        settings.bytesMax = settings.bytesMaxLeast
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings)
        var accepted = 0
        var refusal: SpoolRefusal?
        while refusal == nil, accepted < 1000 {
            switch spool.submit([record(0, "\(accepted)", padding: 900)]) {
            case .success: accepted += 1
            case .failure(let error): refusal = error
            }
        }
        #expect(refusal == .quota(bytesMax: settings.bytesMax))
        #expect(refusal?.outcomeUnknown == false)
        #expect(spool.spool.intakeClosed == "quota")
        spool.close()

        let next = try SpoolHarness(disk.killed(), settings: settings)
        #expect(next.submit([record(0, "at once")]) == .failure(.quota(bytesMax: settings.bytesMax)))
        var delivered: [String] = []
        while delivered.count < accepted { delivered += try next.deliver(0, records: 5) }
        #expect(delivered == (0..<accepted).map { "\($0)" })
        // Lanes 1 and 2 have to look through what was recovered before it may go.
        #expect(try next.deliver(1) == [])
        #expect(try next.deliver(2) == [])
        #expect(eventually { next.spool.intakeClosed == nil })
        try next.accept(record(0, "after"))
        #expect(try next.deliver(0) == ["after"])
        next.close()
    }

    @Test func intake_ClosesAndOpensByCode_AndStoresNothingMeanwhile() throws {
        let spool = try SpoolHarness(FakeFileSystem())
        try spool.accept(record(0, "before"))
        spool.spool.closeIntake("spool_history_unknown")
        #expect(spool.spool.intakeClosed == "spool_history_unknown")
        #expect(spool.submit([record(0, "refused")]) == .failure(.closed(code: "spool_history_unknown")))
        spool.spool.closeIntake(nil)
        #expect(spool.spool.intakeClosed == nil)
        try spool.accept(record(0, "after"))
        #expect(try spool.read(0).texts == ["before", "after"])
        spool.close()
        #expect(spool.submit([record(0, "late")]) == .failure(.stopping))
    }

    @Test func lag_CountsEachAcceptedRecordUntilItIsSettled() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        _ = try spool.submit([record(0, "a"), record(1, "b"), record(0, "c")]).get()
        for number in 0..<10 { try spool.accept(record(0, "\(number)", padding: 900)) }
        #expect((0..<3).map { spool.spool.lagRecords(lane: $0) } == [12, 1, 0])
        #expect(try spool.deliver(0, records: 4).count == 4)
        #expect(spool.spool.lagRecords(lane: 0) == 8)
        spool.spool.closeIntake("test")
        _ = spool.submit([record(0, "refused")])
        spool.spool.closeIntake(nil)
        _ = spool.submit([record(0, "too large", padding: 20_000)])
        #expect(spool.spool.lagRecords(lane: 0) == 8)
        spool.close()

        let next = try SpoolHarness(disk.killed())
        // Nobody has counted them yet, and nobody may say that there are none; lane 2 was known to have none.
        #expect((0..<3).map { next.spool.lagRecords(lane: $0) } == [1, 1, 0])
        try next.accept(record(0, "new"))
        _ = try next.read(0)
        #expect(next.spool.lagRecords(lane: 0) == 9)
        try next.deliver(1)
        try next.deliver(2)
        #expect((1..<3).map { next.spool.lagRecords(lane: $0) } == [0, 0])
        next.close()
    }

    @Test func lag_CountsRecoveredRecordsOnce_WhenTheyAreReadAgain() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        for number in 0..<10 { try spool.accept(record(0, "\(number)", padding: 900)) }
        spool.close()
        let next = try SpoolHarness(disk.killed())
        for _ in 0..<3 {
            let reader = next.spool.laneReader(0)
            while try !reader.next(recordsMax: 3, bytesMax: 1 << 20).records.isEmpty {}
            #expect(next.spool.lagRecords(lane: 0) == 10)
        }
        next.close()
    }

    @Test func lag_IsKnownOfEachTopic_AlsoAfterARestart() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        // Two topics of one lane, and one that never has a record.
        let (one, other, none) = (topic(0), topic(0, 1), topic(0, 2))
        func lags(_ harness: SpoolHarness) -> [Int] { [one, other, none].map { harness.spool.lagRecords(topic: $0) } }
        var second = record(0, "b")
        second.topic = other
        _ = try spool.submit([record(0, "a"), second, record(0, "c")]).get()
        #expect(lags(spool) == [2, 1, 0])
        _ = spool.submit([record(0, "too large", padding: 20_000)])
        #expect(lags(spool) == [2, 1, 0])
        #expect(try spool.deliver(0, records: 2) == ["a", "b"])
        #expect(lags(spool) == [1, 0, 0])
        spool.close()

        let next = try SpoolHarness(disk.killed())
        // Nobody may say that there are none before the lane has looked.
        #expect(lags(next) == [1, 1, 1])
        _ = try next.read(0)
        #expect(lags(next) == [1, 0, 0])
        try next.deliver(0)
        #expect(lags(next) == [1, 0, 0], "the reader was past it")
        next.close()
    }

    @Test func lag_KeepsWhatWasWritten_WhenASyncHangsAndReturns() throws {
        var settings = SpoolHarness.settings
        settings.journal.syncTimeout = .milliseconds(20)
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings)
        disk.holdSyncs()
        #expect(spool.submit([record(0, "late")]) == .failure(.stalled(wasWritten: true)))
        disk.releaseSyncs()
        var found: [String] = []
        #expect(
            try eventually {
                found += try spool.deliver(0)
                return !found.isEmpty
            })
        #expect(found == ["late"])
        #expect(spool.spool.lagRecords(lane: 0) == 0)
        spool.close()
    }
}
