public import Records

/// What a lane is doing, for readiness and status pages.
public struct LaneStatus: Hashable, Sendable {
    public enum State: String, Sendable {
        /// Opening its sink: nothing is forwarded yet.
        case opening
        /// Forwarding, or waiting for records.
        case forwarding
        /// The breaker is open after a failure; it tries again by itself.
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
    public var retries: Int
    /// `code` of the last failure; nil after a success.
    public var lastError: String?
    public var lastErrorDetail: String?
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
