import Journal
import Logging
import Primitives
import Records
import TestSupport
import Testing

@testable import Spool
@testable import SpoolTestSupport

/// A spool on a fake disk with small segments, and lanes driven by hand.
final class SpoolHarness {
    let spool: Spool
    let disk: FakeFileSystem
    let store: FakeRequestStore
    let timers = TimerThread()
    private var readers: [Int: LaneReader] = [:]

    static var settings: SpoolSettings {
        var settings = SpoolSettings()
        settings.lanes = 3
        settings.journal.segmentBytes = 8 << 10
        settings.journal.groupBytesMax = 2 << 10
        settings.journal.tailBytesMax = 4 << 10
        settings.journal.reserveBytes = 1 << 10
        settings.journal.idleFrameDelay = .milliseconds(2)
        settings.journal.keeperInterval = .milliseconds(2)
        settings.journal.zeroFill = false
        return settings
    }

    /// - Parameter store: of requests; nil: on the same disk.
    init(
        _ disk: FakeFileSystem, settings: SpoolSettings = SpoolHarness.settings, store: FakeRequestStore? = nil,
        requestClock: any TimeSource = SystemClock(), clock: any TimeSource = SystemClock()
    ) throws {
        self.disk = disk
        let store = store ?? FakeRequestStore(disk)
        self.store = store
        do {
            spool = try Spool.open(
                directory: "/spool", settings: settings, fileSystem: disk, clock: clock, timers: timers,
                log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
                requestStore: store, requestClock: requestClock, failed: { _ in })
        } catch {
            timers.stop()
            throw error
        }
    }

    func close() {
        spool.close()
        timers.stop()
    }

    /// Hands over and waits for the answer.
    func submit(_ records: [SpoolRecord], claim: RequestClaim? = nil) -> Result<Acceptance, SpoolRefusal> {
        let answer = Monitor<Result<Acceptance, SpoolRefusal>?>(nil)
        spool.submit(records, claim: claim) { result in
            answer.withLock { $0 = result }
            answer.signal()
        }
        return answer.wait { $0 }!
    }

    @discardableResult
    func accept(_ records: SpoolRecord...) throws -> LSN { try submit(records).get().first }

    /// What a lane's reader finds next, without delivering it.
    func read(_ lane: Int, records: Int = 1000, bytes: Int = 1 << 20) throws -> LaneBatch {
        let reader = readers[lane] ?? spool.laneReader(lane)
        readers[lane] = reader
        return try reader.next(recordsMax: records, bytesMax: bytes)
    }

    /// One turn of a lane: reads a batch and says that the broker has it.
    @discardableResult
    func deliver(_ lane: Int, records: Int = 1000) throws -> [String] {
        let batch = try read(lane, records: records)
        let deliveries = batch.records.map { record in
            Delivery(
                lsn: record.lsn, partition: TopicPartition(topic: record.spooled.topic, partition: 0),
                offset: Int64(record.lsn.sequence), timestampMs: 0)
        }
        spool.advance(
            lane: lane, delivered: batch.records.last?.lsn ?? .zero, scanned: batch.scanned,
            settled: TopicCounts(batch.records.map(\.spooled.topic)), deliveries: deliveries)
        return batch.texts
    }

    func deliverAll() throws {
        for lane in 0..<spool.settings.lanes { while try !deliver(lane).isEmpty {} }
    }
}

extension LaneBatch {
    var texts: [String] { records.map { text($0.spooled) } }
}

func text(_ spooled: SpoolRecord) -> String { String(decoding: spooled.record.value ?? [], as: UTF8.self) }

/// A topic of the lane, among the harness's three.
func topic(_ lane: Int, _ number: Int = 0) -> TopicName {
    let names = (0..<1000).lazy.compactMap { TopicName("topic-\($0)") }.filter {
        Records.lane(of: $0, lanes: 3) == lane
    }
    return names.dropFirst(number).first { _ in true }!
}

func record(_ lane: Int, _ text: String, padding: Int = 0) -> SpoolRecord {
    SpoolRecord(
        topic: topic(lane), partition: nil, timestampIsGateways: true,
        record: Record(key: [UInt8](repeating: 0, count: padding)[...], value: Array(text.utf8)[...], timestampMs: 1))
}
