import Logging
import Primitives
import Records
import Store
import TestSupport
import Testing

@testable import Outcomes

private let spool = SpoolID(high: 0x0102_0304_0506_4708, low: 0x8910_1112_1314_1516)

/// A file in a directory of its own, which is opened again and again.
private final class Harness {
    static let lanes = 3

    let directory: TemporaryDirectory
    let clock = ManualClock()
    let warnings = Lock(0)
    private(set) var file: OutcomeFile

    /// - Parameter delivered: of each lane.
    init(_ settings: OutcomesSettings = OutcomesSettings(), delivered: [LSN] = Harness.nothing) throws {
        directory = try TemporaryDirectory()
        file = try Self.open(directory, settings, delivered, clock, warnings)
    }

    func reopen(_ settings: OutcomesSettings = OutcomesSettings(), delivered: [LSN] = Harness.nothing) throws {
        file = try Self.open(directory, settings, delivered, clock, warnings)
    }

    static let nothing = [LSN](repeating: .zero, count: lanes)

    private static func open(
        _ directory: TemporaryDirectory, _ settings: OutcomesSettings, _ delivered: [LSN], _ clock: ManualClock,
        _ warnings: Lock<Int>
    ) throws -> OutcomeFile {
        try OutcomeFile(
            directory: directory.path, spool: spool, delivered: delivered, settings: settings,
            clock: clock, log: Logger(label: "test") { _ in WarningCounter(warnings) })
    }

    /// As if every hand-over of every lane was committed.
    func find(_ lsns: [LSN]) throws -> FoundOutcomes { try file.reader.find(lsns, of: spool) { _, _ in true } }

    /// Through a connection that knows nothing of what it does.
    func change(_ sql: String) throws {
        let path = "\(directory.path)/\(OutcomeFile.fileName)"
        try Connection.open(path: path, schema: OutcomeFile.schema).execute(sql)
    }
}

private struct WarningCounter: LogHandler {
    let warnings: Lock<Int>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.warning

    init(_ warnings: Lock<Int>) { self.warnings = warnings }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { warnings.withLock { $0 += 1 } }
}

private func lsn(_ sequence: Int) -> LSN { LSN(epoch: 1_800_000_000, sequence: UInt32(sequence)) }

/// One record for each number, at an offset of its own.
private func deliveries(_ numbers: some Sequence<Int>, offset: Int = 0) -> [Delivery] {
    numbers.map {
        Delivery(
            lsn: lsn($0), partition: TopicPartition(topic: TopicName("orders")!, partition: 0),
            offset: Int64($0 + offset), timestampMs: 5)
    }
}

@Suite struct OutcomeFileTests {
    /// Lanes take turns in the LSNs, hand-overs are committed or not, and the file is opened again at any time.
    @Test func found_IsWhatWasCommitted_WhateverHappenedToHandOvers() throws {
        var random = SeededGenerator(printingFor: "found_IsWhatWasCommitted")
        for _ in 0..<8 {
            let harness = try Harness()
            var model: [LSN: Delivery] = [:]
            var checkpoints = [LSN](repeating: .zero, count: Harness.lanes)
            var waiting = [[LSN]](repeating: [], count: Harness.lanes)
            var sequence = 0
            for _ in 0..<60 {
                for _ in 0..<Int.random(in: 1...30, using: &random) {
                    sequence += 1
                    waiting[Int.random(in: 0..<Harness.lanes, using: &random)].append(lsn(sequence))
                }
                let lane = Int.random(in: 0..<Harness.lanes, using: &random)
                let batch = waiting[lane].prefix(Int.random(in: 1...40, using: &random))
                guard let last = batch.last else { continue }
                let offset = Int64.random(in: 0...1_000_000, using: &random)
                let places = batch.enumerated().map { number, lsn in
                    Delivery(
                        lsn: lsn,
                        partition: TopicPartition(topic: TopicName("t\(lane)")!, partition: Int32(number % 3)),
                        offset: offset + Int64(number), timestampMs: Int64(number))
                }
                try harness.file.keep(places, lane: lane)
                if Int.random(in: 0..<3, using: &random) > 0 {
                    checkpoints[lane] = last
                    waiting[lane].removeFirst(batch.count)
                    for place in places { model[place.lsn] = place }
                } else {
                    // Not committed: until its lane is opened again, nobody counts it.
                    let found = try harness.file.reader.find((1...sequence).map(lsn), of: spool) { lane, last in
                        last <= checkpoints[lane]
                    }
                    #expect(found.deliveries == (1...sequence).map { model[lsn($0)] })
                    if Bool.random(using: &random) { try harness.reopen() }
                    try harness.file.goOn(lane: lane, after: checkpoints[lane], certain: checkpoints[lane])
                }
            }
            let asked = (0...sequence + 5).filter { _ in Int.random(in: 0..<3, using: &random) > 0 }.map(lsn)
            let found = try harness.find(asked)
            #expect(found.deliveries == asked.map { model[$0] })
            #expect(found.damages.isEmpty && found.forgotten == .zero && found.missing == .zero)
            #expect(harness.warnings.withLock { $0 } == 0)
            let one = try #require(asked.first { model[$0] != nil })
            #expect(try harness.find([one]).deliveries == [model[one]])
        }
    }

    @Test func oldRows_AreForgotten_ByAge() throws {
        var settings = OutcomesSettings()
        settings.retention = .seconds(60)
        let harness = try Harness(settings)
        try harness.file.keep(deliveries(1...10), lane: 0)
        try harness.file.keep(deliveries(11...20), lane: 1)
        harness.clock.advance(by: .seconds(59))
        try harness.file.keep(deliveries(21...30), lane: 0)
        #expect(try harness.find([lsn(5), lsn(15)]).deliveries == deliveries([5, 15]))
        harness.clock.advance(by: .seconds(2))
        try harness.file.keep(deliveries(31...40), lane: 1)
        let found = try harness.find([5, 15, 25, 35].map(lsn))
        #expect(found.deliveries == [nil, nil] + deliveries([25, 35]))
        #expect(found.forgotten == lsn(20))
        try harness.reopen(settings)
        #expect(try harness.find([lsn(15)]).forgotten == lsn(20))
    }

    @Test func oldRows_AreForgotten_BySize_AndTheNewestStays() throws {
        var settings = OutcomesSettings()
        settings.bytesMax = 2_000
        let harness = try Harness(settings)
        for start in stride(from: 1, to: 1000, by: 10) {
            try harness.file.keep(deliveries(start..<start + 10), lane: 0)
        }
        let kept = try harness.find((1...1000).map(lsn)).deliveries.compactMap { $0 }
        #expect(kept == deliveries(1000 - kept.count + 1...1000))
        #expect((20...150).contains(kept.count))
        // The sums go on where they were.
        try harness.reopen(settings)
        try harness.file.keep(deliveries(1001...1010), lane: 0)
        let after = try harness.find((1...1010).map(lsn)).deliveries.compactMap { $0 }
        #expect(after == deliveries(1010 - kept.count + 1...1010))
        settings.bytesMax = 1
        try harness.reopen(settings)
        try harness.file.keep(deliveries(1011...1012), lane: 2)
        #expect(try harness.find((1...1012).map(lsn)).deliveries.compactMap { $0 } == deliveries(1011...1012))
    }

    /// A wall clock that is wrong for a while takes nothing away.
    @Test func clockThatJumps_ForgetsNothing() throws {
        let harness = try Harness()
        try harness.file.keep(deliveries(1...3), lane: 0)
        harness.clock.jumpWall(milliseconds: 1_000_000_000)
        try harness.file.keep(deliveries(4...6), lane: 0)
        #expect(try harness.find([lsn(1)]).deliveries == deliveries([1]))
    }

    @Test func damagedRow_IsNamed_AndTheOthersAnswer() throws {
        let harness = try Harness()
        try harness.file.keep(deliveries([1, 3, 5]), lane: 0)
        try harness.file.keep(deliveries([2, 4, 6]), lane: 1)
        try harness.file.keep(deliveries(7...9), lane: 0)
        try harness.change(
            "UPDATE outcomes SET packed = substr(packed, 1, 30) || x'FF' || substr(packed, 32) WHERE number = 1")
        let found = try harness.find((1...9).map(lsn))
        #expect(found.deliveries.enumerated().filter { $0.element == nil }.map(\.offset) == [0, 2, 4])
        // What the other lane has, this row never had.
        #expect(found.damages.keys.sorted() == [0, 2, 4])
        #expect(found.damages[0] == "row 1: checksum of packed outcomes")
        try harness.change(
            "UPDATE outcomes SET packed = (SELECT packed FROM outcomes WHERE number = 3) WHERE number = 1")
        #expect(try harness.find([lsn(3)]).damages[0] == "row 1: outcomes of other records")
    }

    @Test func newFileOfAnOldSpool_SaysWhatIsMissing() throws {
        let harness = try Harness(delivered: [lsn(99), lsn(80), .zero])
        #expect(harness.warnings.withLock { $0 } == 1)
        #expect(try harness.find([lsn(5)]).missing == lsn(99))
        try harness.file.keep(deliveries(100...101), lane: 1)
        try harness.reopen(delivered: [lsn(99), lsn(101), .zero])
        #expect(harness.warnings.withLock { $0 } == 1)
        let found = try harness.find([lsn(5), lsn(100)])
        #expect(found.deliveries == [nil] + deliveries([100]) && found.missing == lsn(99))
        // The broker knows of more.
        try harness.file.goOn(lane: 2, after: lsn(150), certain: lsn(150))
        #expect(try harness.find([lsn(5)]).missing == lsn(150))
        #expect(harness.warnings.withLock { $0 } == 2)
    }

    /// As after a restore of an older copy of the file alone. Its last row may be of a hand-over that failed then.
    @Test(arguments: [true, false]) func olderFile_SaysWhatIsMissing(isKnownAtStart: Bool) throws {
        let harness = try Harness()
        for start in [1, 11, 21] { try harness.file.keep(deliveries(start..<start + 10), lane: 0) }
        try harness.file.keep(deliveries(31...40), lane: 1)
        // Lane 0 is at its end: what lane 1 has does not matter.
        try harness.reopen(delivered: [lsn(30), lsn(40), .zero])
        #expect(harness.warnings.withLock { $0 } == 0)
        try harness.change("DELETE FROM outcomes WHERE number = 3")
        try harness.reopen(delivered: [isKnownAtStart ? lsn(30) : lsn(5), lsn(40), .zero])
        #expect(harness.warnings.withLock { $0 } == (isKnownAtStart ? 1 : 0))
        try harness.file.goOn(lane: 0, after: lsn(30), certain: lsn(30))
        try harness.file.goOn(lane: 1, after: lsn(40), certain: lsn(40))
        #expect(harness.warnings.withLock { $0 } == 1)
        let found = try harness.find([5, 15, 25, 35].map(lsn))
        #expect(found.deliveries == deliveries([5]) + [nil, nil] + deliveries([35]))
        #expect(found.missing == lsn(30))
        // Said once.
        try harness.file.keep(deliveries(41...45), lane: 0)
        try harness.reopen(delivered: [lsn(45), lsn(40), .zero])
        #expect(harness.warnings.withLock { $0 } == 1)
        #expect(try harness.find([lsn(41)]).deliveries == deliveries([41]))
    }

    @Test func adoptedLane_KeepsNoRowBeyondWhatItsSpoolDelivered() throws {
        let harness = try Harness()
        try harness.file.keep(deliveries(1...10), lane: 0)
        try harness.file.keep(deliveries(11...20), lane: 0)
        try harness.file.goOn(lane: 0, after: lsn(30), certain: lsn(10))
        let found = try harness.find([lsn(5), lsn(15)])
        #expect(found.deliveries == deliveries([5]) + [nil])
        #expect(found.missing == lsn(30))
        // An operator did that.
        #expect(harness.warnings.withLock { $0 } == 0)
    }

    /// A dead record has no place, and nothing is missing.
    @Test func passedRecord_HasNoPlace_AndNothingIsMissing() throws {
        let harness = try Harness()
        try harness.file.keep(deliveries(1...3), lane: 0)
        for number in 4...6 { try harness.file.pass(lsn(number), lane: 0) }
        try harness.file.goOn(lane: 0, after: lsn(6), certain: lsn(6))
        try harness.reopen(delivered: [lsn(6), .zero, .zero])
        let found = try harness.find((1...7).map(lsn))
        #expect(found.deliveries == deliveries(1...3) + [nil, nil, nil, nil])
        #expect(found.damages.isEmpty && found.missing == .zero && found.forgotten == .zero)
        #expect(harness.warnings.withLock { $0 } == 0)
        // Not passed in the end.
        try harness.file.goOn(lane: 0, after: lsn(5), certain: lsn(5))
        try harness.file.keep(deliveries(6...7), lane: 0)
        #expect(try harness.find([lsn(6)]).deliveries == deliveries([6]))
        #expect(try harness.find([lsn(6)]).missing == .zero)
    }

    /// A later sync that succeeds proves nothing about what was written before.
    @Test func failedSync_RefusesEveryChangeAfterIt() throws {
        let harness = try Harness()
        try harness.file.keep(deliveries(1...3), lane: 0)
        // SQLITE_IOERR_FSYNC, as a COMMIT says it.
        harness.file.syncFault.withLock { $0 = StoreError(.other, code: 1034, operation: "commit", detail: "planted") }
        #expect(throws: StoreError.self) { try harness.file.keep(deliveries(4...6), lane: 1) }
        harness.file.syncFault.withLock { $0 = nil }
        for change in [
            { try harness.file.keep(deliveries(7...9), lane: 2) }, { try harness.file.pass(lsn(7), lane: 2) },
            { try harness.file.goOn(lane: 2, after: .zero, certain: .zero) },
        ] {
            let error = #expect(throws: StoreError.self) { try change() }
            #expect(error?.isSyncFailure == true)
        }
        #expect(try harness.find([lsn(1), lsn(7)]).deliveries == deliveries([1]) + [nil])
        try harness.reopen()
        try harness.file.keep(deliveries(7...9), lane: 2)
    }

    /// As after a restore that was told to send again.
    @Test func recordsHandedOverAgain_AreAtTheirNewPlaces() throws {
        let harness = try Harness()
        try harness.file.keep(deliveries(1...10), lane: 0)
        try harness.file.keep(deliveries(11...20), lane: 0)
        try harness.file.keep(deliveries(6...12, offset: 1000), lane: 0)
        let found = try harness.find((1...20).map(lsn))
        // The others of those hand-overs are delivered, nobody knows where.
        #expect(found.deliveries.compactMap { $0 } == deliveries(6...12, offset: 1000))
        #expect(found.missing == lsn(20))
    }

    @Test func fullDisk_IsNoSpace_AndNothingIsLost() throws {
        var settings = OutcomesSettings()
        settings.pagesMax = 40
        let harness = try Harness(settings)
        var kept = 0
        let error = #expect(throws: StoreError.self) {
            for number in 1...100_000 {
                try harness.file.keep(deliveries([number * 1000]), lane: 0)
                kept = number
            }
        }
        #expect(error?.isNoSpace == true)
        #expect(kept > 100)
        let all = (1...kept + 1).map { lsn($0 * 1000) }
        #expect(try harness.find(all).deliveries.compactMap { $0?.lsn } == all.dropLast())
        // With space it goes on.
        try harness.reopen()
        try harness.file.keep(deliveries([(kept + 1) * 1000]), lane: 0)
        #expect(try harness.find(all).deliveries.compactMap { $0?.lsn } == all)
    }
}
