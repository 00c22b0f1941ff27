public import Records

/// What a lane is doing, for readiness and status pages.
public struct LaneStatus: Hashable, Sendable {
    public enum State: String, CaseIterable, Sendable {
        /// Opening its sink: nothing is forwarded yet.
        case opening
        /// Forwarding, or waiting for records.
        case forwarding
        /// The last try failed; it tries again by itself.
        case retrying
        /// Only an operator can decide: see `lastError`.
        case halted
        case stopped
    }

    public var lane: Int
    public var state: State
    /// Its last LSN at the broker.
    public var delivered: LSN
    /// Failures since the last success.
    public var retries = 0
    /// `code` of the last failure; nil after a success.
    public var lastError: String?
    public var lastErrorDetail: String?
    /// When the first failure since the last success was, in milliseconds since 1970 UTC; nil after a success.
    public var failingSinceMs: Int64?
    /// When it tries again, in milliseconds since 1970 UTC; nil unless it waits for that.
    public var nextTryMs: Int64?
    /// How many records the next hand-over may have.
    public var batchRecordsMax: Int

    mutating func failed(_ code: String, _ detail: String, atMs: Int64) {
        lastError = code
        lastErrorDetail = detail
        failingSinceMs = failingSinceMs ?? atMs
    }

    mutating func succeeded(delivered lsn: LSN) {
        state = .forwarding
        delivered = max(delivered, lsn)
        retries = 0
        lastError = nil
        lastErrorDetail = nil
        failingSinceMs = nil
        nextTryMs = nil
    }
}

/// What the forwarder cannot decide alone. Called on a lane's thread.
public struct ForwarderHooks: Sendable {
    /// The process must stop; the code says why (`spool_owned_elsewhere`, or a broker's own).
    public var processFatal: @Sendable (_ code: String, _ detail: String) -> Void
    /// The broker's checkpoint comes from an epoch that this spool never had: intake must close until an operator
    /// decides.
    public var historyUnknown: @Sendable (_ lane: Int, _ detail: String) -> Void

    public init(
        processFatal: @escaping @Sendable (_ code: String, _ detail: String) -> Void,
        historyUnknown: @escaping @Sendable (_ lane: Int, _ detail: String) -> Void
    ) {
        self.processFatal = processFatal
        self.historyUnknown = historyUnknown
    }
}
