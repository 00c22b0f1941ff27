public import Primitives
public import Records

/// Why a journal could not be opened, read or kept.
public enum JournalError: Error, Sendable, CustomStringConvertible {
    /// Another process holds the directory's lock.
    case inUse(directory: String)
    /// The disk refused.
    case io(FileSystemError)
    /// META or CHECKPOINT is broken or of a newer version, or a file belongs to another journal.
    case unreadable(path: String, reason: String)
    /// Opened with another number of lanes than the journal was created with.
    case laneCount(inJournal: Int, asked: Int)
    /// Records that were synced, and are still needed, are missing or broken.
    case corruption([Range<LSN>], detail: String)
    /// META holds no more quarantined ranges.
    case quarantineFull(rangesMax: Int)

    public var description: String {
        switch self {
        case .inUse(let directory):
            "\(directory) is in use by another process; one Postrider owns a data directory at a time"
        case .io(let error): "\(error)"
        case .unreadable(let path, let reason): "\(path) cannot be read: \(reason)"
        case .laneCount(let inJournal, let asked):
            "the journal was created with \(inJournal) lanes and spool.lanes is \(asked): drain it, then start in a "
                + "new directory"
        case .corruption(let ranges, let detail):
            "synced records are lost: LSN "
                + ranges.map { "\($0.lowerBound) to \($0.upperBound.rawValue - 1)" }.joined(separator: ", ")
                + (detail.isEmpty ? "" : " (\(detail))")
                + "; nothing was changed. postrider spool verify shows what is there; restore the directory, or accept "
                + "the loss with postrider spool repair --quarantine"
        case .quarantineFull(let rangesMax):
            "more than \(rangesMax) separate ranges would be quarantined; nothing was accepted: restore the directory"
        }
    }
}

/// Why an append was not acknowledged.
public enum AppendFailure: Error, Equatable, Sendable {
    /// No disk space; intake opens again by itself when there is some. `wasWritten`: a part of this append was written
    /// and there is not even the space to cut it off, so its outcome is unknown; otherwise nothing of it is stored.
    case noSpace(wasWritten: Bool)
    /// A sync takes longer than `syncTimeout`. `wasWritten`: this append was part of it, so its outcome is unknown;
    /// otherwise nothing of it is stored.
    case stalled(wasWritten: Bool)
    /// A write or sync failed, and the process is about to exit. `wasWritten` as above.
    case failed(wasWritten: Bool)
    /// The queue before the disk is full. Nothing of it is stored.
    case queueFull
    /// Larger than a segment can hold. Nothing of it is stored.
    case tooLarge(bytesMax: Int)
    /// The journal was closed. Nothing of it is stored.
    case closed

    /// Whether the records may appear although no success was reported.
    public var outcomeUnknown: Bool {
        switch self {
        case .noSpace(let wasWritten), .stalled(let wasWritten), .failed(let wasWritten): wasWritten
        case .queueFull, .tooLarge, .closed: false
        }
    }
}
