import Logging
import Primitives
import Records

/// The active segment: writes frames, syncs them, and starts the next segment. Owned by the writer's thread; knows no
/// queue and no readers.
struct SegmentWriter {
    let directory: String
    let fileSystem: any FileSystem
    let settings: JournalSettings
    let spool: SpoolID

    /// Next LSN to give.
    private(set) var next: LSN
    /// End of the contiguous synced prefix (`durable_lsn` of the next frame).
    private(set) var durable: LSN
    /// The greatest `durable_lsn` that a frame or segment header on disk carries.
    private(set) var proven: LSN
    /// nil after a failed start of a segment: there is none to write to.
    private(set) var active: Active?
    /// Base, end and checksum that the next segment's header names.
    private var previous: (base: LSN, end: LSN, checksum: UInt32)

    struct Active {
        var file: any File
        var info: SegmentInfo
    }

    init(
        directory: String, fileSystem: any FileSystem, settings: JournalSettings, spool: SpoolID, next: LSN,
        recovered end: LSN, previous: SegmentInfo?
    ) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.settings = settings
        self.spool = spool
        self.next = next
        durable = end
        proven = end
        // A segment without frames hands on what its own header says of its predecessor.
        self.previous =
            switch previous {
            case nil: (.zero, end, 0)
            case .some(let last) where last.isEmpty && end <= last.base:
                (last.header.previousBase, last.header.previousEnd, last.header.previousChecksum)
            case .some(let last): (last.base, max(end, last.end), last.lastChecksum)
            }
    }

    /// Whether a frame around `bodyBytes` fits into the active segment.
    func fits(_ bodyBytes: Int) -> Bool {
        guard let active else { return false }
        let frame = Format.frameHeaderBytes + Format.padded(bodyBytes)
        return active.info.usedBytes + Int64(frame) <= Int64(settings.segmentBytes)
    }

    /// Writes one frame at the end of the active segment; not yet synced.
    ///
    /// - Parameter frame: `FrameEncoder.emptyFrame` with the body appended.
    /// - Returns: the frame for readers, once it is synced.
    mutating func write(_ frame: inout [UInt8], count: Int) throws(FileSystemError) -> JournalFrame {
        guard var active else { preconditionFailure("no segment is active") }
        let bodyEnd = frame.count
        let (header, bytes) = FrameEncoder.seal(
            &frame, count: count, first: next, durable: durable, previousChecksum: active.info.lastChecksum,
            salt: active.info.header.salt)
        try active.file.writeAll(bytes, at: active.info.usedBytes)
        active.info.usedBytes += Int64(bytes.count)
        active.info.lastChecksum = header.checksum
        active.info.end = header.end
        self.active = active
        proven = max(proven, header.durable)
        next = header.end
        return JournalFrame(
            first: header.first, count: count,
            body: .init(bytes: bytes, range: Format.frameHeaderBytes..<bodyEnd))
    }

    /// After `write` threw for lack of space: makes sure that the frame can never be taken for a good one, although
    /// an unknown part of it was written. The file is cut off there, since overwriting could need space as well.
    ///
    /// - Returns: false when not even that finds space: a start before the next segment may find the frame.
    mutating func cutOffFailedFrame() throws(FileSystemError) -> Bool {
        guard let active else { return true }
        self.active?.info.isWhole = false
        do throws(FileSystemError) {
            try active.file.truncate(active.info.usedBytes)
        } catch {
            guard error.isNoSpace else { throw error }
            return false
        }
        try active.file.syncData()
        return true
    }

    /// Everything written so far is synced when this returns. After an error the file is condemned.
    mutating func sync() throws(FileSystemError) {
        guard let active else { return }
        try active.file.syncData()
        durable = next
    }

    /// Ends the active segment. - Precondition: it is synced.
    mutating func seal() -> SegmentInfo? {
        guard let active else { return nil }
        precondition(durable == next)
        self.active = nil
        if !active.info.isEmpty {
            previous = (active.info.base, active.info.end, active.info.lastChecksum)
        }
        return active.info
    }

    /// Starts a segment at `next`, or at `base` when a new epoch begins. Header, sync, rename, directory sync; only
    /// then may a frame be written.
    ///
    /// - Parameter spare: an empty preallocated file, or nil to make one now. After an error it is gone.
    mutating func start(spare: (any File)?, epochBase: LSN? = nil) throws(FileSystemError) -> SegmentInfo {
        precondition(active == nil)
        let base = epochBase ?? next
        let header = SegmentHeader(
            spool: spool, base: base, previousBase: previous.base, previousEnd: previous.end,
            salt: UInt32.random(in: 1 ... .max), previousChecksum: previous.checksum)
        let path = directory + "/" + SegmentHeader.fileName(base: base)
        let file: any File
        if let spare {
            file = spare
        } else {
            file = try fileSystem.open(path + ".new", .createOrTruncate)
        }
        do throws(FileSystemError) {
            if spare == nil { try file.allocate(Int64(settings.segmentBytes)) }
            try file.writeAll(header.encoded(), at: 0)
            try file.syncData()
            try fileSystem.rename(file.path, to: path)
        } catch {
            // Its space is worth more than its name; where that fails too, the next start removes it.
            do throws(FileSystemError) { try fileSystem.remove(file.path) } catch {}
            throw error
        }
        try fileSystem.syncDirectory(directory)
        let info = SegmentInfo(
            header: header, path: path, end: base, usedBytes: Int64(Format.segmentHeaderBytes),
            lastChecksum: header.checksum, isWhole: true)
        active = Active(file: file, info: info)
        next = base
        durable = base
        proven = base
        return info
    }
}
