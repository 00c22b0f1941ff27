import Records

/// What of the index stands in the store, and what has to go there.
extension RequestIndex {
    struct Saving {
        /// Of the store, as the last `save` left it; `covered` goes on while there is nothing to save.
        var mark = RequestMark()
        /// Keys that came, and those of them that the store has: both only rise.
        var keysAdded = 0
        var keysSaved = 0
        /// Producers that the store does not have as they are, each with an LSN that none of its news is below.
        var changed: [Digest: LSN] = [:]
        /// Producers that the store still has.
        var forgotten: Set<Digest> = []
        /// The store is to be written anew.
        var needsAll = false
        /// See `RequestHead`.
        var gapMs: Int64 = 0
        /// As the store has it; nil before the first save.
        var driftMs: Int64?
    }

    /// A wall clock that was set so far is written down at the next look, or keys would age by it at the next start.
    static let driftMaxMs: Int64 = 60_000

    /// What a `save` is to write, and how to say that it did.
    struct Unsaved {
        var change: RequestChange
        fileprivate var keysThrough: Int
        fileprivate var durable: LSN
    }

    var unsavedKeys: Int { saving.keysAdded - saving.keysSaved }

    /// How many of the keys that are there the store has.
    private var savedCount: Int { max(0, keys.count - unsavedKeys) }

    /// How far the store is: it need not have what is not there.
    ///
    /// - Parameter durable: every request below was added.
    mutating func mark(durable: LSN) -> RequestMark {
        guard !saving.needsAll else { return saving.mark }
        var covered = durable
        if savedCount < keys.count { covered = min(covered, keys[savedCount].first) }
        if let changed = saving.changed.values.min() { covered = min(covered, changed) }
        saving.mark.covered = max(saving.mark.covered, covered)
        return saving.mark
    }

    /// Everything synced that the store does not have; nil when there is nothing of that.
    ///
    /// - Parameters:
    ///   - durable: every request below was added, and its records are synced.
    ///   - times: of the head.
    func unsaved(
        durable: LSN, spool: SpoolID, times: (clockMs: Int64, wallMs: Int64)
    ) -> Unsaved? {
        let all = saving.needsAll
        let start = all ? 0 : savedCount
        let pieces = keys.pieces(from: start, below: durable)
        let names = all ? Array(producers.keys) : Array(saving.changed.keys)
        let states = names.compactMap { name in
            producers[name]?.prefix(below: durable).map { (name: name, state: $0) }
        }
        let hasDrifted =
            saving.driftMs.map { abs(times.wallMs - times.clockMs - $0) > Self.driftMaxMs } ?? false
        guard all || hasDrifted || !pieces.isEmpty || !states.isEmpty || !saving.forgotten.isEmpty else { return nil }
        let count = pieces.reduce(0) { $0 + $1.count }
        let head = RequestHead(
            spool: spool,
            mark: RequestMark(covered: max(saving.mark.covered, durable), generation: saving.mark.generation + 1),
            clockMs: times.clockMs, wallMs: times.wallMs, gapMs: saving.gapMs)
        return Unsaved(
            change: RequestChange(
                head: head, replacesAll: all, keysFrom: keys.first?.first ?? durable,
                forgotten: Array(saving.forgotten), keys: pieces, producers: states),
            keysThrough: saving.keysAdded - (keys.count - start - count), durable: durable)
    }

    /// The store has it.
    mutating func saved(_ unsaved: Unsaved) {
        let change = unsaved.change
        saving.mark = change.head.mark
        saving.driftMs = change.head.driftMs
        saving.keysSaved = max(saving.keysSaved, unsaved.keysThrough)
        saving.forgotten.subtract(change.forgotten)
        saving.needsAll = false
        for name in change.producers.map(\.name) {
            guard let last = producers[name]?.answers.last else { continue }
            saving.changed[name] = last.end <= unsaved.durable ? nil : unsaved.durable
        }
    }
}
