import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct OutcomeTests {
    @Test func outcome_TellsEachState_AlsoAcrossARestart() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        let lsns = try (0..<6).map { try spool.accept(record($0 % 2, "\($0)")) }
        for lsn in lsns { #expect(try spool.spool.outcome(of: lsn) == .accepted) }
        try spool.deliver(0)
        let place = TopicPartition(topic: topic(0), partition: 0)
        for number in [0, 2, 4] {
            #expect(
                try spool.spool.outcome(of: lsns[number])
                    == .delivered(
                        Delivery(
                            lsn: lsns[number], partition: place, offset: Int64(lsns[number].sequence), timestampMs: 0)))
        }
        #expect(try spool.spool.outcome(of: lsns[1]) == .accepted)
        let never = [
            LSN.zero, LSN(epoch: 7, sequence: 1), LSN(rawValue: lsns[5].rawValue + 1),
            LSN(epoch: spool.spool.epoch + 1, sequence: 0), LSN(rawValue: .max),
        ]
        for lsn in never { #expect(try spool.spool.outcome(of: lsn) == .unknown) }
        spool.close()

        let next = try SpoolHarness(disk.killed())
        for lsn in never where lsn.epoch != next.spool.epoch {
            #expect(try next.spool.outcome(of: lsn) == .unknown, "\(lsn)")
        }
        // Nothing was kept; that they are settled, the spool remembers.
        #expect(try next.spool.outcome(of: lsns[0]) == .settled)
        #expect(try next.spool.outcome(of: lsns[1]) == .accepted)
        try next.deliverAll()
        guard case .delivered = try next.spool.outcome(of: lsns[1]) else {
            Issue.record("lane 1 delivered it")
            return
        }
        // Also once its segments are gone.
        for number in 0..<40 {
            try next.accept(record(0, "\(number)", padding: 900))
            try next.deliver(0)
        }
        #expect(try eventually { try next.spool.lane(of: lsns[2]) == nil })
        #expect(try next.spool.outcome(of: lsns[2]) == .settled)
        for lsn in never where lsn.epoch != next.spool.epoch {
            #expect(try next.spool.outcome(of: lsn) != .settled, "\(lsn)")
        }
        next.close()
    }

    @Test func outcome_IsExpired_OnceTheRingWasOverrun() throws {
        var settings = SpoolHarness.settings
        settings.outcomesInMemory = 5
        let spool = try SpoolHarness(FakeFileSystem(), settings: settings)
        // Lane 1 keeps everything from being wholly delivered.
        try spool.accept(record(1, "waits"))
        let lsns = try (0..<12).map { try spool.accept(record(0, "\($0)")) }
        try spool.deliver(0)
        for lsn in lsns.dropLast(5) { #expect(try spool.spool.outcome(of: lsn) == .expired) }
        for lsn in lsns.suffix(5) {
            guard case .delivered(let delivery) = try spool.spool.outcome(of: lsn) else {
                Issue.record("\(lsn) is among the last five")
                continue
            }
            #expect(delivery.lsn == lsn)
        }
        spool.close()
    }

    @Test func outcome_IsNeverUnknown_WhileTheRecordIsDeliveredAndItsSegmentDeleted() throws {
        let disk = FakeFileSystem()
        let harness = try SpoolHarness(disk)
        let spool = harness.spool
        let asked = Monitor<(lsns: [LSN], wrong: [String], done: Bool)>(([], [], false))
        let asker = WorkerThread(name: "asker") {
            while true {
                let (lsns, done) = asked.withLock { ($0.lsns.suffix(40), $0.done) }
                if done { return }
                for lsn in lsns {
                    do throws(OutcomeError) {
                        let outcome = try spool.outcome(of: lsn)
                        if outcome == .unknown || outcome == .expired || outcome == .settled {
                            asked.withLock { $0.wrong.append("\(lsn): \(outcome)") }
                        }
                    } catch {
                        asked.withLock { $0.wrong.append("\(lsn): \(error)") }
                    }
                }
            }
        }
        for number in 0..<300 {
            let lsn = try harness.accept(record(0, "\(number)", padding: 900))
            asked.withLock { $0.lsns.append(lsn) }
            if number % 8 == 7 { try harness.deliver(0) }
        }
        asked.withLock { $0.done = true }
        asker.join()
        #expect(asked.withLock { $0.wrong } == [])
        harness.close()
    }
}
