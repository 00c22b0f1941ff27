import Broker
import Primitives
import Records

/// A fetched record that is not acknowledged.
struct Entry: Sendable {
    enum Status: Sendable {
        /// Past its deadline: next in line.
        case returned
        /// Handed out by the answer `answer`.
        case open
        /// Handed out, and in the commit that is under way.
        case committing
    }

    let offset: Int64
    let timestampMs: Int64
    /// Hand-outs so far.
    var attempts: UInt32
    var status: Status
    /// Serial of the last answer that handed it out.
    var answer: UInt64
}

/// One assigned partition. Every offset below `position` that is not in `entries` is acknowledged or was never a
/// record, so what is acknowledged needs no memory: the committed offset is the first entry's, or `position`.
struct PartitionState: Sendable {
    /// Another one after each revocation and seek: what was fetched under an older one is void.
    let version: UInt64
    /// As the store last confirmed.
    var committed: Int64
    /// The next offset to fetch for the first time.
    private(set) var position: Int64
    /// In offset order; bounded by the consumer's `max_in_flight`.
    private(set) var entries: [Entry] = []
    /// Acknowledged at or after `position`, as read from the commit's metadata.
    private(set) var beyond: [Range<Int64>]
    /// Hand-outs before this process, of records at or after `position`.
    private(set) var attemptsBefore: [AttemptRun]
    /// The answer whose records are open here; ordered mode allows one.
    private(set) var holder: UInt64?
    /// The poll that is fetching here.
    var claim: PollID?
    /// There may be records at `position`.
    var ready = true
    /// The end as last seen.
    var end: Int64
    /// Not yet told in an answer.
    var skipped: Range<Int64>?
    var lastError: BrokerError?
    var retryAt: MonotonicInstant?
    var backoff: Backoff
    /// The whole partition is acknowledged, and its end lies beyond the committed offset (transaction markers).
    var wantsEndCommitted = false

    init(version: UInt64, committed: Int64, metadata: CommitMetadata, backoff: Backoff) {
        self.version = version
        self.committed = committed
        position = committed
        beyond = metadata.acknowledged
        attemptsBefore = metadata.attempts
        end = committed
        self.backoff = backoff
        passBeyond()
    }

    func hasOpen(_ answer: UInt64) -> Bool { entries.contains { $0.answer == answer && $0.status == .open } }
    func hasLeased(_ answer: UInt64) -> Bool { entries.contains { $0.answer == answer && $0.status != .returned } }
    func isDue(_ now: MonotonicInstant) -> Bool { retryAt.map { $0 <= now } ?? true }
    var leaseCount: Int { entries.reduce(0) { $0 + ($1.status == .returned ? 0 : 1) } }

    /// What a commit may say once the entries in the commit under way are acknowledged.
    var commitValue: CommittedOffset {
        var metadata = CommitMetadata()
        var frontier: Int64?
        var end: Int64 = 0
        for entry in entries where entry.status != .committing {
            if frontier == nil {
                frontier = entry.offset
            } else if entry.offset > end {
                metadata.acknowledged.append(end..<entry.offset)
            }
            end = entry.offset + 1
            if entry.attempts == 0 { continue }
            if let last = metadata.attempts.last, last.attempts == entry.attempts,
                last.offsets.upperBound == entry.offset
            {
                metadata.attempts[metadata.attempts.count - 1].offsets = last.offsets.lowerBound..<end
            } else {
                metadata.attempts.append(AttemptRun(offsets: entry.offset..<end, attempts: entry.attempts))
            }
        }
        if frontier != nil, end < position { metadata.acknowledged.append(end..<position) }
        for range in beyond {
            if let last = metadata.acknowledged.last, last.upperBound == range.lowerBound {
                metadata.acknowledged[metadata.acknowledged.count - 1] = last.lowerBound..<range.upperBound
            } else {
                metadata.acknowledged.append(range)
            }
        }
        metadata.attempts += attemptsBefore
        let offset = frontier ?? position
        return CommittedOffset(offset: offset, metadata: metadata.encode(committed: offset))
    }

    func index(of offset: Int64) -> Int? {
        let index = lowerBound(offset)
        return index < entries.count && entries[index].offset == offset ? index : nil
    }

    private func lowerBound(_ offset: Int64) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Whether the commit's metadata fits whatever of the window is acknowledged once `offset` is handed out too.
    /// What the metadata read at start spoke of was in such a window before.
    func admits(_ offset: Int64, gathered: Int, firstGathered: Int64?) -> Bool {
        if let last = beyond.last, offset < last.upperBound { return true }
        if entries.count + gathered < CommitMetadata.runsAlwaysFit { return true }
        let base = entries.first?.offset ?? firstGathered ?? offset
        return offset - base < CommitMetadata.windowOffsetsMax
    }

    func isAcknowledgedBeyond(_ offset: Int64) -> Bool { beyond.contains { $0.contains(offset) } }

    // MARK: Fetching

    /// Nothing was found below `next`.
    mutating func advance(to next: Int64) {
        guard next > position else { return }
        position = next
        passBeyond()
    }

    private mutating func passBeyond() {
        while let first = beyond.first, first.lowerBound <= position {
            position = max(position, first.upperBound)
            beyond.removeFirst()
        }
        while let first = attemptsBefore.first, first.offsets.lowerBound < position {
            if first.offsets.upperBound > position {
                attemptsBefore[0].offsets = position..<first.offsets.upperBound
                break
            }
            attemptsBefore.removeFirst()
        }
    }

    /// Records below `low` are gone, found out by a fetch at `offset`: told once, in the next answer.
    mutating func raiseLowWatermark(to low: Int64, from offset: Int64) {
        entries.removeAll { $0.offset >= offset && $0.offset < low && $0.status != .committing }
        skipped = min(skipped?.lowerBound ?? offset, offset)..<low
        advance(to: low)
    }

    /// Entries of this range were fetched again, and only those in `found` are still there (compaction). What is gone
    /// needs no acknowledgement.
    mutating func dropVanished(
        in range: Range<Int64>, found: ArraySlice<StoredRecord>, where concerned: (Entry) -> Bool
    ) {
        let offsets = Set(found.map(\.offset))
        entries.removeAll { range.contains($0.offset) && concerned($0) && !offsets.contains($0.offset) }
    }

    // MARK: Leases

    /// - Returns: hand-outs of the record, this one included.
    mutating func lease(_ record: StoredRecord, answer: UInt64) -> UInt32 {
        holder = answer
        if let index = index(of: record.offset) {
            entries[index].attempts += 1
            entries[index].status = .open
            entries[index].answer = answer
            return entries[index].attempts
        }
        precondition(record.offset >= position && record.offset > entries.last?.offset ?? -1)
        let before = attemptsBefore.first { $0.offsets.contains(record.offset) }?.attempts ?? 0
        let attempts = before == .max ? before : before + 1
        entries.append(
            Entry(
                offset: record.offset, timestampMs: record.record.timestampMs, attempts: attempts, status: .open,
                answer: answer))
        return attempts
    }

    /// The answer's open entries are next in line again.
    mutating func giveBack(_ answer: UInt64) {
        for index in entries.indices where entries[index].status == .open && entries[index].answer == answer {
            entries[index].status = .returned
        }
        releaseHolder()
    }

    /// The answer's open entries in this range go with the next commit. - Returns: how many.
    mutating func beginCommitting(_ answer: UInt64, _ offsets: ClosedRange<Int64>) -> Int {
        var taken = 0
        var index = lowerBound(offsets.lowerBound)
        while index < entries.count, entries[index].offset <= offsets.upperBound {
            if entries[index].answer == answer, entries[index].status == .open {
                entries[index].status = .committing
                taken += 1
            }
            index += 1
        }
        return taken
    }

    mutating func endCommitting(committed value: Int64) {
        committed = value
        entries.removeAll { $0.status == .committing }
        releaseHolder()
    }

    /// As before the commit; what expired meanwhile is next in line.
    mutating func undoCommitting(isOpen: (UInt64) -> Bool) {
        for index in entries.indices where entries[index].status == .committing {
            entries[index].status = isOpen(entries[index].answer) ? .open : .returned
        }
        releaseHolder()
    }

    /// The partition is free again once nothing of the answer is left in it.
    mutating func releaseHolder() {
        if !entries.contains(where: { $0.status != .returned }) { holder = nil }
    }
}
