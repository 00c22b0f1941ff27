import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

@Suite struct LaneTests {
    @Test func reader_FindsItsOwnRecordsOnceAndInOrder_AcrossSegmentsAndBatchSizes() throws {
        for size in [1, 3, 1000] {
            let spool = try SpoolHarness(FakeFileSystem())
            var expected: [Int: [String]] = [:]
            for request in 0..<60 {
                let records = (0...(request % 4)).map { record((request + $0) % 3, "\(request).\($0)", padding: 300) }
                for (number, one) in records.enumerated() {
                    expected[(request + number) % 3, default: []].append(text(one))
                }
                _ = try spool.submit(records).get()
            }
            for lane in 0..<3 {
                var found: [String] = []
                while true {
                    let batch = try spool.read(lane, records: size)
                    if batch.records.isEmpty { break }
                    #expect(batch.records.count <= size)
                    #expect(batch.records.map(\.lsn) == batch.records.map(\.lsn).sorted())
                    #expect(batch.scanned > batch.records.last!.lsn)
                    found += batch.texts
                }
                #expect(found == expected[lane])
            }
            spool.close()
        }
    }

    @Test func batch_StaysWithinItsBytes_ButForOneRecordThatIsLargerAlone() throws {
        let spool = try SpoolHarness(FakeFileSystem())
        for number in 0..<6 { try spool.accept(record(0, "\(number)", padding: number == 3 ? 3000 : 400)) }
        var batches: [[String]] = []
        while true {
            let batch = try spool.read(0, bytes: 1000)
            if batch.records.isEmpty { break }
            #expect(batch.bytes <= 1000 || batch.records.count == 1)
            batches.append(batch.texts)
        }
        #expect(batches == [["0", "1"], ["2"], ["3"], ["4", "5"]])
        spool.close()
    }

    @Test func reader_FindsARecord_AfterTheLaneWasIdleForManySegments() throws {
        let spool = try SpoolHarness(FakeFileSystem())
        try spool.accept(record(1, "first"))
        #expect(try spool.deliver(1) == ["first"])
        for number in 0..<80 {
            try spool.accept(record(0, "\(number)", padding: 900))
            try spool.deliver(0)
        }
        // The segments between are gone, so a reader that did not jump would fail.
        #expect(eventually { spool.spool.usedBytes < 40_000 })
        try spool.accept(record(1, "second"))
        #expect(try spool.deliver(1) == ["second"])
        spool.close()
    }

    @Test func idleLane_PinsNoSegment_AndABusyOnePinsWhatItDidNotDeliver() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        let first = try spool.accept(record(1, "stays"))
        for number in 0..<80 { try spool.accept(record(0, "\(number)", padding: 900)) }
        while try !spool.deliver(0).isEmpty {}
        let oldest = disk.segments.first
        // Lane 1 delivered nothing: what it needs stays, however often the keeper looks.
        for _ in 0..<3 {
            let checkpoint = disk.contents("/spool/CHECKPOINT")
            try spool.accept(record(0, "more", padding: 900))
            try spool.deliver(0)
            #expect(eventually { disk.contents("/spool/CHECKPOINT") != checkpoint })
        }
        #expect(disk.segments.first == oldest && disk.segments.count > 5)
        #expect(try spool.spool.outcome(of: first) == .accepted)
        #expect(try spool.deliver(1) == ["stays"])
        #expect(eventually { disk.segments.count <= 2 })
        spool.close()
    }

    @Test(arguments: [false, true])
    func recoveredBacklog_IsDeliveredFromScannedOn_AfterARestart(powerLoss: Bool) throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        for number in 0..<40 { try spool.accept(record(number % 2, "\(number)", padding: 500)) }
        #expect(try spool.deliver(0, records: 7).count == 7)
        let delivered = spool.spool.delivered(lane: 0)
        spool.close()

        let next = try SpoolHarness(powerLoss ? disk.withoutPower(.losesEverythingUnsynced) : disk.killed())
        #expect(next.spool.delivered(lane: 0) == delivered)
        try next.accept(record(0, "new"))
        #expect(try next.deliver(0) == (7..<20).map { "\($0 * 2)" } + ["new"])
        #expect(try next.deliver(1) == (0..<20).map { "\($0 * 2 + 1)" })
        #expect(try next.deliver(2) == [])
        next.close()
    }

    @Test func segments_GoOnlyWhenEveryLaneIsPast_AlsoWithARecoveredBacklog() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        for number in 0..<40 { try spool.accept(record(number % 2, "\(number)", padding: 900)) }
        let survivor = disk.killed()
        spool.close()
        let count = survivor.segments.count
        #expect(count > 4)
        let next = try SpoolHarness(survivor)
        for lane in 0..<3 {
            // Lane 2 has nothing, which it knows only after a look at what came after the last CHECKPOINT (and may be
            // told of in the one that lane 1 brought about).
            if lane < 2 { #expect(survivor.segments.count >= count) }
            let checkpoint = survivor.contents("/spool/CHECKPOINT")
            while try !next.deliver(lane).isEmpty {}
            if lane < 2 { #expect(eventually { survivor.contents("/spool/CHECKPOINT") != checkpoint }) }
        }
        #expect(eventually { survivor.segments.count <= 2 })
        next.close()
    }

    @Test func request_IsWholeOrNothingOverItsLanes_AfterEveryCrash() throws {
        for call in 0..<60 {
            let disk = FakeFileSystem()
            let spool = try SpoolHarness(disk)
            disk.inject(.die, atCall: call)
            var accepted = 0
            for request in 0..<12 {
                let records = (0..<3).map { record($0, "\(request)", padding: 100) }
                guard (try? spool.submit(records).get()) != nil else { break }  // try?: the injected death
                accepted += 1
            }
            let survivor = disk.withoutPower(.keepsSome, seed: UInt64(call))
            spool.close()
            let next = try SpoolHarness(survivor)
            let lanes = try (0..<3).map { try next.read($0).texts }
            #expect(lanes[0] == lanes[1] && lanes[1] == lanes[2], "died at call \(call)")
            #expect(lanes[0].count >= accepted, "died at call \(call)")
            #expect(lanes[0] == (0..<lanes[0].count).map { "\($0)" })
            next.close()
        }
    }

    @Test func reader_ReturnsWhatIsGoodBeforeABrokenRecord_ThenHaltsThere() throws {
        let disk = FakeFileSystem()
        let spool = try SpoolHarness(disk)
        for number in 0..<40 { try spool.accept(record(0, "\(number)", padding: 500)) }
        let broken = try #require(disk.segments.dropFirst(1).first)
        disk.overwrite(broken) { bytes in
            for index in bytes.indices.suffix(2000).prefix(500) { bytes[index] ^= 0xFF }
        }
        let good = try spool.read(0)
        #expect(!good.records.isEmpty && good.records.count < 40)
        #expect(good.texts == (0..<good.records.count).map { "\($0)" })
        for _ in 0..<2 {
            let error = #expect(throws: SpoolReadError.self) { try spool.read(0) }
            #expect(error?.isTransient == false)
        }
        spool.close()
    }

    @Test func records_OfASmallShare_DoNotKeepWholeFramesInMemory() throws {
        let spool = try SpoolHarness(FakeFileSystem())
        for number in 0..<30 {
            _ = try spool.submit([record(0, "\(number)"), record(1, "other", padding: 1500)]).get()
        }
        let batch = try spool.read(0)
        #expect(batch.texts == (0..<30).map { "\($0)" })
        // A slice of its frame begins far into it, behind header and key; one of a copy within the record.
        for (_, spooled) in batch.records {
            let value = try #require(spooled.record.value)
            #expect(value.endIndex <= SpoolRecordCodec.encodedBytes(spooled))
        }
        spool.close()
    }
}

extension FakeFileSystem {
    /// Paths of the segments, oldest first.
    var segments: [String] { paths.filter { $0.hasSuffix(".seg") } }
}
