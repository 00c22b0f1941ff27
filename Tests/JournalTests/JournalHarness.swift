import Logging
import Primitives
import Records
import TestSupport
import Testing

@testable import Journal

/// A journal on a fake disk, with small segments, driven one append at a time.
final class JournalHarness: Sendable {
    static let directory = "/spool"

    let journal: Journal
    let report: RecoveryReport
    let timers: TimerThread
    let released = Lock(LSN.zero)
    /// Rounds of the keeper: that began, and that came past CHECKPOINT.
    private let rounds: Lock<(begun: Int, checkpointed: Int)>
    let failures = Monitor<[JournalError]>([])

    static var settings: JournalSettings {
        var settings = JournalSettings()
        settings.segmentBytes = 16 << 10
        settings.groupBytesMax = 4 << 10
        settings.queueBytesMax = 1 << 20
        settings.tailBytesMax = 8 << 10
        settings.reserveBytes = 1 << 10
        settings.idleFrameDelay = .milliseconds(5)
        settings.keeperInterval = .milliseconds(5)
        settings.syncTimeout = .seconds(30)
        return settings
    }

    static var quiet: Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }

    init(
        _ fileSystem: FakeFileSystem, settings: JournalSettings = JournalHarness.settings,
        clock: any TimeSource = SystemClock()
    ) throws(JournalError) {
        let opened = try Journal.open(
            directory: Self.directory, settings: settings, lanes: 8, fileSystem: fileSystem, clock: clock,
            log: Self.quiet)
        let timers = TimerThread()
        self.timers = timers
        report = opened.report
        let rounds = Lock((begun: 0, checkpointed: 0))
        self.rounds = rounds
        let (released, failures) = (released, failures)
        released.withLock { $0 = opened.released }
        do throws(JournalError) {
            journal = try opened.start(
                timers: timers,
                hooks: JournalHooks(
                    published: { _, _, _ in },
                    checkpoint: { _ in
                        rounds.withLock { $0.begun += 1 }
                        return (released.withLock { $0 }, [])
                    },
                    checkpointed: { rounds.withLock { $0.checkpointed += 1 } },
                    failed: { error in
                        failures.withLock { $0.append(error) }
                        failures.broadcast()
                    }))
        } catch {
            timers.stop()
            throw error
        }
    }

    /// Appends one request with these records and waits for its answer.
    func append(_ records: [String]) -> Result<Appended, AppendFailure> {
        let answer = Monitor<Result<Appended, AppendFailure>?>(nil)
        start(records) { result in
            answer.withLock { $0 = result }
            answer.signal()
        }
        return answer.wait { $0 }!
    }

    func start(_ records: [String], _ completion: @escaping @Sendable (Result<Appended, AppendFailure>) -> Void) {
        var body = JournalRecords(capacity: 256)
        for record in records { body.append { $0.bytes.append(contentsOf: record.utf8) } }
        journal.append(body, tag: 1, completion: completion)
    }

    /// Everything readable from `lsn` on.
    func read(from lsn: LSN = .zero) throws -> [(lsn: LSN, text: String)] {
        let reader = journal.reader(from: lsn)
        var records: [(LSN, String)] = []
        while let frame = try reader.next() {
            try frame.forEachRecord { at, bytes in
                if at >= lsn { records.append((at, String(decoding: bytes, as: UTF8.self))) }
            }
        }
        return records
    }

    func texts() throws -> [String] { try read().map(\.text) }

    /// Until the keeper does nothing more by itself: whole rounds of it found nothing to do. The writer's idle frames
    /// are not waited for; a test that they would disturb puts them off with `idleFrameDelay`.
    func waitUntilQuiet(_ disk: FakeFileSystem) {
        let isQuiet = eventually {
            let calls = disk.calls
            // The first may have been under way, and the last still is: the one between them was a whole one.
            for _ in 0..<3 { passRound() }
            return disk.calls == calls
        }
        #expect(isQuiet, "the keeper always finds something to do")
    }

    /// Everything that is durable is delivered. Waits until the keeper has done with it what it can: all segments but
    /// the one in use are gone, the journal has failed, or several rounds did not get that far.
    func letGo(_ disk: FakeFileSystem) {
        let round = rounds.withLock { $0.begun }
        released.withLock { $0 = journal.durable }
        let isOver = eventually {
            disk.paths.count { $0.hasSuffix(".seg") } <= 1 || failures.withLock { !$0.isEmpty }
                || rounds.withLock { $0.begun } > round + 4
        }
        #expect(isOver, "the keeper makes no rounds")
    }

    /// Waits until the keeper has come past CHECKPOINT once more, however long its interval is.
    private func passRound() {
        let before = rounds.withLock { $0.checkpointed }
        journal.shared.keeper.poke()
        #expect(eventually { rounds.withLock { $0.checkpointed } > before })
    }

    func close() {
        journal.close()
        timers.stop()
    }
}

extension Result {
    var value: Success? {
        if case .success(let value) = self { return value }
        return nil
    }

    var failure: Failure? {
        if case .failure(let error) = self { return error }
        return nil
    }
}

/// A request of a scripted run: sizes vary so that frames, groups and segments end everywhere.
func scriptedRecords(_ request: Int) -> [String] {
    (0...(request % 3)).map { record in
        "\(request).\(record):" + String(repeating: "x", count: (request * 397 + record * 151) % 1500)
    }
}
