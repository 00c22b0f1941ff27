public import Journal

/// Sizes of one spool. Every limit has its default here.
public struct SpoolSettings: Hashable, Sendable {
    public var journal = JournalSettings()
    /// Threads that forward, and so topics that can stall each other: fixed when the directory is created.
    public var lanes = 8
    /// Bytes of frames on disk; beyond it records are refused with 507 until a segment was forwarded and deleted.
    public var bytesMax: Int64 = 8 << 30
    /// From so many percent of `bytesMax` on, a lane that stands still while another delivers is parked: its records
    /// move from the journal to files of its own.
    public var highWaterPercent = 70
    /// Bytes of parked files over all lanes; at it nothing more is parked. 0: no lane ever is.
    public var parkedBytesMax: Int64 = 8 << 30
    /// A lane stands still when it has records and delivered none for so long; another delivers when it did within
    /// this.
    public var parkAfter = Duration.seconds(10)
    /// How often is looked whether a lane is to be parked.
    package var parkInterval = Duration.seconds(1)
    /// After parking a lane failed, or found `parkedBytesMax` reached, it is tried again this much later.
    var parkRetry = Duration.seconds(60)
    /// Records of one frame of a parked file: what copying and reading hold in memory, but for what is larger alone.
    var parkedFrameBytes = 1 << 20
    /// Delivered records whose place is in memory: what a receipt asks for soon needs no disk.
    public var outcomesInMemory = 100_000
    /// Requests that wait for outcomes (`Prefer: wait`); beyond it they are answered without waiting. As many as there
    /// are connections by default.
    public var outcomeWaitsMax = 12_000

    /// What is remembered of requests with a key or a sequence.
    public var idempotency = IdempotencySettings()

    public init() {}

    public static let lanesMax = 64

    /// A record is answered after its sync, not before.
    public var syncsFirst: Bool { journal.sync == .always }

    /// `highWaterPercent` in bytes.
    public var highWaterBytes: Int64 { bytesMax / 100 * Int64(highWaterPercent) }

    /// The quota must leave room for the active segment and the one before it, or a spool could never empty itself.
    public var bytesMaxLeast: Int64 { 4 * Int64(journal.segmentBytes) }
}
