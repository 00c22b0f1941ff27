public import Primitives
public import Records

/// The records of one group commit, synced, as readers get them.
public struct JournalFrame: Sendable {
    public let first: LSN
    public let count: Int
    let body: Body

    /// Keeps the frame's bytes alive without slicing until somebody reads.
    struct Body: Sendable {
        var bytes: [UInt8]
        var range: Range<Int>
    }

    /// One past the last LSN.
    public var end: LSN { LSN(rawValue: first.rawValue + UInt64(count)) }

    /// Memory it takes.
    public var bytes: Int { body.bytes.count }

    /// Visits the records in LSN order; the slices share the frame's storage.
    ///
    /// - Throws: `MalformedBytes` when the body's lengths contradict each other, which a good checksum excludes.
    public func forEachRecord(_ visit: (LSN, ByteSlice) -> Void) throws(MalformedBytes) {
        try visitRecords(of: body.bytes[body.range], first: first, count: count, visit)
    }
}

/// The last synced frames in memory, so that a reader who keeps up never touches the disk. A value behind the index's
/// lock; frames are in LSN order.
struct MemoryTail {
    private let bytesMax: Int
    private var frames: [JournalFrame] = []
    /// Frames before this index were dropped; compacted now and then, so that dropping costs nothing.
    private var head = 0
    private var bytes = 0

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Where memory begins; nil when there is nothing.
    var first: LSN? { head < frames.count ? frames[head].first : nil }

    mutating func append(_ frame: JournalFrame) {
        frames.append(frame)
        bytes += frame.bytes
        while bytes > bytesMax, head < frames.count {
            bytes -= frames[head].bytes
            frames[head] = JournalFrame(first: .zero, count: 0, body: .init(bytes: [], range: 0..<0))
            head += 1
        }
        if head > 1024, head > frames.count / 2 {
            frames.removeFirst(head)
            head = 0
        }
    }

    /// The frame that holds `lsn`, or the first one after it; nil when memory begins later than `lsn` or all frames
    /// are before it.
    func frame(at lsn: LSN) -> JournalFrame? {
        guard let first, first <= lsn else { return nil }
        var low = head
        var high = frames.count
        while low < high {
            let middle = (low + high) / 2
            if frames[middle].end <= lsn { low = middle + 1 } else { high = middle }
        }
        return low < frames.count ? frames[low] : nil
    }
}
