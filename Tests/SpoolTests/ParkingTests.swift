import Glibc
import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct ParkingTests {
    /// A quota of 32 segments, the mark at a quarter of it, and lanes that count as stuck soon.
    static var settings: SpoolSettings {
        var settings = SpoolHarness.settings
        settings.bytesMax = 32 * Int64(settings.journal.segmentBytes)
        settings.highWaterPercent = 25
        settings.parkAfter = .milliseconds(10)
        settings.parkInterval = .milliseconds(1)
        settings.parkRetry = .milliseconds(10)
        settings.parkedFrameBytes = 2 << 10
        return settings
    }

    /// Accepts records of lane 1 and delivers them at once, until the condition holds.
    private func flow(_ spool: SpoolHarness, until condition: () -> Bool) throws -> Bool {
        var number = 0
        return try eventually {
            if condition() { return true }
            number += 1
            // Not into the quota: how fast the disk is decides nothing here.
            if spool.spool.usedBytes < spool.spool.settings.bytesMax * 3 / 4 {
                try spool.accept(record(1, "flow \(number)", padding: 900))
            }
            try spool.deliver(1)
            try spool.deliver(2)
            return false
        }
    }

    private func parked(_ spool: SpoolHarness, _ lane: Int = 0) -> Bool {
        let (files, hasWork) = spool.spool.state.withLock { ($0.parked.lanes[lane], $0.cursors.lanes[lane].hasWork) }
        return files != nil && !hasWork
    }

    private func files(_ disk: FakeFileSystem) -> [String] { disk.paths.filter { $0.hasSuffix(".parked") } }

    @Test func stuckLane_IsParked_SoThatOthersGoOn_AndDeliversAllOfItOnceAndInOrderThen() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: Self.settings)
        let stuck = try (0..<60).map { try spool.accept(record(0, "\($0)", padding: 900)) }
        // A batch in the lane's hands, of which nothing is delivered yet.
        let inHand = try spool.read(0, records: 7)
        #expect(try flow(spool) { parked(spool) })

        // Others: as much again as the quota, and again.
        let quota = Int(Self.settings.bytesMax)
        var accepted = 0
        while accepted < 2 * quota {
            #expect(eventually { spool.spool.usedBytes < Self.settings.bytesMax * 3 / 4 }, "segments go")
            try spool.accept(record(1, "more", padding: 4000))
            accepted += 4000
            try spool.deliver(1)
        }
        #expect(spool.submit([record(0, "refused")]) == .failure(.topicBacklog(topic: topic(0), lane: 0)))
        #expect(spool.submit([record(1, "a"), record(0, "b")]) == .failure(.topicBacklog(topic: topic(0), lane: 0)))
        var neighbour = record(0, "refused")
        neighbour.topic = topic(0, 1)
        #expect(spool.submit([neighbour]) == .failure(.topicBacklog(topic: neighbour.topic, lane: 0)))
        #expect(spool.spool.intakeClosed == nil)
        #expect(spool.spool.parked(lane: 0)?.records == 60 && spool.spool.parked(lane: 1) == nil)
        #expect(spool.spool.parkedBytes > 60 * 900)
        #expect(spool.spool.lagRecords(lane: 0) == 60)
        for lsn in stuck { #expect(try spool.spool.outcome(of: lsn) == .accepted) }

        // The broker takes the batch after all, and the rest.
        spool.spool.advance(
            lane: 0, delivered: inHand.records.last!.lsn, scanned: inHand.scanned,
            settled: TopicCounts(inHand.records.map(\.spooled.topic)))
        var texts = inHand.texts
        while true {
            let more = try spool.deliver(0, records: 9)
            if more.isEmpty { break }
            texts += more
        }
        #expect(texts == (0..<60).map { "\($0)" })
        #expect(spool.spool.lagRecords(lane: 0) == 0 && spool.spool.parked(lane: 0) == nil)
        try spool.accept(record(0, "after"))
        #expect(try spool.deliver(0) == ["after"])
        #expect(eventually { files(disk).isEmpty && spool.spool.parkedBytes == 0 })
        for lsn in stuck { #expect(try spool.spool.outcome(of: lsn) != .accepted) }
        spool.close()
    }

    @Test(arguments: [false, true])
    func parkedLane_GoesOn_AfterARestart(powerLoss: Bool) throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: Self.settings)
        var other = record(0, "other", padding: 900)
        other.topic = topic(0, 1)
        let stuck = try (0..<50).map { try spool.accept(record(0, "\($0)", padding: 900)) }
        try spool.accept(other)
        let foreign = try spool.accept(record(1, "foreign"))
        #expect(try flow(spool) { parked(spool) })
        // Until a CHECKPOINT says so, the journal has them, too.
        #expect(eventually { spool.spool.usedBytes < Self.settings.highWaterBytes })
        try spool.deliver(0, records: 20)
        spool.close()

        let next = try SpoolHarness(
            powerLoss ? disk.withoutPower(.losesEverythingUnsynced) : disk.killed(), settings: Self.settings)
        #expect(next.spool.parked(lane: 0)?.records == 51)
        #expect(next.submit([record(0, "refused")]) == .failure(.topicBacklog(topic: topic(0), lane: 0)))
        #expect(next.spool.lagRecords(topic: topic(0)) == 1, "nobody has counted them")
        for lsn in stuck[20...] { #expect(try next.spool.outcome(of: lsn) == .accepted) }
        #expect(try next.spool.lane(of: stuck[30]) == 0)
        // Delivered; whether anything else is known of it depends on whether its segment was there at the start.
        for lsn in [stuck[3], foreign] {
            let outcome = try next.spool.outcome(of: lsn)
            #expect(outcome == .expired || outcome == .settled)
        }
        #expect(try next.spool.outcome(of: LSN(epoch: 7, sequence: 1)) == .unknown)
        _ = try next.read(0)
        #expect([0, 1].map { next.spool.lagRecords(topic: topic(0, $0)) } == [30, 1])
        next.close()

        let last = try SpoolHarness(next.disk.killed(), settings: Self.settings)
        var texts: [String] = []
        while true {
            let more = try last.deliver(0, records: 7)
            if more.isEmpty { break }
            texts += more
        }
        #expect(texts == (20..<50).map { "\($0)" } + ["other"])
        #expect(last.spool.lagRecords(lane: 0) == 0)
        try last.accept(record(0, "after"))
        #expect(try last.deliver(0) == ["after"])
        #expect(eventually { files(last.disk).isEmpty })
        last.close()
    }

    @Test func parking_StopsAtItsLimit_AndThenTheQuotaIsForAll() throws {
        var settings = Self.settings
        settings.parkedBytesMax = 20_000
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: settings)
        for number in 0..<70 { try spool.accept(record(0, "\(number)", padding: 900)) }
        #expect(try flow(spool) { spool.spool.parkedBytes > 10_000 })
        let size = files(disk).reduce(0) { $0 + (disk.contents($1)?.count ?? 0) }
        #expect(size <= 20_000)
        // What is left of it in the journal stays there, and in order.
        #expect(try flow(spool) { spool.spool.usedBytes >= settings.bytesMax / 2 })
        #expect(spool.spool.parkedBytes <= 20_000)
        var texts: [String] = []
        while true {
            let more = try spool.deliver(0)
            if more.isEmpty { break }
            texts += more
        }
        #expect(texts == (0..<70).map { "\($0)" })
        spool.close()
    }

    @Test(arguments: [ENOSPC, EIO])
    func failedParking_LeavesEverythingAsItWas_AndIsTriedAgain(code: Int32) throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: Self.settings)
        disk.failPaths((".parked", code))
        for number in 0..<70 { try spool.accept(record(0, "\(number)", padding: 900)) }
        let calls = disk.calls
        #expect(try flow(spool) { disk.calls > calls + 200 })
        #expect(files(disk).isEmpty && spool.spool.parkedBytes == 0)
        // Between the tries it is as any other lane.
        var last: LSN?
        let isAccepted = eventually {
            // try?: it may be in the middle of a try
            last = try? spool.accept(record(0, "70"))
            return last != nil
        }
        #expect(isAccepted)
        disk.failPaths(nil)
        #expect(try flow(spool) { parked(spool) })
        var texts: [String] = []
        while true {
            let more = try spool.deliver(0)
            if more.isEmpty { break }
            texts += more
        }
        #expect(texts == (0...70).map { "\($0)" })
        spool.close()
    }

    /// After a start CHECKPOINT may be behind the broker: the lane settles what it finds there, and sends nothing. Were
    /// it parked, nobody would tell the lane, which has read it, that there is something to read.
    @Test func deliveredRecords_AreNotParked() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: Self.settings)
        let last = try (0..<60).map { try spool.accept(record(0, "\($0)", padding: 900)) }.last!
        spool.spool.advance(lane: 0, delivered: last, scanned: .zero)
        let found = try spool.read(0)
        #expect(try flow(spool) { !spool.spool.state.withLock { $0.cursors.lanes[0].hasWork } })
        spool.spool.advance(
            lane: 0, delivered: .zero, scanned: found.scanned,
            settled: TopicCounts(found.records.map(\.spooled.topic)))
        #expect(files(disk).isEmpty && spool.spool.parked(lane: 0) == nil)
        #expect(spool.spool.lagRecords(lane: 0) == 0)
        try spool.accept(record(0, "after"))
        #expect(try spool.deliver(0) == ["after"])
        spool.close()
    }

    enum Damage: CaseIterable { case body, header, missing }

    @Test(arguments: Damage.allCases)
    func damagedParkedFile_StopsItsLaneOnly(damage: Damage) throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: Self.settings)
        let stuck = try (0..<50).map { try spool.accept(record(0, "\($0)", padding: 900)) }
        // Not in the journal any more, where a start would find them as well.
        #expect(
            try flow(spool) {
                parked(spool)
                    && disk.paths.allSatisfy { path in
                        guard path.hasSuffix(".seg"), let name = path.split(separator: "/").last else { return true }
                        return (UInt64(name.dropLast(4)) ?? 0) > stuck.last!.rawValue
                    }
            })
        spool.close()

        let survivor = disk.killed()
        let own = files(survivor).filter { $0.contains("/00-") }
        let last = try #require(own.last)
        #expect(own.count > 2)
        switch damage {
        case .body: survivor.overwrite(last) { $0[$0.count / 2] ^= 1 }
        case .header: survivor.overwrite(last) { $0[40] ^= 1 }
        case .missing: try survivor.remove(last)
        }
        let kept = files(survivor)
        let next = try SpoolHarness(survivor, settings: Self.settings)
        var texts: [String] = []
        var failure: SpoolReadError?
        do {
            while true {
                let more = try next.deliver(0)
                if more.isEmpty { break }
                texts += more
            }
        } catch let error as SpoolReadError {
            failure = error
        }
        #expect(failure?.isTransient == false)
        #expect(!texts.isEmpty && texts == (0..<texts.count).map { "\($0)" } && texts.count < 50)
        #expect(throws: SpoolReadError.self) { try next.deliver(0) }
        // Of a record that nobody can find nothing is said.
        let told = try next.spool.outcome(of: try #require(stuck.last))
        let isDamaged = if case .damaged = told { true } else { false }
        #expect(isDamaged || damage == .body)
        #expect(try next.spool.outcome(of: stuck[0]) != .accepted)
        #expect(next.submit([record(0, "refused")]) == .failure(.topicBacklog(topic: topic(0), lane: 0)))
        try next.accept(record(1, "fine"))
        #expect(try next.deliver(1).last == "fine")
        #expect(files(survivor) == kept, "for people to look at")
        next.close()
    }

    /// A start that died after the broker's checkpoint was known, and before the lane had looked through its files.
    @Test func damagedParkedFile_StopsNobody_WhenAllOfItIsDelivered() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: Self.settings)
        let last = try (0..<50).map { try spool.accept(record(0, "\($0)", padding: 900)) }.last!
        #expect(try flow(spool) { parked(spool) })
        let parkedTo = spool.spool.state.withLock { $0.cursors.lanes[0].parkedTo }
        spool.spool.advance(lane: 0, delivered: max(last, parkedTo), scanned: .zero)
        spool.close()

        let survivor = disk.killed()
        try survivor.remove(files(survivor)[0])
        let next = try SpoolHarness(survivor, settings: Self.settings)
        #expect(files(survivor).isEmpty)
        try next.accept(record(0, "after"))
        #expect(try next.deliver(0).last == "after")
        #expect(next.spool.lagRecords(lane: 0) == 0)
        next.close()
    }

    /// A copy of a running spool's directory may hold a later parking's files beside an earlier CHECKPOINT.
    @Test func filesOfAnotherParking_StopTheirLane() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk, settings: Self.settings)
        for number in 0..<50 { try spool.accept(record(0, "\(number)", padding: 900)) }
        #expect(try flow(spool) { parked(spool) })
        #expect(eventually { spool.spool.usedBytes < Self.settings.highWaterBytes })
        let parkedTo = spool.spool.state.withLock { $0.cursors.lanes[0].parkedTo }
        spool.close()

        let survivor = disk.killed()
        for path in files(survivor).dropFirst() { try survivor.remove(path) }
        let header = ParkedHeader(
            spool: spool.spool.id, lane: 0, ordinal: 0, salt: 1, from: LSN(rawValue: parkedTo.rawValue + 10),
            previousChecksum: 0)
        var writer = try ParkedPieceWriter(
            path: files(survivor)[0], header: header, frameBytes: 1 << 10, on: survivor)
        _ = try writer.finish(at: LSN(rawValue: parkedTo.rawValue + 20))
        let next = try SpoolHarness(survivor, settings: Self.settings)
        #expect(throws: SpoolReadError.self) { try next.deliver(0) }
        #expect(files(survivor).count == 1, "for people to look at")
        next.close()
    }
}
