import Glibc
import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

/// A damaged spool: what a look at it says, what a repair makes of it, and what can still be taken out of it.
@Suite struct SpoolRepairTests {
    private static let directory = "/spool"

    /// Records of all lanes in several segments; the first ones are delivered. Closed in order.
    private func spool(records count: Int = 120) throws -> (disk: FakeFileSystem, records: [LSN: String]) {
        let disk = FakeFileSystem()
        let harness = try SpoolHarness(disk)
        var records: [LSN: String] = [:]
        for number in 0..<count {
            let (lane, value) = (number % 3, "record \(number)")
            records[try harness.accept(record(lane, value, padding: number * 37 % 400))] = value
        }
        harness.close()
        return (disk.withoutPower(.losesEverythingUnsynced), records)
    }

    private func segments(_ disk: FakeFileSystem) -> [String] { disk.paths.filter { $0.hasSuffix(".seg") } }

    /// Where the frames of a segment begin.
    private func frames(_ disk: FakeFileSystem, _ path: String) throws -> [Int] {
        let bytes = try #require(disk.contents(path))
        return stride(from: 4096, to: bytes.count - 40, by: 8).filter {
            Array(bytes[$0..<$0 + 4]) == Array("PRRF".utf8)
        }
    }

    private func inspect(_ disk: FakeFileSystem) throws -> SpoolInspection {
        try SpoolInspection.of(directory: Self.directory, fileSystem: disk)
    }

    /// What dead letters were told.
    final class Kept {
        var records: [LSN: String] = [:]
        var ranges: [Range<LSN>] = []
    }

    @discardableResult
    private func repair(_ disk: FakeFileSystem, _ kept: Kept = Kept()) throws(RepairFailure) -> SpoolRepair {
        try SpoolRepair.run(
            directory: Self.directory, fileSystem: disk,
            keeping: SpoolRepair.Keeping(
                nowMs: 1_700_000_000_000, report: { Array("\($0.ranges.count)".utf8) },
                keep: { (losses) throws(RepairFailure) in
                    for loss in losses {
                        switch loss {
                        case .record(let lsn, _, let spooled, _): kept.records[lsn] = text(spooled)
                        case .range(let lsns, _): kept.ranges.append(lsns)
                        }
                    }
                }))
    }

    /// Everything that all lanes would deliver.
    private func undelivered(
        _ disk: FakeFileSystem, settings: SpoolSettings = SpoolHarness.settings
    ) throws -> [LSN: String] {
        let harness = try SpoolHarness(disk, settings: settings)
        defer { harness.close() }
        var found: [LSN: String] = [:]
        for lane in 0..<3 {
            while true {
                let batch = try harness.read(lane)
                for record in batch.records { found[record.lsn] = text(record.spooled) }
                if batch.records.isEmpty { break }
            }
        }
        return found
    }

    private func export(_ disk: FakeFileSystem) throws -> (records: [LSN: String], lost: [Range<LSN>]) {
        var export = try SpoolExport.open(
            directory: Self.directory, .zero..<LSN(rawValue: .max), fileSystem: disk)
        defer { export.close() }
        var records: [LSN: String] = [:]
        var lost: [Range<LSN>] = []
        var last = LSN.zero
        while let step = try export.next() {
            switch step {
            case .record(let lsn, let spooled):
                #expect(lsn > last)
                last = lsn
                records[lsn] = text(spooled)
            case .damage(let lsns, _): lost.append(lsns)
            }
        }
        return (records, lost)
    }

    @Test func inspection_CountsEverything_WhenNothingIsWrong() throws {
        let (disk, records) = try spool()
        let calls = disk.calls
        let found = try inspect(disk)
        #expect(disk.calls == calls)
        #expect(found.isClean && found.damages.isEmpty && !found.hasTornTail)
        #expect(found.records == records.count)
        #expect(found.lanes.map(\.records) == [40, 40, 40])
        #expect(found.lanes.map(\.needed) == [40, 40, 40])
        #expect(found.epochs.count == 1)
        #expect(found.epochs.first?.summary.lsns == records.keys.min()!..<records.keys.max()!.next)
        #expect(found.segments.count == segments(disk).count)
        #expect(found.validSlots.map(\.valid) == [2, 2])
        #expect(try export(disk).records == records)
        let plan = try SpoolRepair.plan(directory: Self.directory, fileSystem: disk)
        #expect(plan.ranges.isEmpty)
        #expect(try repair(disk).report == nil)
        #expect(disk.calls == calls + 0 || !disk.paths.contains { $0.contains("quarantine") })
    }

    @Test func repair_LosesOnlyWhatIsBroken_AndSaysSo() throws {
        let (original, records) = try spool()
        for (index, path) in segments(original).dropLast().enumerated() {
            let disk = original.killed()
            let frame = try #require(try frames(disk, path).dropFirst(index % 3).first)
            // A value's byte: the record keeps its form.
            let bytes = try #require(disk.contents(path))
            let at = try #require((frame..<bytes.count).first { Array(bytes[$0..<$0 + 7]) == Array("record ".utf8) })
            disk.overwrite(path) { $0[at] = UInt8(ascii: "R") }
            let found = try inspect(disk)
            #expect(!found.isClean)
            let damage = try #require(found.needed.first)
            #expect(found.needed.count == 1)
            #expect(!damage.topics.isEmpty && damage.unverifiedRecords > 0)
            #expect(try export(disk).lost == [damage.journal.lsns])
            #expect(try export(disk).records == records.filter { !damage.journal.lsns.contains($0.key) })
            #expect(try SpoolRepair.plan(directory: Self.directory, fileSystem: disk).ranges == [damage.journal.lsns])

            let kept = Kept()
            let repaired = try repair(disk, kept)
            #expect(repaired.ranges == [damage.journal.lsns])
            #expect(repaired.copies.map(\.path) == [path] && repaired.copies.allSatisfy { $0.name != nil })
            #expect(kept.ranges == [damage.journal.lsns])
            #expect(kept.records.count == repaired.unverifiedRecords && !kept.records.isEmpty)
            #expect(kept.records.values.contains { $0.hasPrefix("Record ") }, "as its broken bytes say")
            let report = Self.directory + "/quarantine/" + (try #require(repaired.report))
            #expect(disk.contents(report) == Array("1".utf8))
            let after = disk.withoutPower(.losesEverythingUnsynced)
            #expect(after.contents(report) != nil)
            #expect(try inspect(after).isClean)
            #expect(try undelivered(after) == records.filter { !damage.journal.lsns.contains($0.key) })
            // Again: nothing changes, and the dead letters are told once more.
            let again = Kept()
            #expect(try repair(after, again).ranges.isEmpty)
            #expect(again.ranges == [damage.journal.lsns] && again.records.isEmpty)
        }
    }

    @Test func repair_LeavesTheRefusedOrTheRepairedSpool_WhereverItDies() throws {
        let (original, records) = try spool(records: 60)
        let all = segments(original)
        let damages: [(FakeFileSystem) throws -> Void] = [
            // A header that can be made anew, and one that cannot, in one repair.
            { disk in
                disk.overwrite(all[1]) { for at in 0..<100 { $0[at] = 0 } }
                disk.overwrite(all[0]) { for at in 0..<5000 { $0[at] = 0xA5 } }
            },
            { disk in
                try disk.remove(all[1])
                try disk.syncDirectory(Self.directory)
            },
            { disk in disk.overwrite(all[0]) { for at in 4200..<4800 { $0[at] = 0 } } },
        ]
        var swept = 0
        for (kind, damage) in damages.enumerated() {
            let broken = original.killed()
            try damage(broken)
            let before = try inspect(broken)
            #expect(!before.isClean)
            let whole = broken.killed()
            let calls = whole.calls
            try repair(whole)
            let steps = whole.calls - calls
            let left = try undelivered(whole.killed())
            #expect(!left.isEmpty && left.count < records.count)
            for step in 0..<steps {
                for loss in FakeFileSystem.PowerLoss.allCases {
                    let disk = broken.killed()
                    disk.inject(.die, atCall: step)
                    #expect(throws: RepairFailure.self, "kind \(kind) step \(step)") { try repair(disk) }
                    var after = disk.withoutPower(loss, seed: UInt64(step))
                    swept += 1
                    let found = try inspect(after)
                    if found.isClean {
                        #expect(try undelivered(after) == left, "kind \(kind) step \(step) \(loss)")
                    } else {
                        // As refused as before: and a repair still makes the same of it.
                        if !found.refused.isEmpty {
                            let refused = after
                            #expect(throws: JournalError.self) { _ = try SpoolHarness(refused) }
                            after = after.killed()
                        }
                        try repair(after)
                        #expect(try inspect(after).isClean)
                        #expect(try undelivered(after) == left, "kind \(kind) step \(step) \(loss)")
                    }
                }
            }
        }
        #expect(swept > 30)
    }

    @Test func repair_ReportsWhatTheDiskRefuses_AndAcceptsNothing() throws {
        let (disk, _) = try spool(records: 60)
        disk.overwrite(segments(disk)[0]) { for at in 4200..<4800 { $0[at] = 0 } }
        for code in [EIO, ENOSPC, EROFS] {
            let copy = disk.killed()
            copy.failPaths((".bytes", code))
            #expect(throws: RepairFailure.self) { try repair(copy) }
            #expect(try !inspect(copy).isClean)
        }
        let copy = disk.killed()
        let failure = #expect(throws: RepairFailure.self) {
            try SpoolRepair.run(
                directory: Self.directory, fileSystem: copy,
                keeping: SpoolRepair.Keeping(
                    nowMs: 1, report: { _ in [] },
                    keep: { (losses) throws(RepairFailure) in if !losses.isEmpty { throw .deadLetters("full") } }))
        }
        #expect(failure?.description == "dead letters: full")
        #expect(try !inspect(copy).isClean, "what the dead letters did not take must not be accepted as lost")
    }

    @Test func copies_HaveALimit_AndTheReportSaysSo() throws {
        let (disk, _) = try spool(records: 60)
        disk.overwrite(segments(disk)[0]) { for at in 4200..<4800 { $0[at] = 0xA5 } }
        var keeping = SpoolRepair.Keeping(
            nowMs: 1, report: { Array("\($0.copies.map { $0.name == nil })".utf8) }, keep: { _ in })
        keeping.bytesMax = 100
        let repaired = try SpoolRepair.run(directory: Self.directory, fileSystem: disk, keeping: keeping)
        #expect(repaired.copies.map(\.name) == [nil])
        #expect(disk.contents(Self.directory + "/quarantine/report-1.json") == Array("[true]".utf8))
        #expect(try inspect(disk).isClean)
    }

    @Test func haltedLane_GoesOnAfterARepair() throws {
        // Damage that a start does not see: a body that CHECKPOINT calls verified.
        let (disk, records) = try spool()
        let path = segments(disk)[0]
        disk.overwrite(path) { $0[4096 + 60] ^= 1 }
        let harness = try SpoolHarness(disk)
        #expect(throws: SpoolReadError.self) { for lane in 0..<3 { _ = try harness.read(lane) } }
        harness.close()
        let found = try inspect(disk)
        #expect(found.refused.isEmpty && found.needed.map(\.standing) == [.stopsReaders])
        let repaired = try repair(disk)
        let left = records.filter { record in !repaired.ranges.contains { $0.contains(record.key) } }
        #expect(try undelivered(disk) == left)
    }

    @Test func undecodableRecord_StopsNobodyAfterARepair() throws {
        // As a later program would write: the checksum is right, the form unknown.
        let disk = FakeFileSystem()
        let harness = try SpoolHarness(disk)
        let first = try harness.accept(record(0, "first"))
        var later = JournalRecords(capacity: 64)
        later.append { writer in
            SpoolRecordCodec.encode(record(0, "later"), lane: 0, to: &writer)
            writer.replace(at: 4, with: UInt8(9))
        }
        let written = Monitor<LSN?>(nil)
        harness.spool.journal.append(later, tag: 1) { result in
            if case .success(let appended) = result { written.withLock { $0 = appended.first } }
            written.signal()
        }
        let lsn = try #require(written.wait { $0 })
        let last = try harness.accept(record(0, "last"))
        harness.close()
        let found = try inspect(disk)
        #expect(found.needed.map(\.journal.kind) == [.undecodable])
        #expect(found.needed.map(\.journal.lsns) == [lsn..<lsn.next])
        #expect(try export(disk).lost == [lsn..<lsn.next])
        let repaired = try repair(disk)
        #expect(repaired.copies.count == 1)
        #expect(try undelivered(disk) == [first: "first", last: "last"])
        #expect(try inspect(disk).isClean)
    }

    @Test func parkedDamage_ConcernsItsLaneOnly() throws {
        let life = try ParkingLife()
        // Lane 0 stands still and is parked; lane 1 delivers.
        let isParked = eventually {
            life.accept(0)
            life.accept(1)
            life.read(1, records: 10)
            life.settle(1)
            return life.isParked
        }
        #expect(isParked)
        let disk = life.disk
        life.spool.close()
        let clean = disk.withoutPower(.losesEverythingUnsynced)
        let found = try inspect(clean)
        #expect(found.isClean)
        let all = try export(clean).records
        #expect(found.lanes[0].parkedRecords > 0)
        let file = try #require(clean.paths.first { $0.hasSuffix(".parked") })
        // The first frame's body.
        clean.overwrite(file) { $0[56 + 40 + 20] ^= 1 }
        let broken = try inspect(clean)
        #expect(broken.needed.map(\.parkedLane) == [0])
        let lost = try #require(broken.needed.first?.journal.lsns)
        let kept = Kept()
        let repaired = try repair(clean, kept)
        // One bit of a timestamp broke: all of them still look like records.
        // (The other lane's may stand in the journal still, if it was slow to let its segments go.)
        let own = Set(life.accepted[0])
        let ofLane = all.filter { lost.contains($0.key) && found.lanes[0].delivered < $0.key && own.contains($0.value) }
        #expect(kept.records == ofLane)
        #expect(!kept.records.isEmpty && kept.ranges == [lost])
        #expect(repaired.unverifiedRecords == kept.records.count)
        #expect(broken.needed.first?.topics == [topic(0).text])
        #expect(repaired.ranges == [lost] && repaired.copies.map(\.path) == [file])
        #expect(try inspect(clean).isClean)
        let left = try undelivered(clean, settings: life.settings)
        #expect(left.allSatisfy { all[$0.key] == $0.value })
        #expect(left.keys.contains { $0 > lost.upperBound }, "the lane goes on behind it")
        #expect(Set(left.keys).isDisjoint(with: kept.records.keys))
    }
}
