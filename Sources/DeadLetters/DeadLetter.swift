public import Primitives
public import Records

/// A record that the broker refused when it was handed over alone.
public struct DeadLetter: Hashable, Sendable {
    public enum State: Int64, Sendable, CaseIterable {
        /// Refused, but the checkpoint that passes it is not known to be at the broker.
        case pending = 0
        /// The checkpoint passed it: it will not be sent again by itself.
        case final = 1
    }

    public var lsn: LSN
    public var lane: Int
    public var state: State
    /// As in the spool: `SpoolRecordCodec`.
    public var encoded: ByteSlice
    /// The broker's reason, stable and snake_case.
    public var code: String
    /// The broker's reason, for people.
    public var detail: String
    /// When it was refused; milliseconds since 1970 UTC.
    public var atMs: Int64

    public init(
        lsn: LSN, lane: Int, state: State, encoded: ByteSlice, code: String, detail: String, atMs: Int64
    ) {
        self.lsn = lsn
        self.lane = lane
        self.state = state
        self.encoded = encoded
        self.code = code
        self.detail = detail
        self.atMs = atMs
    }
}
