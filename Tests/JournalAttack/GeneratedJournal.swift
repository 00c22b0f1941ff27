import Journal
import Logging
import Primitives
public import Records
public import TestSupport

/// A journal that the real writer made, as it stands on the disk after its last process was killed, and everything that
/// was ever accepted into it.
public struct GeneratedJournal: Sendable {
    /// Which state of a journal.
    public enum Kind: String, CaseIterable, Sendable {
        /// Several epochs and segments, killed right after the last answer.
        case always
        /// The same, and CHECKPOINT is as old as the last process: a start reads everything.
        case unverified
        /// The last process ran under the policy `interval` and was killed before its sync.
        case interval
        /// Half of it is delivered, and the segments of that half are deleted.
        case released
    }

    /// One accepted record.
    public struct Accepted: Sendable, Hashable {
        public let lsn: LSN
        public let bytes: [UInt8]

        public init(lsn: LSN, bytes: [UInt8]) {
            self.lsn = lsn
            self.bytes = bytes
        }
    }

    public static let directory = "/spool"
    /// Frames share 2 KiB, so that many segments stay few bytes.
    public static let segmentBytes = 4096 + 2048

    public let kind: Kind
    /// Rising by LSN; also those whose segments are deleted.
    public let records: [Accepted]
    /// Earlier states of segments by path: deleted ones, and live ones with fewer frames.
    public let earlier: [String: [UInt8]]
    private let disk: FakeFileSystem

    /// Writes a journal. Blocks on its own threads only. - Parameter random: sizes of requests and records.
    public init(_ kind: Kind, random: inout SeededGenerator) throws {
        self.kind = kind
        var disk = FakeFileSystem()
        var records: [Accepted] = []
        var earlier: [String: [UInt8]] = [:]
        var checkpoint: [UInt8] = []
        for life in 0..<3 {
            checkpoint = disk.contents(Self.directory + "/CHECKPOINT") ?? []
            let writer = try Writer(disk, Self.settings(life == 2 ? kind : .always))
            for request in 0..<(life == 1 ? 5 : 12) {
                records += try writer.append(&random)
                if request == 2 {
                    for path in disk.segments { earlier[path] = earlier[path] ?? disk.contents(path) }
                }
            }
            for path in disk.segments where life < 2 { earlier[path] = earlier[path] ?? disk.contents(path) }
            if kind == .released, life == 1 { writer.release(to: records[records.count / 2].lsn) }
            // In order the first time: its last frame is idle, and CHECKPOINT says everything.
            if life == 0 || kind == .released && life == 1 { writer.close() }
            let survivor = disk.killed()
            writer.close()
            disk = survivor
        }
        if kind == .unverified { disk.overwrite(Self.directory + "/CHECKPOINT") { $0 = checkpoint } }
        self.disk = disk.withoutPower(.keepsEverything)
        self.records = records
        self.earlier = earlier
    }

    /// A copy to damage and to open.
    public func copy() -> FakeFileSystem { disk.killed() }

    /// Paths of all files, and of the segments.
    public var paths: [String] { disk.paths }
    public var segments: [String] { disk.segments }

    /// Bytes of a file.
    public func contents(_ path: String) -> [UInt8] { disk.contents(path) ?? [] }

    /// A journal of two frames: one whole, and one that holds `bytes` and is torn at its beginning.
    public static func torn(holding bytes: [UInt8]) throws -> FakeFileSystem {
        let disk = FakeFileSystem()
        var settings = settings(.always)
        settings.segmentBytes = 8 << 20
        let writer = try Writer(disk, settings)
        _ = try writer.append([Array("first".utf8)])
        _ = try writer.append([bytes])
        let survivor = disk.killed()
        writer.close()
        for path in survivor.segments {
            let frames = JournalModel.frames(survivor.contents(path) ?? [])
            // The first byte of the body: the header stays good.
            if frames.count == 2 { survivor.overwrite(path) { $0[frames[1].range.lowerBound + 40] ^= 1 } }
        }
        return survivor
    }

    /// Opens it and counts what can be read.
    public static func recoveredRecords(_ disk: FakeFileSystem) throws -> Int {
        let opened = try Journal.open(
            directory: directory, settings: settings(.always), lanes: 8, fileSystem: disk, log: quiet)
        let reader = opened.reader(from: opened.released)
        var records = 0
        while let frame = try reader.next() { records += frame.count }
        return records
    }

    static func settings(_ kind: Kind) -> JournalSettings {
        var settings = JournalSettings()
        settings.segmentBytes = segmentBytes
        settings.groupBytesMax = 1 << 10
        settings.reserveBytes = 1 << 10
        settings.tailBytesMax = 0
        // Only the end of a life writes an idle frame, and only segments make the keeper write CHECKPOINT.
        settings.idleFrameDelay = .seconds(3600)
        settings.keeperInterval = .seconds(3600)
        if kind == .interval { settings.sync = .interval(.seconds(3600)) }
        return settings
    }
}

extension FakeFileSystem {
    /// Paths of the segments, oldest first.
    public var segments: [String] { paths.filter { $0.hasSuffix(".seg") } }
}

/// One life of a journal, driven one request at a time.
private final class Writer {
    private let journal: Journal
    private let timers = TimerThread()
    private let released = Lock(LSN.zero)
    private var closed = false
    private var number = 0

    init(_ disk: FakeFileSystem, _ settings: JournalSettings) throws(JournalError) {
        let opened = try Journal.open(
            directory: GeneratedJournal.directory, settings: settings, lanes: 8, fileSystem: disk, log: quiet)
        let released = released
        released.withLock { $0 = opened.released }
        journal = try opened.start(
            timers: timers,
            hooks: JournalHooks(
                published: { _, _, _ in }, checkpoint: { _ in (released.withLock { $0 }, []) }, failed: { _ in }))
    }

    func append(_ random: inout SeededGenerator) throws -> [GeneratedJournal.Accepted] {
        number += 1
        var texts: [[UInt8]] = []
        for record in 0..<Int.random(in: 1...3, using: &random) {
            let padding = [UInt8](repeating: 0x78, count: Int.random(in: 0...120, using: &random))
            texts.append(Array("\(journal.epoch).\(number).\(record):".utf8) + padding)
        }
        return try append(texts)
    }

    func append(_ texts: [[UInt8]]) throws -> [GeneratedJournal.Accepted] {
        var body = JournalRecords(capacity: 512)
        for text in texts { body.append { $0.bytes.append(contentsOf: text) } }
        let answer = Monitor<Result<Appended, AppendFailure>?>(nil)
        journal.append(body, tag: 1) { result in
            answer.withLock { $0 = result }
            answer.signal()
        }
        let first = try answer.wait { $0 }!.get().first
        return texts.enumerated().map { .init(lsn: first.advanced(by: $0.offset), bytes: $0.element) }
    }

    func release(to lsn: LSN) { released.withLock { $0 = lsn } }

    func close() {
        if closed { return }
        closed = true
        journal.close()
        timers.stop()
    }
}

let quiet = Logger(label: "journal-attack", factory: { _ in SwiftLogNoOpLogHandler() })
