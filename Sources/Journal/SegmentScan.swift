import Primitives
public import Records

/// Records of a stopped journal that cannot be read, or bytes that are not what they were.
public struct JournalDamage: Sendable, Equatable {
    public enum Kind: String, Sendable {
        /// Bytes of a file are broken.
        case unreadable
        /// No file holds the records.
        case missing
        /// The file's frames are good, but they are not the ones that were there when the next segment was made.
        case replaced
        /// The bytes are what was written, but no record that this program knows.
        case undecodable
    }

    public var kind: Kind
    /// What is lost.
    public var lsns: Range<LSN>
    /// Where it should stand; nil for what is missing from the beginning.
    public var path: String?
    /// The broken bytes in that file; empty where nothing is there.
    public var bytes: Range<Int64> = 0..<0
    /// Frames among them whose header is good and whose body is not.
    public var brokenFrames: [BrokenFrame] = []

    package init(
        kind: Kind, lsns: Range<LSN>, path: String? = nil, bytes: Range<Int64> = 0..<0, brokenFrames: [BrokenFrame] = []
    ) {
        self.kind = kind
        self.lsns = lsns
        self.path = path
        self.bytes = bytes
        self.brokenFrames = brokenFrames
    }
}

/// A frame whose header is good and whose body is not.
public struct BrokenFrame: Sendable, Equatable {
    public var first: LSN
    public var count: Int
    /// Of the body, from the start of the file.
    var offset: Int64
    var bodyBytes: Int
}

/// Walks one segment from its beginning to where it should end, past whatever is broken. Judges nothing.
struct SegmentScan {
    enum Step {
        case frame(DiskFrame)
        case damage(JournalDamage)
        case end
    }

    private let path: String
    /// Everything below should be here.
    private let end: LSN
    private var walk: SegmentWalk
    private var position: LSN
    private var isOver = false
    /// Header checksum of the last frame, or of the segment before the first.
    private(set) var lastChecksum: UInt32

    init(_ segment: SegmentInfo, end: LSN, on fileSystem: any FileSystem) throws(FileSystemError) {
        path = segment.path
        self.end = end
        walk = try SegmentWalk(header: segment.header, file: try fileSystem.open(segment.path, .readOnly))
        position = segment.base
        lastChecksum = segment.header.checksum
    }

    /// The next frame with records, or what is broken before it.
    mutating func next() throws(FileSystemError) -> Step {
        while !isOver {
            switch try walk.next(verifiedBelow: .zero) {
            case .frame(let frame):
                // What lies at or past the end was given up, or never counted.
                if frame.header.count > 0, frame.header.first >= end {
                    isOver = true
                    return .end
                }
                position = max(position, frame.header.end)
                lastChecksum = frame.header.checksum
                if frame.header.count > 0 { return .frame(frame) }
            case .cleanEnd:
                isOver = true
                return missing(kind: .missing, bytes: walk.offset..<walk.offset, frames: [])
            case .bad(let offset):
                if position >= end { return .end }
                let (found, broken) = try resume(after: offset)
                let place = offset..<(found?.offset ?? walk.window.fileBytes)
                let lost = found.map { position..<min(end, $0.header.first) }
                if let found { walk.jump(to: found.offset) } else { isOver = true }
                if lost?.isEmpty == true { continue }
                defer { position = lost?.upperBound ?? end }
                return missing(kind: .unreadable, lost: lost, bytes: place, frames: broken)
            }
        }
        return .end
    }

    private func missing(
        kind: JournalDamage.Kind, lost: Range<LSN>? = nil, bytes: Range<Int64>, frames: [BrokenFrame]
    ) -> Step {
        let lost = lost ?? position..<max(position, end)
        if lost.isEmpty { return .end }
        return .damage(JournalDamage(kind: kind, lsns: lost, path: path, bytes: bytes, brokenFrames: frames))
    }

    /// The next wholly good frame behind a bad place, and those on the way to it of which only the header is good.
    private mutating func resume(
        after bad: Int64
    ) throws(FileSystemError) -> (found: DiskFrame?, broken: [BrokenFrame]) {
        var broken: [BrokenFrame] = []
        var place = bad
        while let (header, offset) = try walk.findHeader(from: place) {
            if header.first >= end, header.count > 0 { break }
            if header.first >= position {
                // At the bad place itself stands a frame that is out of order: only a later one can go on from here.
                if let frame = try walk.frame(at: offset) {
                    if offset > bad { return (frame, broken) }
                } else {
                    broken.append(
                        BrokenFrame(
                            first: header.first, count: header.count,
                            offset: offset + Int64(Format.frameHeaderBytes), bodyBytes: header.bodyBytes))
                }
            }
            place = offset + Int64(Format.alignment)
        }
        return (nil, broken)
    }
}
