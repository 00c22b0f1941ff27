public import Primitives
public import Records

/// What an append got.
public struct Appended: Hashable, Sendable {
    /// LSN of its first record; the others follow without a gap.
    public var first: LSN
    /// false under the policy `interval`: written, and synced within the interval.
    public var synced: Bool
}

/// The records of one request: they are stored together or not at all.
struct Append: Sendable {
    /// Each record as its 4-byte length and its bytes, in order (`JournalRecords` builds it).
    var body: [UInt8]
    var count: Int
    /// Combined by OR over a frame and given to `published`: the spool's lanes.
    var tag: UInt64
    /// Told once, when it is certain whether the records are stored: before the completion, or, where that says that
    /// the outcome is unknown, later. nil: nothing of them is stored, and nothing will be found.
    var fate: (@Sendable (Appended?) -> Void)?
    var completion: @Sendable (Result<Appended, AppendFailure>) -> Void
}

/// Builds the body of an append.
public struct JournalRecords: Sendable {
    var writer: ByteWriter
    public private(set) var count = 0
    private var lengthAt = 0

    /// Added to each record.
    public static let overheadBytes = Format.recordLengthBytes

    public init(capacity: Int) { writer = ByteWriter(capacity: capacity) }

    /// Bytes so far, which the journal writes as they are.
    public var bytes: Int { writer.bytes.count }

    /// Adds one record: `encode` appends its bytes.
    public mutating func append(_ encode: (inout ByteWriter) -> Void) {
        lengthAt = writer.bytes.count
        writer.integer(UInt32(0))
        encode(&writer)
        writer.replace(at: lengthAt, with: UInt32(writer.bytes.count - lengthAt - Format.recordLengthBytes))
        count += 1
    }
}

/// What stands between the callers of `append` and the writer's thread; a value behind the journal's monitor.
struct AppendQueue {
    enum Phase: Equatable {
        case running
        case noSpace
        /// A sync takes longer than the limit; back to running when it returns.
        case stalled
        case failed
        case closing
    }

    var phase = Phase.running
    var waiting: [Append] = []
    var waitingBytes = 0
    /// Appends whose frame is being written or synced. The watchdog takes them when the sync hangs.
    var inFlight: [Append] = []
    /// When the write or sync that is going on began.
    var busySince: MonotonicInstant?
    /// A prepared empty segment file.
    var spare: (any File)?

    /// Why an append cannot even wait; nil when it can.
    func refusal(bytes: Int, settings: JournalSettings) -> AppendFailure? {
        switch phase {
        case .noSpace: .noSpace(wasWritten: false)
        case .stalled: .stalled(wasWritten: false)
        case .failed: .failed(wasWritten: false)
        case .closing: .closed
        case .running:
            if bytes > settings.appendBytesMax {
                .tooLarge(bytesMax: settings.appendBytesMax)
            } else if waitingBytes + bytes > settings.queueBytesMax, !waiting.isEmpty {
                .queueFull
            } else {
                nil
            }
        }
    }

    /// Everything waiting up to the group's limit, at least one.
    mutating func takeGroup(bytesMax: Int, countMax: UInt64) -> [Append] {
        var bytes = 0
        var count: UInt64 = 0
        var taken = 0
        for append in waiting {
            if taken > 0, bytes + append.body.count > bytesMax || count + UInt64(append.count) > countMax { break }
            bytes += append.body.count
            count += UInt64(append.count)
            taken += 1
        }
        waitingBytes -= bytes
        if taken == waiting.count {
            defer { waiting = [] }
            return waiting
        }
        let group = Array(waiting[..<taken])
        waiting.removeFirst(taken)
        return group
    }

    mutating func takeAll() -> [Append] {
        waitingBytes = 0
        defer { waiting = [] }
        return waiting
    }
}
