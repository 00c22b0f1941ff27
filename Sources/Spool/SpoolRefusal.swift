import Journal
public import Records

/// Why records were not accepted. None of them is stored unless `outcomeUnknown`.
public enum SpoolRefusal: Error, Equatable, Sendable {
    /// The spool holds as many bytes as `spool.bytes_max` allows.
    case quota(bytesMax: Int64)
    /// The lane of this topic stands still, and its records were parked so that others go on: nothing more of the
    /// lane's topics is taken until those are delivered.
    case topicBacklog(topic: TopicName, lane: Int)
    /// Records of this topic's lane that wait here cannot be read: the lane stands until an operator has repaired the
    /// spool, and nothing more of its topics is taken.
    case laneDamaged(topic: TopicName, lane: Int)
    /// An operator has to decide something first, which the code names (for example `spool_history_unknown`).
    case closed(code: String)
    /// No disk space; intake opens again by itself. `wasWritten`: a part of these records was, and could not be undone.
    case noSpace(wasWritten: Bool)
    /// A sync takes longer than `spool.sync_timeout`. `wasWritten`: of these records.
    case stalled(wasWritten: Bool)
    /// A write or sync failed, and the process is about to exit.
    case failed(wasWritten: Bool)
    /// Too much waits for the disk.
    case queueFull
    /// Larger than a segment can hold.
    case tooLarge(bytesMax: Int)
    case stopping

    public var outcomeUnknown: Bool {
        switch self {
        case .noSpace(let wasWritten), .stalled(let wasWritten), .failed(let wasWritten): wasWritten
        case .quota, .topicBacklog, .laneDamaged, .closed, .queueFull, .tooLarge, .stopping: false
        }
    }

    init(_ failure: AppendFailure) {
        self =
            switch failure {
            case .noSpace(let wasWritten): .noSpace(wasWritten: wasWritten)
            case .stalled(let wasWritten): .stalled(wasWritten: wasWritten)
            case .failed(let wasWritten): .failed(wasWritten: wasWritten)
            case .queueFull: .queueFull
            case .tooLarge(let bytesMax): .tooLarge(bytesMax: bytesMax)
            case .closed: .stopping
            }
    }
}
