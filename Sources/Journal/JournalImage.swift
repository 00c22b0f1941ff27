import Logging
public import Primitives
public import Records

/// The journal of a stopped gateway, to be looked at: `postrider spool verify`, `repair` and `export`. Nothing of it is
/// changed but by the calls of `Quarantine.swift` and `restoreHeaders`.
///
/// Holds the directory's lock from `open` to `close`. One thread; every call may block on the disk.
public struct JournalImage {
    /// A segment in the chain.
    public struct Segment: Sendable, Equatable {
        public var path: String
        public var base: LSN
        /// Everything from `base` to here should be in it.
        public var end: LSN
        /// Of its file.
        public var fileBytes: Int64
    }

    /// How much a lost range matters.
    public enum Standing: String, Sendable {
        /// No lane needs it any more.
        case needless
        /// An operator accepted its loss.
        case quarantined
        /// A start is refused.
        case refusesStart = "refuses_start"
        /// A start does not see it; the lane that meets it stops.
        case stopsReaders = "stops_readers"
    }

    public let directory: String
    public let fileSystem: any FileSystem
    public let spool: SpoolID
    public let lanes: Int
    /// Rising.
    public let epochs: [UInt32]
    public let quarantined: [Range<LSN>]
    /// CHECKPOINT: everything below was synced; no lane needs anything below; the spool's own bytes.
    public let durable: LSN
    public let released: LSN
    public let owner: [UInt8]
    /// Of META and CHECKPOINT: 1 of 2 after a torn write, or after damage.
    public let validSlots: [(file: String, valid: Int)]
    /// Oldest first.
    public let segments: [Segment]
    /// Names of segment files whose header cannot be read.
    public let unreadableFiles: [String]
    /// Of those, the ones whose header `restoreHeaders` can make anew: nothing in them is lost.
    public let restorableFiles: [String]
    /// A start would be refused because of these.
    public let refused: [Range<LSN>]
    /// End of the log. What follows in the last segment was never promised.
    public let end: LSN
    /// The last segment ends with bytes that are no frame of the log: a torn tail, which the next start sets aside.
    public let hasTornTail: Bool

    let meta: Meta
    let checkpoint: Checkpoint
    let infos: [SegmentInfo]
    private let replaced: Set<LSN>
    private let restorable: [(path: String, header: SegmentHeader)]
    private let lock: (any File)?

    /// Locks the directory and reads everything that a start would read.
    ///
    /// - Parameter forWriting: `LOCK` is made where it is missing. Else nothing is written, so that it works on a
    ///   read-only file system.
    /// - Throws: `inUse` while a gateway runs on it; `io` where there is no journal; `unreadable` without META or
    ///   CHECKPOINT.
    public static func open(
        directory: String, forWriting: Bool = false, fileSystem: any FileSystem = SystemFileSystem()
    ) throws(JournalError) -> JournalImage {
        let lock: (any File)?
        do throws(FileSystemError) {
            let path = directory + "/" + Meta.kind.name
            // Else a lock would be made where there is no journal.
            _ = try fileSystem.open(path, .readOnly).size()
            lock = try Self.lock(directory, forWriting: forWriting, on: fileSystem)
        } catch {
            if error.call == "flock", error.errno == 0 { throw .inUse(directory: directory) }
            throw .io(error)
        }
        do throws(JournalError) {
            return try JournalImage(directory, lock, fileSystem)
        } catch {
            lock?.close()
            throw error
        }
    }

    /// A gateway always has the file open, so without one none runs.
    private static func lock(
        _ directory: String, forWriting: Bool, on fileSystem: any FileSystem
    ) throws(FileSystemError) -> (any File)? {
        let path = directory + "/LOCK"
        let file: any File
        do throws(FileSystemError) {
            file = try fileSystem.open(path, forWriting ? .createOrOpen : .readOnly)
        } catch {
            if !forWriting, error.isNotFound { return nil }
            throw error
        }
        guard try file.tryLock() else { throw FileSystemError(call: "flock", path: directory, errno: 0) }
        return file
    }

    private init(
        _ directory: String, _ lock: (any File)?, _ fileSystem: any FileSystem
    ) throws(JournalError) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.lock = lock
        let (metaFile, metaBytes) = try SlotFile.open(Meta.kind, in: directory, .readOnly, on: fileSystem)
        let (checkpointFile, checkpointBytes) = try SlotFile.open(
            Checkpoint.kind, in: directory, .readOnly, on: fileSystem)
        do throws(MalformedBytes) {
            meta = try Meta(decoding: metaBytes)
            checkpoint = try Checkpoint(decoding: checkpointBytes)
        } catch {
            throw .unreadable(path: directory, reason: error.what)
        }
        var recovery = Recovery(
            directory: directory, fileSystem: fileSystem, meta: meta, checkpoint: checkpoint,
            settings: JournalSettings(),
            log: Logger(label: "postrider.spool", factory: { _ in SwiftLogNoOpLogHandler() }))
        try recovery.find()
        refused = recovery.judge()
        spool = meta.spool
        lanes = meta.lanes
        epochs = meta.epochs.map(\.number)
        quarantined = meta.quarantined
        durable = checkpoint.durable
        released = checkpoint.released
        owner = checkpoint.owner
        validSlots = [(Meta.kind.name, metaFile.validSlots), (Checkpoint.kind.name, checkpointFile.validSlots)]
        infos = recovery.segments
        replaced = recovery.replaced
        end = recovery.report.end
        hasTornTail = recovery.endsBadly
        unreadableFiles = recovery.headless.map(\.name)
        do throws(FileSystemError) {
            segments = try Self.segments(recovery, on: fileSystem)
            restorable = try Self.restorable(recovery, meta.spool, directory, on: fileSystem)
        } catch {
            throw .io(error)
        }
        restorableFiles = restorable.map { String($0.path.dropFirst(directory.utf8.count + 1)) }
    }

    public func close() { lock?.close() }

    /// With the end that each should have.
    private static func segments(
        _ recovery: Recovery, on fileSystem: any FileSystem
    ) throws(FileSystemError) -> [Segment] {
        var segments: [Segment] = []
        for (index, info) in recovery.segments.enumerated() {
            let next = index + 1 < recovery.segments.count ? recovery.segments[index + 1].header : nil
            let tail = recovery.isTorn ? info.end : max(info.end, recovery.report.proof)
            segments.append(
                Segment(
                    path: info.path, base: info.base, end: next.map { max(info.end, $0.previousEnd) } ?? tail,
                    fileBytes: try fileSystem.open(info.path, .readOnly).size()))
        }
        return segments
    }

    private static func restorable(
        _ recovery: Recovery, _ spool: SpoolID, _ directory: String, on fileSystem: any FileSystem
    ) throws(FileSystemError) -> [(path: String, header: SegmentHeader)] {
        var found: [(path: String, header: SegmentHeader)] = []
        for (name, base) in recovery.headless {
            let file = try fileSystem.open(directory + "/" + name, .readOnly)
            let bytes = try file.read(Int(try file.size()), at: 0)
            guard bytes.count >= SegmentHeader.bytes else { continue }
            // What is left of the header itself may be right, too.
            var predecessors = [
                (
                    LSN(rawValue: bytes.littleEndian(at: 40)), LSN(rawValue: bytes.littleEndian(at: 48)),
                    bytes.littleEndian(at: 64, as: UInt32.self)
                ),
                (LSN.zero, LSN.zero, UInt32(0)),
            ]
            if let last = recovery.segments.last(where: { $0.base < base }) {
                predecessors.append(
                    last.isEmpty
                        ? (last.header.previousBase, last.header.previousEnd, last.header.previousChecksum)
                        : (last.base, last.end, last.lastChecksum))
            }
            let header = HeaderRestore.header(from: bytes[...], spool: spool, base: base, predecessors: predecessors)
            if let header { found.append((file.path, header)) }
        }
        return found
    }

    /// Writes the headers of `restorableFiles`, synced. The image is as it was: open another one.
    public func restoreHeaders() throws(FileSystemError) {
        for (path, header) in restorable {
            let file = try fileSystem.open(path, .readWrite)
            try file.writeAll(header.encoded(), at: 0)
            try file.syncData()
        }
    }

    public func standing(of lost: Range<LSN>) -> Standing {
        if lost.upperBound <= released { return .needless }
        if meta.isQuarantined(lost, released: released) { return .quarantined }
        return refused.contains { $0.overlaps(lost) } ? .refusesStart : .stopsReaders
    }

    /// An operator accepted the loss of all of the range.
    public func isQuarantined(_ lost: Range<LSN>) -> Bool { meta.isQuarantined(lost) }

    /// Reads everything between two LSNs.
    public func scan(_ lsns: Range<LSN> = .zero..<LSN(rawValue: .max)) -> JournalScan {
        JournalScan(self, lsns, replaced: replaced)
    }

    /// The records of a broken frame, as far as their lengths make sense. No checksum vouches for any of them.
    public func unverifiedRecords(
        of frame: BrokenFrame, at path: String
    ) throws(FileSystemError) -> [(lsn: LSN, bytes: ByteSlice)] {
        let body = try fileSystem.open(path, .readOnly).read(frame.bodyBytes, at: frame.offset)[...]
        var records: [(lsn: LSN, bytes: ByteSlice)] = []
        do throws(MalformedBytes) {
            try visitRecords(of: body, first: frame.first, count: frame.count) { records.append(($0, $1)) }
        } catch {
            // Those before the first length that cannot be right were visited.
        }
        return records
    }
}

/// Frames and damages of a stopped journal, in LSN order.
public struct JournalScan {
    public enum Step {
        /// May begin before and end after the LSNs that were asked for.
        case frame(JournalFrame)
        case damage(JournalDamage)
    }

    private let image: JournalImage
    private let lsns: Range<LSN>
    private let replaced: Set<LSN>
    private var index = 0
    private var segment: SegmentScan?
    private var hasLookedBefore = false

    init(_ image: JournalImage, _ lsns: Range<LSN>, replaced: Set<LSN>) {
        self.image = image
        self.lsns = lsns
        self.replaced = replaced
    }

    /// The segment that the last frame came from.
    public var place: JournalImage.Segment? { index < image.segments.count ? image.segments[index] : nil }

    /// nil when everything was read.
    public mutating func next() throws(JournalError) -> Step? {
        do throws(FileSystemError) {
            while let step = try step() {
                switch step {
                case .frame(let frame):
                    if frame.first < lsns.upperBound, frame.end > lsns.lowerBound { return step }
                case .damage(let damage):
                    if damage.lsns.overlaps(lsns) { return step }
                }
            }
            return nil
        } catch {
            throw .io(error)
        }
    }

    private mutating func step() throws(FileSystemError) -> Step? {
        if !hasLookedBefore {
            hasLookedBefore = true
            // Older than the oldest segment, or all there was.
            let first = image.infos.first?.header.previousEnd ?? image.end
            if image.released < first {
                return .damage(JournalDamage(kind: .missing, lsns: image.released..<first))
            }
        }
        while index < image.segments.count {
            let place = image.segments[index]
            if place.base >= lsns.upperBound { return nil }
            if place.end <= lsns.lowerBound {
                index += 1
                continue
            }
            if replaced.contains(place.base) {
                // From the end of the segment before: that is what is missing once the file is set aside.
                let lost = image.infos[index].header.previousEnd..<place.end
                index += 1
                return .damage(
                    JournalDamage(kind: .replaced, lsns: lost, path: place.path, bytes: 0..<place.fileBytes))
            }
            if segment == nil {
                segment = try SegmentScan(image.infos[index], end: place.end, on: image.fileSystem)
            }
            switch try segment?.next() {
            case .frame(let frame):
                return .frame(
                    JournalFrame(
                        first: frame.header.first, count: frame.header.count,
                        body: .init(bytes: Array(frame.body), range: 0..<frame.body.count)))
            case .damage(let damage): return .damage(damage)
            case .end, nil:
                segment = nil
                index += 1
            }
        }
        return nil
    }
}
