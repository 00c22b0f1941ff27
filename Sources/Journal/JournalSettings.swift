/// When an append is answered.
public enum SyncPolicy: Hashable, Sendable {
    /// After `fdatasync` returned for it.
    case always
    /// After the write; a sync follows at most this much later. Said in the response as `buffered`.
    case interval(Duration)
}

/// Sizes and times of one journal. Every limit has its default here.
public struct JournalSettings: Hashable, Sendable {
    /// Length of a segment's file, preallocated.
    public var segmentBytes = 64 << 20
    /// Appends gathered into one frame; a single larger append makes a frame of its own.
    public var groupBytesMax = 4 << 20
    /// Appends waiting for the disk; beyond it `AppendFailure.queueFull`.
    public var queueBytesMax = 64 << 20
    /// Waits this long for company before a group is written.
    public var commitDelay = Duration.zero
    public var sync = SyncPolicy.always
    /// A sync that takes longer answers the waiting appends with `stalled`.
    public var syncTimeout = Duration.seconds(30)
    /// A sync that takes longer is logged.
    public var slowSync = Duration.seconds(1)
    /// Quiet time after which one idle frame proves the last records.
    public var idleFrameDelay = Duration.milliseconds(100)
    /// Recently written frames kept in memory for readers.
    public var tailBytesMax = 32 << 20
    /// File kept full so that outcomes, dead letters and broker state can still be written on a full disk. With the
    /// embedded broker on the same disk it must hold what one segment becomes there, before that segment can go.
    public var reserveBytes = 128 << 20
    /// How often CHECKPOINT is written while cursors move, and space is looked for while there is none.
    public var keeperInterval = Duration.seconds(1)
    /// Torn tails kept aside for people to look at; older ones are removed.
    public var brokenFilesMax = 8
    /// New segments are filled with zeros ahead of time: a sync that overwrites written blocks has no block allocation
    /// or extent conversion to journal, and takes about half as long.
    public var zeroFill = true
    /// Released segments kept on disk to be the next spares, beside the one that is ready. Needs `zeroFill`.
    public var releasedSegmentsKept = 1
    /// Sequences in one epoch; then the journal takes a new epoch while running. Lowered by tests.
    package var sequencesPerEpoch = UInt64(UInt32.max)

    public init() {}

    /// Largest append, as the sum of its records with 4 bytes for each.
    public var appendBytesMax: Int {
        segmentBytes - Format.segmentHeaderBytes - Format.frameHeaderBytes - Format.alignment
    }
}
