import Primitives
import Records
import Store

/// Keeps what is remembered of requests, so that it need not be read from the journal at a start and pins no segment.
/// The spool's opener reads it, then one thread writes it. Every call may block on the disk.
protocol RequestStore: Sendable {
    /// What it is a store of; nil where nothing was ever saved.
    ///
    /// - Throws: also `corrupt`, `foreign`, `newer`.
    func head() throws(StoreError) -> RequestHead?

    /// Reads everything, keys in order of their LSNs. - Throws: also `corrupt`, where the file itself makes no sense.
    func forEachRow(_ visit: (RequestRow) -> Void) throws(StoreError)

    /// Makes a change, all of it or nothing; durable when it returns. After an error that is not retriable nothing is
    /// known of the store: `replace` it.
    func save(_ change: RequestChange) throws(StoreError)

    /// Puts a new store, which holds nothing else, in the place of what is there; that stays until the new one is
    /// durable. - Precondition: the change replaces all.
    func replace(with change: RequestChange) throws(StoreError)

    /// Takes what is there out of the way, for people to look at: the next `save` begins anew.
    func setAside() throws(StoreError)

    func close()
}

/// What a store holds, piece by piece.
enum RequestRow {
    case keys([KeyEntry])
    case producer(Digest, Producer)
    /// A row's checksum is not that of its bytes; and what is wrong.
    case unreadable(String)
}

/// What a store is a store of.
struct RequestHead: Equatable {
    var spool: SpoolID
    var mark: RequestMark
    /// The clock that keys age by, and the wall clock at the same moment: how long a gateway was down is told by the
    /// wall clock alone.
    var clockMs: Int64
    var wallMs: Int64
    /// When it was last noticed, by the clock for requests, that requests may have been forgotten; 0: never.
    var gapMs: Int64

    /// Of the wall clock against the clock for requests.
    var driftMs: Int64 { wallMs - clockMs }
}

/// What one `save` does: removes first, then adds.
struct RequestChange {
    var head: RequestHead
    /// Nothing that the store holds counts any more.
    var replacesAll: Bool
    /// Rows of keys whose last LSN is below are past their lifetime.
    var keysFrom: LSN
    var forgotten: [Digest]
    /// A row each.
    var keys: [ArraySlice<KeyEntry>]
    var producers: [(name: Digest, state: Producer)]
}
