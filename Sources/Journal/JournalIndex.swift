import Glibc
import Primitives
import Records

/// What readers see; a value behind one lock, held for memory work only.
struct JournalIndex {
    /// Oldest first. While the journal has an active segment it is the last.
    var segments: [SegmentInfo]
    var tail: MemoryTail
    /// End of the contiguous synced prefix: nothing at or past it is shown.
    var durable: LSN
    /// End of what was written: past `durable` only under the policy `interval`.
    var written: LSN
    /// The last segment takes frames.
    var hasActive = false

    /// Bytes of frames and headers on disk, without what is preallocated.
    var usedBytes: Int64 { segments.reduce(0) { $0 + $1.usedBytes } }

    /// Where to look for `lsn` on disk: the segment and the position moved to it, or nil past the last segment.
    func segment(holding lsn: LSN) -> (info: SegmentInfo, position: LSN, isActive: Bool)? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            let isActive = hasActive && middle == segments.count - 1
            if !isActive, segments[middle].end <= lsn { low = middle + 1 } else { high = middle }
        }
        guard low < segments.count else { return nil }
        let info = segments[low]
        return (info, max(lsn, info.base), hasActive && low == segments.count - 1)
    }
}

/// META in memory and on disk. Any thread.
// SAFETY: every access to `file` is under `state`'s lock.
final class MetaStore: @unchecked Sendable {
    private let file: SlotFile
    private let state: Lock<Meta>
    /// Of this process: goes with each epoch that it takes.
    let nonce: UInt64

    init(file: SlotFile, meta: Meta, nonce: UInt64) {
        self.file = file
        self.nonce = nonce
        state = Lock(meta)
    }

    var meta: Meta { state.withLock { $0 } }

    /// An operator accepted the loss of all of the range.
    func isQuarantined(_ range: Range<LSN>) -> Bool { state.withLock { $0.isQuarantined(range) } }

    /// Adds an epoch that was never used, and syncs it before anybody can use it.
    func takeEpoch(above seen: UInt32, wallSeconds: UInt32) throws(FileSystemError) -> UInt32 {
        // Held over a disk write: only starts and the writer's epoch change come here, and readers of the history wait
        // a moment.
        try state.withLock { (meta) throws(FileSystemError) -> UInt32 in
            let (above, overflow) = max(seen, meta.epochs.last?.number ?? 0).addingReportingOverflow(1)
            // Only a file name past February 2106 gets here.
            if overflow { throw FileSystemError(call: "epoch", path: Meta.kind.name, errno: EOVERFLOW) }
            let epoch = wallSeconds <= Meta.wallSecondsMax ? max(wallSeconds, above) : above
            var changed = meta
            changed.append(Meta.Epoch(number: epoch, nonce: nonce))
            try file.write(changed.encoded())
            meta = changed
            return epoch
        }
    }
}
