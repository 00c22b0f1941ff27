import Broker
import Primitives
import Records

/// A fetched record that is not acknowledged.
struct Entry: Sendable {
    enum Status: Sendable {
        /// Given back or past its deadline: in line again, from `until` on.
        case returned
        /// Leased by the answer `answer`, up to `until`.
        case open
        /// Leased, and in the commit that is under way.
        case committing
        /// Its deliveries are used up: nobody gets it; it goes to the dead-letter topic, not before `until`.
        case dead
    }

    let offset: Int64
    let timestampMs: Int64
    /// Hand-outs so far that count.
    var attempts: UInt32
    fileprivate(set) var status: Status
    /// Serial of the last answer that handed it out.
    fileprivate(set) var answer: UInt64
    fileprivate(set) var until: MonotonicInstant
}

/// How leases end without an acknowledgement.
struct GivingBack: Sendable {
    /// Only leases that end at or before it; nil: all.
    var expiredBy: MonotonicInstant?
    /// Not handed out before; nil: at once.
    var until: MonotonicInstant?
    /// With so many hand-outs a record is dead.
    var deliveriesMax: UInt32
    /// false: the hand-out is not held against the record.
    var isCounted = true
    /// For the dead-letter record.
    var reason: String?
}

/// One assigned partition. Every offset below `position` that is not in `entries` is acknowledged, dead-lettered or was
/// never a record, so what is done needs no memory: the committed offset is the first entry's, or `position`.
struct PartitionState: Sendable {
    /// Another one after each revocation and seek: what was fetched under an older one is void.
    let version: UInt64
    /// As the store last confirmed.
    var committed: Int64
    /// The next offset to fetch for the first time.
    private(set) var position: Int64
    /// In offset order; bounded by the consumer's `max_in_flight`.
    private(set) var entries: [Entry] = []
    /// Entries that are `open` or `committing`.
    private(set) var leased = 0
    /// Entries that are `dead`.
    private(set) var dead = 0
    /// At or before the first `until` still to come of an entry that is `returned` or `dead`; nil: none waits.
    private(set) var wakeAt: MonotonicInstant?
    /// What clients said of entries that are `dead`, at most `reasonsMax`.
    private(set) var reasons: [Int64: String] = [:]
    /// Acknowledged at or after `position`, as read from the commit's metadata.
    private(set) var beyond: [Range<Int64>]
    /// Hand-outs before this process, of records at or after `position`.
    private(set) var attemptsBefore: [AttemptRun]
    /// The poll, or the dead-letter round, that is fetching here.
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
    /// The store is to learn what changed without an acknowledgement: attempts, and dead letters that are synced.
    var wantsCommit = false
    /// Nothing new is handed out: the commit's metadata could not tell of it.
    var isWindowFull = false

    /// Reasons beyond are dropped.
    private static let reasonsMax = 1_024
    /// Up to so many offsets that others hold are read over in one fetch, rather than fetching again behind them.
    private static let foreignOffsetsMax: Int64 = 16

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

    func hasOpen(_ answer: UInt64) -> Bool {
        leased > 0 && entries.contains { $0.answer == answer && $0.status == .open }
    }

    /// Whether the answer has leases here, and when the first of them ends; those in a commit do not end.
    func leases(of answer: UInt64) -> (any: Bool, firstEnd: MonotonicInstant?) {
        guard leased > 0 else { return (false, nil) }
        var (any, firstEnd): (Bool, MonotonicInstant?) = (false, nil)
        for entry in entries where entry.answer == answer {
            switch entry.status {
            case .open:
                any = true
                firstEnd = min(firstEnd ?? entry.until, entry.until)
            case .committing: any = true
            case .returned, .dead: break
            }
        }
        return (any, firstEnd)
    }

    func isDue(_ now: MonotonicInstant) -> Bool { retryAt.map { $0 <= now } ?? true }

    /// Something is in line again.
    func hasReturned(_ now: MonotonicInstant) -> Bool {
        guard entries.count > leased + dead else { return false }
        return wakeAt == nil || entries.contains { $0.status == .returned && $0.until <= now }
    }

    /// The first offset that is in line again or dead.
    var firstNotLeased: Int64? {
        guard entries.count > leased else { return nil }
        return entries.first { $0.status == .returned || $0.status == .dead }?.offset
    }

    func hasEntries(from offset: Int64) -> Bool { entries.last.map { $0.offset >= offset } ?? false }

    /// Offsets to fetch for what is in line again, from `cursor` on; nil when nothing is. In order, nothing behind an
    /// entry that is not in line.
    func nextInLine(from cursor: Int64, now: MonotonicInstant, wanted: Int, inOrder: Bool) -> Range<Int64>? {
        guard entries.count > leased + dead else { return nil }
        var (range, found): (Range<Int64>?, Int) = (nil, 0)
        for entry in entries[lowerBound(cursor)...] {
            if let range, !inOrder, entry.offset - range.upperBound > Self.foreignOffsetsMax { break }
            if entry.status == .returned, entry.until <= now {
                range = (range?.lowerBound ?? entry.offset)..<entry.offset + 1
                found += 1
                if found == wanted { break }
            } else if inOrder {
                break
            }
        }
        return range
    }

    /// Offsets of dead entries that follow one another and may be tried now, at most `wanted`.
    func nextDead(now: MonotonicInstant, wanted: Int) -> Range<Int64>? {
        guard dead > 0 else { return nil }
        var (range, found): (Range<Int64>?, Int) = (nil, 0)
        for entry in entries {
            if entry.status == .dead, entry.until <= now {
                range = (range?.lowerBound ?? entry.offset)..<entry.offset + 1
                found += 1
                if found == wanted { break }
            } else if range != nil {
                break
            }
        }
        return range
    }

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

    /// Hand-outs before this process, of a record that was not fetched since.
    func attempts(before offset: Int64) -> UInt32 {
        attemptsBefore.first { $0.offsets.contains(offset) }?.attempts ?? 0
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
        remove { $0.offset >= offset && $0.offset < low && $0.status != .committing }
        skipped = min(skipped?.lowerBound ?? offset, offset)..<low
        advance(to: low)
    }

    /// Entries of this range were fetched again, and only those in `found` are still there (compaction). What is gone
    /// needs no acknowledgement.
    mutating func dropVanished(
        in range: Range<Int64>, found: ArraySlice<StoredRecord>, where concerned: (Entry) -> Bool
    ) {
        let offsets = Set(found.map(\.offset))
        remove { range.contains($0.offset) && concerned($0) && !offsets.contains($0.offset) }
    }

    /// A new record whose deliveries were used up before this process. - Precondition: nothing gathered before it waits
    /// to be leased.
    mutating func addDead(_ record: StoredRecord) {
        let attempts = attempts(before: record.offset)
        add(record, attempts: attempts, status: .dead, answer: 0, until: MonotonicInstant(nanoseconds: 0))
        dead += 1
        advance(to: record.offset + 1)
    }

    private mutating func add(
        _ record: StoredRecord, attempts: UInt32, status: Entry.Status, answer: UInt64, until: MonotonicInstant
    ) {
        precondition(record.offset >= position && record.offset > entries.last?.offset ?? -1)
        entries.append(
            Entry(
                offset: record.offset, timestampMs: record.record.timestampMs, attempts: attempts, status: status,
                answer: answer, until: until))
    }

    // MARK: Entries

    private mutating func change(_ index: Int, to status: Entry.Status, until: MonotonicInstant) {
        count(entries[index], -1)
        entries[index].status = status
        entries[index].until = until
        count(entries[index], 1)
    }

    private mutating func count(_ entry: Entry, _ change: Int) {
        switch entry.status {
        case .open, .committing: leased += change
        case .dead:
            dead += change
            if change < 0 { reasons[entry.offset] = nil }
        case .returned: break
        }
    }

    private mutating func remove(_ isGone: (Entry) -> Bool) {
        var kept = 0
        for index in entries.indices {
            if isGone(entries[index]) {
                count(entries[index], -1)
            } else {
                if kept < index { entries[kept] = entries[index] }
                kept += 1
            }
        }
        entries.removeLast(entries.count - kept)
    }

    private mutating func wake(at instant: MonotonicInstant) { wakeAt = min(wakeAt ?? instant, instant) }

    /// What waited up to `now` is in line.
    mutating func refreshWake(_ now: MonotonicInstant) {
        guard let wakeAt, wakeAt <= now else { return }
        self.wakeAt = nil
        for entry in entries where entry.until > now && (entry.status == .returned || entry.status == .dead) {
            wake(at: entry.until)
        }
    }

    // MARK: Leases

    /// - Parameter inOrder: only when the answer has every entry before it.
    /// - Returns: hand-outs of the record, this one included; nil when it is not in line any more.
    mutating func lease(
        _ record: StoredRecord, answer: UInt64, until: MonotonicInstant, inOrder: Bool
    ) -> UInt32? {
        let index = lowerBound(record.offset)
        if inOrder, index > 0, entries[index - 1].answer != answer || entries[index - 1].status != .open { return nil }
        if index < entries.count, entries[index].offset == record.offset {
            guard entries[index].status == .returned else { return nil }
            if entries[index].attempts < .max { entries[index].attempts += 1 }
            entries[index].answer = answer
            change(index, to: .open, until: until)
            return entries[index].attempts
        }
        // Another poll found out that retention took it.
        guard record.offset >= position else { return nil }
        let before = attempts(before: record.offset)
        let attempts = before == .max ? before : before + 1
        add(record, attempts: attempts, status: .open, answer: answer, until: until)
        leased += 1
        return attempts
    }

    /// Ends open leases of the answer in this range. - Returns: their offsets.
    mutating func giveBack(_ answer: UInt64, _ offsets: ClosedRange<Int64>, _ how: GivingBack) -> [Int64] {
        var given: [Int64] = []
        guard leased > 0 else { return given }
        var index = lowerBound(offsets.lowerBound)
        while index < entries.count, entries[index].offset <= offsets.upperBound {
            defer { index += 1 }
            let entry = entries[index]
            guard entry.answer == answer, entry.status == .open, how.expiredBy.map({ entry.until <= $0 }) ?? true
            else { continue }
            given.append(entry.offset)
            if !how.isCounted, entry.attempts > 0 { entries[index].attempts -= 1 }
            if entries[index].attempts >= how.deliveriesMax {
                change(index, to: .dead, until: MonotonicInstant(nanoseconds: 0))
                if reasons.count < Self.reasonsMax { reasons[entry.offset] = how.reason }
            } else {
                change(index, to: .returned, until: how.until ?? MonotonicInstant(nanoseconds: 0))
                if let until = how.until { wake(at: until) }
            }
        }
        return given
    }

    /// The first offset in this range that the answer has open.
    func firstOpen(_ answer: UInt64, _ offsets: ClosedRange<Int64>) -> Int64? {
        entries[lowerBound(offsets.lowerBound)...].first {
            $0.offset > offsets.upperBound || $0.answer == answer && $0.status == .open
        }.flatMap { $0.offset > offsets.upperBound ? nil : $0.offset }
    }

    /// Gives the answer's leases in this range a new end; those in a commit too, which may fail.
    mutating func extend(_ answer: UInt64, _ offsets: ClosedRange<Int64>, until: MonotonicInstant) {
        var index = lowerBound(offsets.lowerBound)
        while index < entries.count, entries[index].offset <= offsets.upperBound {
            let entry = entries[index]
            if entry.answer == answer, entry.status == .open || entry.status == .committing {
                entries[index].until = until
            }
            index += 1
        }
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
        remove { $0.status == .committing }
    }

    /// As before the commit; deadlines that passed meanwhile are found by the next look at them.
    mutating func undoCommitting() {
        for index in entries.indices where entries[index].status == .committing { entries[index].status = .open }
    }

    // MARK: Dead letters

    /// These are synced in the dead-letter topic: acknowledged, but for the commit that says so.
    mutating func bury(_ offsets: Set<Int64>) {
        remove { $0.status == .dead && offsets.contains($0.offset) }
        wantsCommit = true
    }

    /// These are tried again from `until` on.
    mutating func postpone(_ offsets: Set<Int64>, until: MonotonicInstant) {
        for index in entries.indices where entries[index].status == .dead && offsets.contains(entries[index].offset) {
            entries[index].until = until
            wake(at: until)
        }
    }

    /// After another `max_deliveries`. What is on its way to the dead-letter topic (`except`) stays.
    mutating func reconsider(deliveriesMax: UInt32, except: Range<Int64>?) {
        for index in entries.indices where !(except?.contains(entries[index].offset) ?? false) {
            let isUsedUp = entries[index].attempts >= deliveriesMax
            switch entries[index].status {
            case .returned where isUsedUp: change(index, to: .dead, until: MonotonicInstant(nanoseconds: 0))
            case .dead where !isUsedUp: change(index, to: .returned, until: MonotonicInstant(nanoseconds: 0))
            case .returned, .dead, .open, .committing: break
            }
        }
    }
}
