public import Records

/// A record that the broker refused when it was handed over alone, without its payload.
public struct DeadLetter: Hashable, Sendable {
    /// The code of what `postrider spool repair --quarantine` took out of the spool.
    public static let quarantinedCode = "quarantined"

    public enum State: Int64, Sendable, CaseIterable {
        /// Refused, but the checkpoint that passes it is not known to be at the broker.
        case pending = 0
        /// The checkpoint passed it: it will not be sent again by itself.
        case final = 1
        /// Being sent again: a record that carries its LSN is in the spool, or on its way there, or the process died.
        case redelivering = 2
    }

    public var lsn: LSN
    public var lane: Int
    public var state: State
    public var topic: TopicName
    /// Asked for; nil: by the key, or sticky round robin without one.
    public var partition: Int32?
    /// The record's; milliseconds since 1970 UTC.
    public var timestampMs: Int64
    /// Key, value and headers.
    public var bytes: Int
    /// The broker's reason, stable and snake_case.
    public var code: String
    /// The broker's reason, for people.
    public var detail: String
    /// When it was refused; milliseconds since 1970 UTC.
    public var atMs: Int64
}

/// What the store knows of a record.
public enum DeadLetterFate: Hashable, Sendable {
    /// Refused; whether it is dead, the next checkpoint tells.
    case pending
    case dead(code: String, detail: String, atMs: Int64, discardedAtMs: Int64?)
    /// Sent again as another record, whose fate is its own.
    case redelivered(as: LSN)
}

/// The answer to what may be done with a final dead letter only.
public enum DeadLetterClaim<Value: Sendable>: Sendable {
    case done(Value)
    /// Not among the dead letters, or not any more.
    case unknown
    /// Its fate is not decided.
    case pending
    /// It is being sent again.
    case redelivering
}

/// Which dead letters, in the order in which they died; pending ones are never among them.
public struct DeadLetterQuery: Hashable, Sendable {
    /// A place in the order: behind the letter that died then and has this LSN.
    public struct Position: Hashable, Sendable {
        public var atMs: Int64
        public var lsn: LSN

        public init(atMs: Int64, lsn: LSN) {
            self.atMs = atMs
            self.lsn = lsn
        }
    }

    public var topic: TopicName?
    public var code: String?
    /// Died then or later; milliseconds since 1970 UTC.
    public var sinceMs: Int64?
    /// Died before.
    public var untilMs: Int64?
    public var after: Position?
    public var limit: Int

    public init(
        topic: TopicName? = nil, code: String? = nil, sinceMs: Int64? = nil, untilMs: Int64? = nil,
        after: Position? = nil, limit: Int
    ) {
        self.topic = topic
        self.code = code
        self.sinceMs = sinceMs
        self.untilMs = untilMs
        self.after = after
        self.limit = limit
    }
}
