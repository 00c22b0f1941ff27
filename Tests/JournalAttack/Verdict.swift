import Glibc
import Journal
import Primitives
import Records
import TestSupport

/// Opens damaged copies of one journal and holds what comes of it against the model and against what was accepted.
///
/// Recovery must give everything below the greatest surviving proof, as an exact prefix, or refuse and name the loss;
/// never an altered or invented record. What is damaged is known from the bytes themselves: a frame that is not where
/// it was, as it was.
public struct Verdict: Sendable {
    /// How often what came of it. Printed: an attack that never does a thing is seen.
    public struct Counts: Sendable, CustomStringConvertible {
        public var cases = 0
        /// Opened with all records, or with fewer because of a torn tail.
        public var whole = 0
        public var torn = 0
        /// Opened, and a reader named the loss.
        public var named = 0
        /// Refused with the loss, or because META, CHECKPOINT or a segment's journal cannot be made out.
        public var corrupt = 0
        public var unreadable = 0
        public var records = 0
        /// With frames of a forger, who could invent records: only that it ends counts.
        public var forged = 0

        public init() {}

        public var description: String {
            "cases=\(cases) whole=\(whole) torn=\(torn) named_by_reader=\(named) refused=\(corrupt) "
                + "unreadable=\(unreadable) records_compared=\(records) forged=\(forged)"
        }

        public static func + (a: Self, b: Self) -> Self {
            var sum = a
            for field in [\Self.cases, \.whole, \.torn, \.named, \.corrupt, \.unreadable, \.records, \.forged] {
                sum[keyPath: field] += b[keyPath: field]
            }
            return sum
        }
    }

    private struct Frame {
        var path: String
        var range: Range<Int>
        var first: UInt64
        var end: UInt64
    }

    private let journal: GeneratedJournal
    private let promised: [GeneratedJournal.Accepted]
    private let frames: [Frame]
    private let pristine: [String: [UInt8]]
    public private(set) var counts = Counts()
    /// In words, each a broken promise.
    public private(set) var violations: [String] = []

    /// - Parameter promising: what was accepted, other than the journal's own records: to show what a verdict finds.
    public init(_ journal: GeneratedJournal, promising promised: [GeneratedJournal.Accepted]? = nil) {
        self.journal = journal
        self.promised = promised ?? journal.records
        pristine = Dictionary(uniqueKeysWithValues: journal.paths.map { ($0, journal.contents($0)) })
        frames = journal.segments.flatMap { path in
            JournalModel.frames(journal.contents(path)).map {
                Frame(path: path, range: $0.range, first: $0.first, end: $0.first + $0.count)
            }
        }
    }

    /// Places of the bytes of a segment's header and of its frames' headers.
    public static func headerBytes(_ segment: [UInt8]) -> Set<Int> {
        JournalModel.frames(segment).reduce(into: Set(0..<80)) {
            $0.formUnion($1.range.lowerBound..<$1.range.lowerBound + 40)
        }
    }

    /// Damages a copy and opens it. - Parameter again: opens what recovery left a second time, without power between.
    public mutating func check(_ damage: [Damage], again: Bool = false) throws {
        let disk = journal.copy()
        for one in damage { try one.apply(to: disk) }
        counts.cases += 1
        let model = JournalModel(
            Dictionary(
                uniqueKeysWithValues: disk.paths.map {
                    (String($0.dropFirst(GeneratedJournal.directory.utf8.count + 1)), disk.contents($0) ?? [])
                }))
        let calls = disk.calls
        var problems: [String] = []
        do throws(JournalError) {
            let opened = try Self.open(disk)
            let found = try read(opened)
            if damage.contains(where: \.isForgery) { return counts.forged += 1 }
            problems = judge(
                found, released: opened.released.rawValue, model, disk, damage.contains(where: \.movesFrames))
            if again, problems.isEmpty {
                let next = try Self.open(disk.withoutPower(.losesEverythingUnsynced))
                let second = try read(next)
                if second.records != found.records || second.lost != found.lost {
                    violations.append("\(damage): the second recovery differs")
                }
            }
        } catch {
            if damage.contains(where: \.isForgery) { return counts.forged += 1 }
            problems =
                judge(error, model, disk, damage.contains(where: \.movesFrames))
                // The name of the directory itself is made durable first.
                + (disk.log.dropFirst(calls) == ["fsync"] ? [] : ["a refused start changed the directory"])
        }
        violations += problems.map { "\(journal.kind) \(damage): \($0)" }
    }

    private static func open(_ disk: FakeFileSystem) throws(JournalError) -> Journal.Opened {
        try Journal.open(
            directory: GeneratedJournal.directory, settings: GeneratedJournal.settings(.always), lanes: 8,
            fileSystem: disk, log: quiet)
    }

    private struct Found {
        var records: [GeneratedJournal.Accepted] = []
        var lost: [Range<UInt64>] = []
    }

    private static let lossesMax = 10_000

    private func read(_ opened: Journal.Opened) throws(JournalError) -> Found {
        var found = Found()
        let reader = opened.reader(from: opened.released)
        while found.lost.count < Self.lossesMax {
            do throws(JournalError) {
                guard let frame = try reader.next() else { break }
                do throws(MalformedBytes) {
                    try frame.forEachRecord { lsn, bytes in
                        if lsn >= opened.released { found.records.append(.init(lsn: lsn, bytes: Array(bytes))) }
                    }
                } catch {
                    throw JournalError.unreadable(path: "\(frame.first)", reason: error.what)
                }
            } catch {
                guard case .corruption(let ranges, _) = error, let end = ranges.last?.upperBound,
                    ranges.contains(where: { !$0.isEmpty })
                else { throw error }
                found.lost += ranges.map { $0.lowerBound.rawValue..<$0.upperBound.rawValue }
                reader.skip(to: end)
            }
        }
        return found
    }

    // MARK: - Judgement

    private mutating func judge(
        _ found: Found, released: UInt64, _ model: JournalModel, _ disk: FakeFileSystem, _ moved: Bool
    ) -> [String] {
        if model.isUnreadable { return ["opened, though META, CHECKPOINT or a segment's UUID is unreadable"] }
        var problems: [String] = []
        if released != model.released { problems.append("released \(released), CHECKPOINT says \(model.released)") }
        let accepted = promised.filter { $0.lsn.rawValue >= model.released }
        let known = Dictionary(uniqueKeysWithValues: accepted.map { ($0.lsn, $0.bytes) })
        counts.records += found.records.count
        var last: LSN?
        for record in found.records {
            if known[record.lsn] != record.bytes { problems.append("\(record.lsn) is altered or invented") }
            if let last, record.lsn <= last { problems.append("\(record.lsn) after \(last)") }
            last = record.lsn
        }
        let broken = frames.filter { !isIntact($0, disk) }
        for range in found.lost where !isDamaged(range, broken, moved) {
            problems.append("a reader named \(range) as lost, and nothing of it is damaged")
        }
        let read = Set(found.records.map(\.lsn.rawValue))
        let missing = accepted.first { record in
            !read.contains(record.lsn.rawValue) && !found.lost.contains { $0.contains(record.lsn.rawValue) }
        }
        if let missing = missing?.lsn.rawValue {
            if missing < model.proof { problems.append("\(missing) is lost in silence; proven is \(model.proof)") }
            if let last, last.rawValue > missing { problems.append("\(last) without \(missing): no prefix") }
            if !broken.contains(where: { $0.first <= missing }) {
                problems.append("\(missing) is given up, and everything up to it is intact")
            }
            counts.torn += 1
        } else if found.lost.isEmpty {
            counts.whole += 1
        }
        if !found.lost.isEmpty { counts.named += 1 }
        return problems
    }

    private mutating func judge(
        _ error: JournalError, _ model: JournalModel, _ disk: FakeFileSystem, _ moved: Bool
    ) -> [String] {
        switch error {
        case .unreadable:
            counts.unreadable += 1
            return model.isUnreadable ? [] : ["refused without need: \(error)"]
        case .corruption(let lost, _):
            counts.corrupt += 1
            if model.isUnreadable { return ["\(error), and not as unreadable"] }
            let ranges = lost.map { $0.lowerBound.rawValue..<$0.upperBound.rawValue }
            let broken = frames.filter { !isIntact($0, disk) }
            var problems: [String] = []
            if ranges.isEmpty { problems.append("refused, and no loss is named") }
            for range in ranges {
                if range.lowerBound >= model.proof {
                    problems.append("\(range) is named as lost; proven is \(model.proof)")
                }
                // Its last segment may be gone with records that nothing proves: its base still is proven.
                let upTo = range.lowerBound..<range.upperBound + 1
                if !isDamaged(upTo, broken, moved), !model.headless.contains(where: range.contains) {
                    problems.append("\(range) is named as lost, and nothing of it is damaged")
                }
            }
            // What CHECKPOINT calls verified is read by the lanes only, and named then.
            for frame in broken where frame.end > max(model.verified, model.released) {
                // A frame that was moved as a whole is no loss.
                if stands(frame, anywhereIn: disk.contents(frame.path) ?? []) { continue }
                for lsn in frame.first..<frame.end where lsn >= model.released && lsn < model.proof {
                    if !ranges.contains(where: { $0.contains(lsn) }) {
                        problems.append("\(lsn) is lost and not named in \(ranges)")
                    }
                }
            }
            return problems
        case .io, .inUse, .laneCount, .quarantineFull:
            return ["\(error)"]
        }
    }

    /// Whether the frame stands where it stood, byte for byte, in a segment with its own header.
    private func isIntact(_ frame: Frame, _ disk: FakeFileSystem) -> Bool {
        guard let now = disk.contents(frame.path), let before = pristine[frame.path] else { return false }
        // Padding has no meaning, but has to be there.
        let end = (frame.range.upperBound + 7) / 8 * 8
        return end <= now.count && Self.areEqual(now, before, 0..<80) && Self.areEqual(now, before, frame.range)
    }

    private func stands(_ frame: Frame, anywhereIn segment: [UInt8]) -> Bool {
        guard let before = pristine[frame.path]?[frame.range] else { return false }
        return stride(from: 4096, through: segment.count - before.count, by: 8).contains { place in
            segment[place..<place + before.count].elementsEqual(before)
        }
    }

    /// Whether a record of the range is in a broken frame, or was in a segment that is gone. A later frame that stands
    /// before earlier ones hides these as well: then they are named although they are there.
    private func isDamaged(_ range: Range<UInt64>, _ broken: [Frame], _ moved: Bool) -> Bool {
        if broken.contains(where: { $0.first < range.upperBound && $0.end > range.lowerBound }) { return true }
        let concerned = frames.first { $0.first < range.upperBound && $0.end > range.lowerBound }
        if moved, broken.contains(where: { $0.path == concerned?.path }) { return true }
        return promised.contains { record in
            let lsn = record.lsn.rawValue
            return range.contains(lsn) && !frames.contains { $0.first <= lsn && lsn < $0.end }
        }
    }

    private static func areEqual(_ a: [UInt8], _ b: [UInt8], _ range: Range<Int>) -> Bool {
        guard range.upperBound <= a.count, range.upperBound <= b.count else { return false }
        return a.withUnsafeBytes { a in
            b.withUnsafeBytes {
                memcmp(a.baseAddress! + range.lowerBound, $0.baseAddress! + range.lowerBound, range.count)
            }
        } == 0
    }
}
