/// How long receipts tell where delivered records are.
public struct OutcomesSettings: Hashable, Sendable {
    /// Age at which a hand-over's row may go.
    public var retention = Duration.seconds(24 * 3600)
    /// Bytes of rows past which the oldest go, whatever their age; the newest stays.
    public var bytesMax: Int64 = 1 << 30
    /// Rows that one hand-over removes at most: more than the one that it adds, so that a lowered setting takes effect,
    /// and few enough not to hold it up.
    static let trimmedMax = 64
    /// What a row takes in the file beside its packed bytes: its columns, its place in the index, and what pages leave
    /// unused. Measured: 79 to 136 bytes, the least where rows are small.
    static let rowBytes = 96
    /// Tests: a disk that is full at so many pages of a file of its own.
    package var pagesMax: Int64?
    /// Tests of what only seems to die: without syncs.
    package var syncs = true

    public init() {}
}
