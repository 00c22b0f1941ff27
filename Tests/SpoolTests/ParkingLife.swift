import Journal
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool

/// A spool over several processes, with what its clients were told and what its broker has.
final class ParkingLife {
    private(set) var spool: SpoolHarness
    /// What clients were told is accepted, and what may be.
    private(set) var accepted: [[String]] = [[], [], []]
    private var unknown: Set<String> = []
    /// The broker's: what it took, and each lane's checkpoint.
    private var delivered: [[String]] = [[], [], []]
    private var checkpoints = [LSN](repeating: .zero, count: 3)
    /// Read, and not yet settled.
    private var inHand: [Int: LaneBatch] = [:]
    private var number = 0
    private(set) var backlogRefusals = 0
    /// The disk refused something: the process is as good as dead.
    private(set) var isDead = false
    let settings: SpoolSettings

    /// Four segments are the mark, so that little parks a lane.
    static var settings: SpoolSettings {
        var settings = ParkingTests.settings
        settings.bytesMax = 16 * Int64(settings.journal.segmentBytes)
        settings.highWaterPercent = 25
        settings.parkAfter = .milliseconds(4)
        return settings
    }

    init(_ settings: SpoolSettings = ParkingLife.settings) throws {
        self.settings = settings
        spool = try SpoolHarness(FakeFileSystem(), settings: settings)
    }

    var disk: FakeFileSystem { spool.disk }
    var files: [String] { disk.paths.filter { $0.hasSuffix(".parked") } }
    var parkedTo: LSN { spool.spool.state.withLock { $0.cursors.lanes[0].parkedTo } }
    /// All of lane 0 that is not delivered is parked.
    var isParked: Bool { spool.spool.state.withLock { $0.cursors.lanes[0].isParked && !$0.cursors.lanes[0].hasWork } }

    func accept(_ lane: Int, padding: Int = 900) {
        number += 1
        switch spool.submit([record(lane, "\(number)", padding: padding)]) {
        case .success: accepted[lane].append("\(number)")
        case .failure(.topicBacklog): backlogRefusals += 1
        case .failure(.quota): break
        case .failure(let refusal):
            if refusal.outcomeUnknown { unknown.insert("\(number)") }
            isDead = true
        }
    }

    /// The lane takes records, unless it holds some.
    func read(_ lane: Int, records: Int) {
        guard inHand[lane] == nil, !isDead else { return }
        do {
            inHand[lane] = try spool.read(lane, records: records)
        } catch {
            isDead = true
        }
    }

    /// The broker takes what the lane holds, and has not taken before.
    func settle(_ lane: Int) {
        guard let batch = inHand.removeValue(forKey: lane) else { return }
        for (lsn, spooled) in batch.records where lsn > checkpoints[lane] {
            delivered[lane].append(text(spooled))
            checkpoints[lane] = lsn
        }
        spool.spool.advance(
            lane: lane, delivered: batch.records.last?.lsn ?? .zero, scanned: batch.scanned,
            settled: TopicCounts(batch.records.map(\.spooled.topic)))
    }

    /// - Returns: how many records the lane had.
    @discardableResult
    func deliver(_ lane: Int, records: Int = 1000) -> Int {
        read(lane, records: records)
        let count = inHand[lane]?.records.count ?? 0
        settle(lane)
        return count
    }

    /// Lane 1 delivers what comes, and lane 2 looks through it, until the condition holds.
    func flow(turns: Int = .max, until condition: () -> Bool) -> Bool {
        var turn = 0
        return eventually {
            if condition() || isDead || turn == turns { return true }
            turn += 1
            if spool.spool.usedBytes < settings.bytesMax * 3 / 4 { accept(1, padding: 100) }
            deliver(1)
            deliver(2)
            return false
        }
    }

    func restart(_ loss: FakeFileSystem.PowerLoss?, seed: UInt64 = 1) throws {
        let survivor = loss.map { disk.withoutPower($0, seed: seed) } ?? disk.killed()
        spool.close()
        inHand = [:]
        isDead = false
        spool = try SpoolHarness(survivor, settings: settings)
    }

    /// Delivers everything and compares.
    func end() {
        for lane in 0..<3 {
            settle(lane)
            while deliver(lane, records: 10) > 0 {}
            #expect(delivered[lane].filter { !unknown.contains($0) } == accepted[lane])
            #expect(Set(delivered[lane]).count == delivered[lane].count)
            #expect(spool.spool.lagRecords(lane: lane) == 0)
        }
        #expect(!isDead)
        #expect(eventually { files.isEmpty && spool.spool.usedBytes < settings.bytesMax / 4 })
        accept(0)
        #expect(deliver(0) == 1)
        spool.close()
    }
}
