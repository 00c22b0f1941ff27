/// What a spool remembers of requests.
public struct IdempotencyStatus: Equatable, Sendable {
    /// At most `IdempotencySettings.keysMax`, unless more were recovered.
    public var keys: Int
    public var producers: Int
    /// Requests that hold their key, or their producer's turn: on their way to the disk, or of unknown outcome.
    public var inFlight: Int
    public var gap: IdempotencyGap?
}

/// A start found that a part of what it has to remember is gone: the store was removed, or an older copy of it
/// restored, or a part of the journal cannot be read. Until the keys that may have been forgotten are past their
/// lifetime, a repetition may be accepted as a new request.
public struct IdempotencyGap: Equatable, Sendable {
    /// Milliseconds since 1970.
    public var noticedMs: Int64
    /// When it is over, likewise.
    public var endsMs: Int64
}
