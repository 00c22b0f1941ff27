import Glibc
import Logging
import Primitives
public import Records

/// What opening a journal found and did, for the log and the operator.
public struct RecoveryReport: Sendable, Equatable {
    /// Everything recovered ends here (exclusive).
    public var end = LSN.zero
    /// The greatest `durable_lsn` found: records below it were synced by an earlier process.
    public var proof = LSN.zero
    public var segments = 0
    /// Read of the segments: their headers, and of those whose frames had to be looked at, the frames' headers and what
    /// stands between them in the window.
    public var readBytes: Int64 = 0
    /// In frames whose bodies had to be checked: those that no CHECKPOINT says are good. 0 after a stop in order.
    public var verifiedRecords = 0
    /// Bytes past the proof that were written again and synced.
    public var rewrittenBytes: Int64 = 0
    /// The tail had to be copied to a new segment because its old place could not be synced.
    public var tailWasCopied = false
    /// Bytes after the last good frame, set aside.
    public var tornBytes: Int64 = 0
    /// Broken ranges that nobody needs any more, or that are quarantined.
    public var ignoredLosses: [Range<LSN>] = []
    /// META's epochs before this start.
    public var created = false
}

/// Reads what an earlier process left, decides what counts, and makes all of it durable again before anybody sees it.
/// Runs once, before the journal's threads exist. The rules are in docs/JOURNAL.md, "Recovery".
struct Recovery {
    let directory: String
    let fileSystem: any FileSystem
    let meta: Meta
    let checkpoint: Checkpoint
    let settings: JournalSettings
    let log: Logger

    var report = RecoveryReport()
    /// Good segments, oldest first.
    private(set) var segments: [SegmentInfo] = []
    /// `.seg` files whose header cannot be read.
    private(set) var headless: [(name: String, base: LSN)] = []
    /// Segments whose frames are not the ones that were there when the next one was made.
    private(set) var replaced: Set<LSN> = []
    /// The log ends in the last segment before the proof would have it end elsewhere: a torn tail.
    private(set) var isTorn = false
    private var gaps: [Gap] = []
    /// The last segment does not end with zeros.
    private(set) var endsBadly = false
    /// Frames of the last segment, in order; those well under the proof may be missing.
    private var lastFrames: [FramePlace] = []

    /// A frame of the last segment.
    private struct FramePlace {
        var end: LSN
        var offset: Int64
        var checksum: UInt32
        /// Without records.
        var isIdle: Bool
    }

    private static let framesKept = 4096

    /// LSNs that should be there and are not, and where in which segment.
    private struct Gap {
        var range: Range<LSN>
        var segment: Int
        var bytes: Range<Int64>
    }

    init(
        directory: String, fileSystem: any FileSystem, meta: Meta, checkpoint: Checkpoint, settings: JournalSettings,
        log: Logger
    ) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.meta = meta
        self.checkpoint = checkpoint
        self.settings = settings
        self.log = log
    }

    /// The epochs of everything that was found, so that the next one is greater than all.
    var epochsSeen: UInt32 {
        max(
            meta.epochs.last?.number ?? 0, segments.last?.base.epoch ?? 0, headless.map(\.base.epoch).max() ?? 0,
            checkpoint.durable.epoch)
    }

    mutating func run() throws(JournalError) {
        try find()
        let lost = judge()
        if !lost.isEmpty {
            let files = Set(headless.map(\.name)).sorted().joined(separator: ", ")
            throw .corruption(lost, detail: files.isEmpty ? "" : "unreadable: \(files)")
        }
        do throws(FileSystemError) {
            try makeDurable()
            try setAside()
        } catch { throw .io(error) }
        report.segments = segments.count
    }

    /// Reads what there is; changes nothing on disk.
    mutating func find() throws(JournalError) {
        do throws(FileSystemError) {
            try readHeaders()
        } catch { throw .io(error) }
        try refuseForeignSegments()
        do throws(FileSystemError) {
            try walkAll()
        } catch { throw .io(error) }
    }

    private var foreign: String?

    private mutating func readHeaders() throws(FileSystemError) {
        let names = try fileSystem.list(directory)
        let bases = names.compactMap { name in SegmentHeader.base(fromFileName: name).map { (name, $0) } }
        for (name, base) in bases.sorted(by: { $0.1 < $1.1 }) {
            let path = directory + "/" + name
            let file = try fileSystem.open(path, .readOnly)
            let bytes = try file.read(SegmentHeader.bytes, at: 0)
            report.readBytes += Int64(bytes.count)
            do throws(MalformedBytes) {
                let header = try SegmentHeader(decoding: bytes[...])
                guard header.base == base else { throw MalformedBytes("base \(header.base) under this name") }
                if header.spool != meta.spool { foreign = path }
                segments.append(
                    SegmentInfo(
                        header: header, path: path, end: base, usedBytes: Int64(Format.segmentHeaderBytes),
                        lastChecksum: header.checksum))
            } catch {
                log.error("segment header unreadable", metadata: ["path": "\(path)", "reason": "\(error.what)"])
                headless.append((name, base))
            }
        }
    }

    private func refuseForeignSegments() throws(JournalError) {
        if let foreign {
            throw .unreadable(path: foreign, reason: "it belongs to another journal than META")
        }
    }

    /// Finds the end of every segment, every gap, and the greatest proof.
    private mutating func walkAll() throws(FileSystemError) {
        report.proof = max(checkpoint.durable, segments.last?.base ?? .zero)
        for (_, base) in headless where base >= segments.last?.base ?? .zero {
            // A file has its final name only after its header was synced: this is no torn write, what it held is lost,
            // and the name alone still proves what is below.
            report.proof = max(report.proof, LSN(rawValue: base.rawValue + 1))
        }
        if let first = segments.first, first.header.previousEnd > checkpoint.released {
            // Segments older than the oldest are gone although somebody needs them.
            gaps.append(Gap(range: checkpoint.released..<first.header.previousEnd, segment: 0, bytes: 0..<0))
        }
        for index in segments.indices {
            let next = index + 1 < segments.count ? segments[index + 1].header : nil
            if let next, next.previousBase == segments[index].base, next.previousEnd <= checkpoint.verified {
                segments[index].end = next.previousEnd
                segments[index].lastChecksum = next.previousChecksum
                segments[index].usedBytes = try fileSystem.open(segments[index].path, .readOnly).size()
                continue
            }
            try walk(index, next: next)
            guard let next else { continue }
            if segments[index].end < next.previousEnd {
                let place = segments[index].usedBytes
                gaps.append(Gap(range: segments[index].end..<next.previousEnd, segment: index, bytes: place..<place))
            } else if next.previousBase == segments[index].base, next.previousChecksum != segments[index].lastChecksum {
                // Every frame is good, but they are not the ones that were here when the next segment was made.
                log.error("segment was replaced", metadata: ["path": "\(segments[index].path)"])
                replaced.insert(segments[index].base)
                gaps.append(
                    Gap(range: segments[index].base..<next.previousEnd, segment: index, bytes: 0..<0))
            }
        }
        report.end = segments.last?.end ?? checkpoint.released
    }

    private mutating func walk(_ index: Int, next: SegmentHeader?) throws(FileSystemError) {
        let file = try fileSystem.open(segments[index].path, .readOnly)
        var walk = try SegmentWalk(header: segments[index].header, file: file)
        defer {
            report.readBytes += walk.window.readBytes
            report.verifiedRecords += walk.verifiedRecords
        }
        // What lies at or past the next segment's start was given up when that segment was made.
        let limit = next?.previousEnd
        while true {
            switch try walk.next(verifiedBelow: checkpoint.verified) {
            case .frame(let frame):
                if let limit, frame.header.first >= limit, frame.header.count > 0 { return }
                take(frame, of: index, last: next == nil)
            case .cleanEnd:
                return
            case .bad(let offset):
                if next == nil { endsBadly = true }
                guard let found = try resume(&walk, after: offset, of: index, limit: limit) else { return }
                // Empty where bytes are bad but no record is missing.
                let missing = segments[index].end..<found.header.first
                gaps.append(Gap(range: missing, segment: index, bytes: offset..<found.offset))
                segments[index].skips.append(offset..<found.offset)
                walk.jump(to: found.offset)
            }
        }
    }

    private mutating func take(_ frame: DiskFrame, of index: Int, last: Bool) {
        segments[index].end = frame.header.end
        segments[index].usedBytes = frame.endOffset
        segments[index].lastChecksum = frame.header.checksum
        guard last else { return }
        report.proof = max(report.proof, frame.header.durable)
        lastFrames.append(
            FramePlace(
                end: frame.header.end, offset: frame.offset, checksum: frame.header.checksum,
                isIdle: frame.header.count == 0))
        if lastFrames.count > Self.framesKept {
            // The last one under the proof stays: a cut right after it needs its checksum.
            let proven = lastFrames.prefix { $0.end <= report.proof }.count
            lastFrames.removeFirst(max(0, proven - 1))
        }
    }

    /// After a bad place: the next wholly good frame of this segment. Every good header on the way is a proof, also
    /// one whose body is broken.
    private mutating func resume(
        _ walk: inout SegmentWalk, after bad: Int64, of index: Int, limit: LSN?
    ) throws(FileSystemError) -> DiskFrame? {
        var place = bad
        while let (header, offset) = try walk.findHeader(from: place) {
            if let limit, header.first >= limit { return nil }
            if limit == nil { report.proof = max(report.proof, header.durable) }
            // At the bad place itself stands a frame that is out of order: only a later one can go on from here.
            if offset > bad, header.first >= segments[index].end, let frame = try walk.frame(at: offset) {
                return frame
            }
            place = offset + Int64(Format.alignment)
        }
        return nil
    }

    /// Torn tail, or loss: decides by the proof. Changes nothing on disk.
    ///
    /// - Returns: what is lost and still needed: a start is refused.
    mutating func judge() -> [Range<LSN>] {
        var lost: [Range<LSN>] = []
        var tornAt: Gap?
        for gap in gaps {
            // Nothing is missing (an idle frame broke, as it seems): what follows was written after all before it.
            if gap.range.isEmpty { continue }
            if gap.range.lowerBound >= report.proof {
                tornAt = gap
                break
            }
            if isNeedless(gap.range) {
                report.ignoredLosses.append(gap.range)
            } else {
                lost.append(gap.range)
            }
        }
        if let torn = tornAt {
            isTorn = true
            cutLastSegment(at: torn)
        } else if report.proof > report.end {
            let range = report.end..<report.proof
            if isNeedless(range) { report.ignoredLosses.append(range) } else { lost.append(range) }
            report.end = report.proof
        }
        for range in report.ignoredLosses {
            log.error("journal records are broken that nobody needs", metadata: ["lsns": "\(range)"])
        }
        return lost
    }

    private func isNeedless(_ range: Range<LSN>) -> Bool {
        range.upperBound <= checkpoint.released || meta.isQuarantined(range, released: checkpoint.released)
    }

    /// The log ends at the first bad frame past the proof; good frames after it were never promised.
    private mutating func cutLastSegment(at torn: Gap) {
        let index = torn.segment
        segments[index].end = torn.range.lowerBound
        segments[index].usedBytes = torn.bytes.lowerBound
        segments[index].skips.removeAll { $0.lowerBound >= torn.bytes.lowerBound }
        lastFrames.removeAll { $0.offset >= torn.bytes.lowerBound }
        segments[index].lastChecksum = lastFrames.last?.checksum ?? segments[index].header.checksum
        report.end = torn.range.lowerBound
    }

    /// Writes everything past the proof again, in place, and syncs: after a SIGKILL between write and sync it may be
    /// in the page cache only.
    private mutating func makeDurable() throws(FileSystemError) {
        guard let last = segments.last else { return }
        let fileBytes = try fileSystem.open(last.path, .readOnly).size()
        try keepTornBytes(of: last, fileBytes: fileBytes)
        let unproven = lastFrames.first { $0.end > report.proof }
        // An idle frame at the end proves what is before it, and not itself: its own sync may have failed. The next
        // segment names its checksum.
        let idle = lastFrames.last.flatMap { $0.isIdle ? $0 : nil }
        let start = (unproven ?? idle)?.offset ?? last.usedBytes
        let bytes = try fileSystem.open(last.path, .readOnly).read(Int(last.usedBytes - start), at: start)
        report.rewrittenBytes = unproven == nil ? 0 : Int64(bytes.count)
        do throws(FileSystemError) {
            let file = try fileSystem.open(last.path, .readWrite)
            try file.writeAll(bytes, at: start)
            // Without the rest, a torn tail is gone for good and a quiet segment takes no more space than it needs.
            try file.truncate(last.usedBytes)
            try file.syncData()
            try fileSystem.syncDirectory(directory)
        } catch {
            if unproven == nil { throw error }
            log.error("recovered tail cannot be synced in place, copying it", metadata: ["error": "\(error)"])
            try copyTail(bytes, firstOffset: start)
        }
    }

    /// The frames past the proof, re-encoded into a segment of their own that begins with them.
    private mutating func copyTail(_ bytes: [UInt8], firstOffset: Int64) throws(FileSystemError) {
        let old = segments[segments.count - 1]
        var frames: [(header: FrameHeader, body: ByteSlice)] = []
        for place in lastFrames where place.offset >= firstOffset {
            let position = Int(place.offset - firstOffset)
            guard
                let header = FrameHeader(
                    decoding: bytes[position...], bytesLeft: bytes.count - position, segment: old.header)
            else { throw FileSystemError(call: "read", path: old.path, errno: EIO) }
            let body = position + Format.frameHeaderBytes
            if header.count > 0 { frames.append((header, bytes[body..<body + header.bodyBytes])) }
        }
        guard let base = frames.first?.header.first else { return }
        let replacesWhole = base == old.base
        let kept = lastFrames.last { $0.offset < firstOffset }?.checksum ?? old.header.checksum
        let header = SegmentHeader(
            spool: meta.spool, base: base,
            previousBase: replacesWhole ? old.header.previousBase : old.base,
            previousEnd: replacesWhole ? old.header.previousEnd : base,
            salt: UInt32.random(in: 1 ... .max),
            previousChecksum: replacesWhole ? old.header.previousChecksum : kept)
        var image = header.encoded()
        var chain = header.checksum
        for frame in frames {
            let encoded = FrameEncoder.encode(
                body: frame.body, count: frame.header.count, first: frame.header.first, durable: base,
                previousChecksum: chain, salt: header.salt)
            chain = encoded.header.checksum
            image += encoded.bytes
        }
        let path = directory + "/" + SegmentHeader.fileName(base: base)
        let file = try fileSystem.open(path + ".new", .createOrTruncate)
        try file.writeAll(image, at: 0)
        try file.syncData()
        try fileSystem.rename(path + ".new", to: path)
        try fileSystem.syncDirectory(directory)
        let copy = SegmentInfo(
            header: header, path: path, end: old.end, usedBytes: Int64(image.count), lastChecksum: chain)
        if replacesWhole {
            segments[segments.count - 1] = copy
        } else {
            segments[segments.count - 1].end = base
            segments[segments.count - 1].usedBytes = firstOffset
            segments[segments.count - 1].lastChecksum = kept
            segments.append(copy)
        }
        report.tailWasCopied = true
    }

    /// Copies bytes after the last good frame to a `.broken` file for people to look at. No space is no reason not to
    /// start.
    private mutating func keepTornBytes(of last: SegmentInfo, fileBytes: Int64) throws(FileSystemError) {
        guard endsBadly else { return }
        let rest = try fileSystem.open(last.path, .readOnly).read(Int(fileBytes - last.usedBytes), at: last.usedBytes)
        guard let end = rest.lastIndex(where: { $0 != 0 }) else { return }
        let torn = Array(rest[...end])
        report.tornBytes = Int64(torn.count)
        log.warning(
            "torn tail set aside",
            metadata: ["segment": "\(last.path)", "bytes": "\(torn.count)", "end": "\(last.end)"])
        do throws(FileSystemError) {
            let name = last.path + "-\(last.usedBytes).broken"
            try fileSystem.open(name, .createOrTruncate).writeAll(torn, at: 0)
        } catch {
            log.error("torn tail could not be kept", metadata: ["error": "\(error)"])
        }
    }

    /// Segments that cannot be read leave the chain; half-made files and old `.broken` ones go.
    private mutating func setAside() throws(FileSystemError) {
        for name in try fileSystem.list(directory)
        where name.hasSuffix(SpareSegments.suffix) || name.hasSuffix(".new") {
            remove(name)
        }
        for (name, _) in headless {
            try fileSystem.rename(directory + "/" + name, to: directory + "/" + name + ".broken")
        }
        let broken = try fileSystem.list(directory).filter { $0.hasSuffix(".broken") }.sorted()
        for name in broken.dropLast(settings.brokenFilesMax) { remove(name) }
    }

    /// What nobody needs. That it cannot be removed is no reason not to start.
    private func remove(_ name: String) {
        do throws(FileSystemError) {
            try fileSystem.remove(directory + "/" + name)
        } catch {
            log.error("a file that nobody needs cannot be removed", metadata: ["error": "\(error)"])
        }
    }
}
