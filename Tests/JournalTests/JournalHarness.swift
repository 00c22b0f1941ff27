import Glibc
import Journal
import Logging
import Primitives
import Records
import TestSupport

/// A journal on a fake disk, with small segments, driven one append at a time.
final class JournalHarness: Sendable {
    static let directory = "/spool"

    let journal: Journal
    let report: RecoveryReport
    let timers: TimerThread
    let released = Lock(LSN.zero)
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
        let (released, failures) = (released, failures)
        released.withLock { $0 = opened.released }
        do throws(JournalError) {
            journal = try opened.start(
                timers: timers,
                hooks: JournalHooks(
                    published: { _, _, _ in },
                    checkpoint: { _ in (released.withLock { $0 }, []) },
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

    /// The keeper is done with its round when the disk gets no more calls.
    func waitUntilQuiet(_ disk: FakeFileSystem) {
        let deadline = SystemClock().now() + .seconds(10)
        var calls = (count: -1, since: SystemClock().now())
        while SystemClock().now() < min(deadline, calls.since + .milliseconds(50)) {
            if disk.calls != calls.count { calls = (disk.calls, SystemClock().now()) }
            sched_yield()
        }
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
