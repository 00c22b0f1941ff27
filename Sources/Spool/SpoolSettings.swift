public import Journal

/// Sizes of one spool. Every limit has its default here.
public struct SpoolSettings: Hashable, Sendable {
    public var journal = JournalSettings()
    /// Threads that forward, and so topics that can stall each other: fixed when the directory is created.
    public var lanes = 8
    /// Bytes of frames on disk; beyond it records are refused with 507 until a segment was forwarded and deleted.
    public var bytesMax: Int64 = 8 << 30
    /// Delivered records whose place is remembered for receipts.
    public var outcomesKept = 100_000
    /// Requests that wait for outcomes (`Prefer: wait`); beyond it they are answered without waiting. As many as there
    /// are connections by default.
    public var outcomeWaitsMax = 12_000

    public init() {}

    public static let lanesMax = 64

    /// A record is answered after its sync, not before.
    public var syncsFirst: Bool { journal.sync == .always }

    /// The quota must leave room for the active segment and the one before it, or a spool could never empty itself.
    public var bytesMaxLeast: Int64 { 4 * Int64(journal.segmentBytes) }
}
