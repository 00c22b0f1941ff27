import Primitives
import Records

/// What is known of a segment while the journal is open.
struct SegmentInfo: Sendable {
    var header: SegmentHeader
    var path: String
    /// One past the last LSN of its frames; of the active segment it is behind.
    var end: LSN
    /// Bytes up to the end of its last frame, the header included.
    var usedBytes: Int64
    /// Header checksum of its last frame, or of the segment while it has none.
    var lastChecksum: UInt32
    /// This process made its file, which still has the length of a segment.
    var isWhole = false
    /// Byte ranges that hold broken frames nobody needs: readers jump over them.
    var skips: [Range<Int64>] = []

    var base: LSN { header.base }
    var isEmpty: Bool { usedBytes == Int64(Format.segmentHeaderBytes) }
}

/// Reads one segment's file through a window of memory. One thread at a time.
struct SegmentWindow {
    static let bytes = 1 << 20

    let file: any File
    let fileBytes: Int64
    private var window: [UInt8] = []
    private var windowOffset: Int64 = 0
    /// Bytes of the window that were read.
    private var filled = 0
    /// Somebody may have a part of it: what comes next needs memory of its own.
    private var isLent = false
    /// Of the file, so far.
    private(set) var readBytes: Int64 = 0

    init(file: any File) throws(FileSystemError) {
        self.file = file
        fileBytes = try file.size()
    }

    /// Forgets what was read: the file may have grown frames since.
    mutating func drop() {
        filled = 0
        windowOffset = 0
    }

    /// What was read last is with somebody.
    mutating func lend() { isLent = true }

    /// A part of it for somebody to keep: the window itself where that is most of it, else a copy, which does not keep
    /// the rest.
    mutating func keep(_ part: ByteSlice) -> JournalFrame.Body {
        guard part.count < window.count / 2 else { return .init(bytes: window, range: part.startIndex..<part.endIndex) }
        isLent = false
        return .init(bytes: Array(part), range: 0..<part.count)
    }

    /// Nobody has a part of it any more. (Were that wrong, the next read would copy all of it, and nothing else.)
    mutating func takeBack() { isLent = false }

    /// Up to `count` bytes from `offset`; fewer only at the end of the file.
    mutating func read(_ count: Int, at offset: Int64) throws(FileSystemError) -> ByteSlice {
        let windowEnd = windowOffset + Int64(filled)
        if offset < windowOffset || offset + Int64(count) > windowEnd {
            let wanted = min(Int64(max(count, Self.bytes)), max(0, fileBytes - offset))
            if offset < windowOffset || offset + wanted > windowEnd {
                try fill(Int(wanted), at: offset)
            }
        }
        let start = Int(min(offset - windowOffset, Int64(filled)))
        return window[start..<min(start + count, filled)]
    }

    /// In the same memory where it is large enough: each lane reads every frame, and new memory costs a page fault for
    /// every 4 KiB of it.
    private mutating func fill(_ wanted: Int, at offset: Int64) throws(FileSystemError) {
        filled = 0
        windowOffset = offset
        if isLent || window.count < wanted {
            // Not two of them at once: a window is as large as the largest frame.
            window = []
            isLent = false
            window = try file.read(wanted, at: offset)
            filled = window.count
        } else {
            filled = try file.read(wanted, at: offset, into: &window)
        }
        readBytes += Int64(filled)
    }

    /// What is in memory from `offset` on, at least `count` bytes; fewer only at the end of the file. Many short steps
    /// read no byte of the file twice.
    mutating func run(from offset: Int64, atLeast count: Int) throws(FileSystemError) -> ByteSlice {
        let first = try read(count, at: offset)
        return window[first.startIndex..<filled]
    }
}

/// One frame as read from the disk.
struct DiskFrame {
    var header: FrameHeader
    var body: ByteSlice
    var offset: Int64

    var endOffset: Int64 { offset + Int64(header.frameBytes) }
}

/// Walks the frames of one segment in order and tells what it meets; judges nothing.
struct SegmentWalk {
    enum Step {
        case frame(DiskFrame)
        /// Zeros up to the end of the file, or the end itself.
        case cleanEnd
        /// Bytes at `offset` that are no good frame of this place.
        case bad(offset: Int64)
    }

    let header: SegmentHeader
    private(set) var window: SegmentWindow
    /// Where the next frame should be.
    private(set) var offset: Int64
    /// The LSN that it should begin with; nil after a jump, when any is taken.
    private var expected: LSN?
    private var previousChecksum: UInt32?
    /// Bytes of bodies that were read and are broken.
    private var brokenBytes: Int64 = 0
    /// In frames whose bodies were read and are good.
    private(set) var verifiedRecords = 0

    /// So many times the file's length of broken bodies are read; frames that follow are taken for broken unread. The
    /// broken frames of a file are together no longer than it. More are copies of a header with a long body, and each
    /// would cost that length: a search must stay linear.
    static let brokenBytesFactor: Int64 = 16

    init(header: SegmentHeader, file: any File) throws(FileSystemError) {
        self.header = header
        window = try SegmentWindow(file: file)
        offset = Int64(Format.segmentHeaderBytes)
        expected = header.base
        previousChecksum = header.checksum
    }

    /// - Parameter verifiedBelow: bodies of frames that end at or below are not read.
    mutating func next(verifiedBelow: LSN) throws(FileSystemError) -> Step {
        guard let frame = try frame(at: offset, verifiedBelow: verifiedBelow) else {
            return try isZero(from: offset) ? .cleanEnd : .bad(offset: offset)
        }
        if let expected, frame.header.first != expected { return .bad(offset: offset) }
        if let previousChecksum, frame.header.previousChecksum != previousChecksum { return .bad(offset: offset) }
        go(past: frame)
        return .frame(frame)
    }

    /// Goes on with the frame at `offset` whatever came before it.
    mutating func jump(to offset: Int64) {
        self.offset = offset
        expected = nil
        previousChecksum = nil
    }

    /// Forgets what was read ahead: the file may have grown frames since.
    mutating func refresh() { window.drop() }

    /// The body of the frame that was met last, to keep.
    mutating func keep(_ frame: DiskFrame) -> JournalFrame.Body { window.keep(frame.body) }

    /// Nobody has a part of the frames before any more.
    mutating func takeBack() { window.takeBack() }

    /// The first good header at or after `offset`, with its place; its body is not looked at. Linear: each place costs
    /// one comparison, and bytes that a client chose never carry the salted checksum; what stands in memory is not
    /// read again.
    mutating func findHeader(from offset: Int64) throws(FileSystemError) -> (header: FrameHeader, offset: Int64)? {
        var place = (offset + 7) & ~7
        while place + Int64(Format.frameHeaderBytes) <= window.fileBytes {
            let run = try window.run(from: place, atLeast: Format.frameHeaderBytes)
            var index = run.startIndex
            while index + Format.frameHeaderBytes <= run.endIndex {
                if run.littleEndian(at: index, as: UInt32.self) == Format.frameMagic {
                    let found = place + Int64(index - run.startIndex)
                    let left = Int(window.fileBytes - found)
                    if let header = FrameHeader(decoding: run[index...], bytesLeft: left, segment: self.header) {
                        return (header, found)
                    }
                }
                index += Format.alignment
            }
            place += Int64(index - run.startIndex)
        }
        return nil
    }

    /// The frame at `offset` when header and body are good.
    mutating func frame(at offset: Int64, verifiedBelow: LSN = .zero) throws(FileSystemError) -> DiskFrame? {
        let left = Int(max(0, window.fileBytes - offset))
        guard let header = try frameHeader(at: offset, bytesLeft: left) else { return nil }
        if header.end <= verifiedBelow {
            return DiskFrame(header: header, body: [], offset: offset)
        }
        guard brokenBytes <= Self.brokenBytesFactor * window.fileBytes else { return nil }
        let body = try window.read(header.bodyBytes, at: offset + Int64(Format.frameHeaderBytes))
        guard body.count == header.bodyBytes, Format.checksum(body, seed: self.header.salt) == header.bodyChecksum
        else {
            brokenBytes += Int64(header.bodyBytes)
            return nil
        }
        verifiedRecords += header.count
        window.lend()
        return DiskFrame(header: header, body: body, offset: offset)
    }

    /// On its own, so that its part of the window is given back before the body is read.
    private mutating func frameHeader(at offset: Int64, bytesLeft: Int) throws(FileSystemError) -> FrameHeader? {
        FrameHeader(
            decoding: try window.read(Format.frameHeaderBytes, at: offset), bytesLeft: bytesLeft, segment: header)
    }

    private mutating func go(past frame: DiskFrame) {
        offset = frame.endOffset
        expected = frame.header.end
        previousChecksum = frame.header.checksum
    }

    private mutating func isZero(from start: Int64) throws(FileSystemError) -> Bool {
        var place = start
        while place < window.fileBytes {
            let run = try window.run(from: place, atLeast: 1)
            if run.isEmpty { return true }
            let zero = run.withUnsafeBytes { raw in
                // Eight bytes at a time; the rest one by one.
                let words = raw.count / 8
                for word in 0..<words where raw.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self) != 0 {
                    return false
                }
                return raw[(words * 8)...].allSatisfy { $0 == 0 }
            }
            if !zero { return false }
            place += Int64(run.count)
        }
        return true
    }
}

/// The records of a body, each as its LSN and bytes.
func visitRecords(
    of body: ByteSlice, first: LSN, count: Int, _ visit: (LSN, ByteSlice) -> Void
) throws(MalformedBytes) {
    var position = body.startIndex
    for index in 0..<count {
        guard body.endIndex - position >= Format.recordLengthBytes else { throw MalformedBytes("record length") }
        let length = Int(body.littleEndian(at: position, as: UInt32.self))
        position += Format.recordLengthBytes
        guard length <= body.endIndex - position else { throw MalformedBytes("record of \(length) bytes") }
        visit(LSN(rawValue: first.rawValue + UInt64(index)), body[position..<position + length])
        position += length
    }
    guard position == body.endIndex else { throw MalformedBytes("bytes after the last record") }
}
