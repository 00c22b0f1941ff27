import Journal
import Logging
import Primitives
import Records
import Store

/// What a start reads of requests: first the store, then what the journal holds past it.
///
/// What is missing is never passed over in silence: it is a gap (`IdempotencyGap`), for as long as a key lives.
struct RequestRecovery {
    private let opened: Journal.Opened
    /// As CHECKPOINT has it.
    private let mark: RequestMark
    private let store: any RequestStore
    private let log: Logger
    private(set) var index: RequestIndex
    /// Of the clock for requests, now.
    private(set) var clockMs: Int64
    /// Where the journal is read from.
    private var from: LSN
    private var isComplete = true
    /// End of what was lost last.
    private var lostEnd = LSN.zero
    /// The store holds what is not so.
    private var isStale = false

    /// Blocks on the disk.
    ///
    /// - Throws: where the store is of a later version, or the disk or the system refuses to read it or the journal.
    init(
        _ opened: Journal.Opened, mark: RequestMark, store: any RequestStore, settings: IdempotencySettings,
        wallMs: Int64, log: Logger
    ) throws(JournalError) {
        self.opened = opened
        self.mark = mark
        self.store = store
        self.log = log
        index = RequestIndex(settings)
        clockMs = wallMs
        from = .zero
        let head = try load(settings, wallMs)
        from = min(from, opened.end)
        try replay()
        // Those that were heard of since are where they are; the others may have gone on in what is lost.
        index.forgetProducers(silentSince: lostEnd)
        index.finishRecovery(
            mark: RequestMark(covered: from, generation: max(mark.generation, head?.mark.generation ?? 0)),
            gapMs: isComplete ? head?.gapMs ?? 0 : clockMs, needsAll: isStale || !isComplete,
            driftMs: head.map(\.driftMs))
    }

    // MARK: - The store

    private mutating func load(_ settings: IdempotencySettings, _ wallMs: Int64) throws(JournalError) -> RequestHead? {
        do throws(StoreError) {
            guard let head = try firstLook() else { return missing() }
            guard head.spool == opened.spool else {
                throw StoreError(.foreign, operation: "load requests", detail: "of spool \(head.spool)")
            }
            clockMs = head.clockMs + max(0, wallMs - head.wallMs)
            let now = RequestClock.seconds(clockMs)
            try store.forEachRow { take($0, now: now) }
            place(head)
            return head
        } catch {
            guard error.kind == .corrupt || error.kind == .foreign else {
                throw .unreadable(path: RequestFile.name, reason: error.description)
            }
            log.error("the store of requests cannot be used, and is set aside", metadata: ["error": "\(error)"])
            // Without the half of it that was read.
            index = RequestIndex(settings)
            clockMs = wallMs
            try setAside()
            return missing()
        }
    }

    /// A start without space opens, with intake closed, and forwards.
    private func firstLook() throws(StoreError) -> RequestHead? {
        do throws(StoreError) {
            return try store.head()
        } catch {
            guard error.kind == .full else { throw error }
            do throws(FileSystemError) {
                try opened.freeReserve()
            } catch {
                throw StoreError(.full, operation: "load requests", detail: error.description)
            }
            return try store.head()
        }
    }

    /// Where the journal goes on.
    private mutating func place(_ head: RequestHead) {
        if head.mark.generation >= mark.generation {
            from = max(head.mark.covered, mark.covered)
        } else {
            // An older copy of it was restored. Perhaps the journal still holds all that it does not have.
            from = head.mark.covered
            isStale = true
            if oldest > from { gap("the store of requests is older than the spool", from..<oldest) }
        }
        if from > opened.end { isStale = true }
    }

    /// Where the journal begins.
    private var oldest: LSN { opened.recovered.first?.lowerBound ?? opened.end }

    private mutating func missing() -> RequestHead? {
        if mark.generation == 0 {
            from = mark.covered
        } else {
            gap("the store of requests is missing", .zero..<oldest)
        }
        return nil
    }

    private func setAside() throws(JournalError) {
        do throws(StoreError) {
            try store.setAside()
        } catch {
            throw .unreadable(path: RequestFile.name, reason: error.description)
        }
    }

    /// Without what this spool never had, as a store has it that is newer than the restored journal, or of another
    /// history.
    private mutating func take(_ row: RequestRow, now: UInt32) {
        switch row {
        case .keys(let entries):
            for entry in entries {
                if isKnown(entry.first, end: entry.end) { index.restore(entry, now: now) } else { isStale = true }
            }
        case .producer(let name, let producer):
            let kept = producer.answers.prefix { isKnown($0.first, end: $0.end) }
            if kept.count < producer.answers.count { isStale = true }
            guard !kept.isEmpty else { return }
            let last = producer.last - UInt64(producer.answers.count - kept.count)
            index.restore(name, Producer(last: last, answers: Array(kept), seconds: producer.seconds), now: now)
        case .unreadable(let what):
            // A producer of it is unknown, and so refused; the others have rows of their own.
            gap("the store of requests is damaged: \(what)", LSN.zero..<LSN.zero)
        }
    }

    private func isKnown(_ first: LSN, end: LSN) -> Bool { end <= opened.end && opened.isKnown(epoch: first.epoch) }

    // MARK: - The journal

    private mutating func replay() throws(JournalError) {
        for lost in opened.quarantined where lost.upperBound > from {
            gap("a part of the journal is quarantined", lost)
        }
        let reader = opened.reader(from: from)
        while true {
            do throws(JournalError) {
                guard let frame = try reader.next() else { return }
                take(frame)
            } catch {
                guard case .corruption(let ranges, _) = error, let end = ranges.map(\.upperBound).max(),
                    end > reader.position
                else { throw error }
                gap("a part of the journal cannot be read", reader.position..<end)
                reader.skip(to: end)
            }
        }
    }

    private mutating func take(_ frame: JournalFrame) {
        var found: [(lsn: LSN, stamp: RequestStamp)] = []
        var isReadable = true
        do throws(MalformedBytes) {
            let from = from
            try frame.forEachRecord { lsn, bytes in
                do throws(MalformedBytes) {
                    if lsn >= from, let stamp = try SpoolRecordCodec.stamp(of: bytes) { found.append((lsn, stamp)) }
                } catch {
                    isReadable = false
                }
            }
        } catch {
            isReadable = false
        }
        for (lsn, stamp) in found {
            index.replay(stamp.identity, RequestIndex.Stored(lsn, stamp))
            // It never goes back, whatever became of the wall clock.
            clockMs = max(clockMs, stamp.acceptedMs)
        }
        // (Its lane halts at it, too.)
        if !isReadable { gap("a record of the journal makes no sense", frame.first..<frame.end) }
    }

    private mutating func gap(_ reason: String, _ lost: Range<LSN>) {
        isComplete = false
        lostEnd = max(lostEnd, lost.upperBound)
        log.error(
            "requests may be forgotten: repetitions of some that were accepted would be accepted again",
            metadata: ["reason": "\(reason)", "from_lsn": "\(lost.lowerBound)", "to_lsn": "\(lost.upperBound)"])
    }
}

extension Requests {
    /// Reads what earlier processes accepted. Blocks on the disk. - Throws: as `RequestRecovery`.
    static func recover(
        _ opened: Journal.Opened, mark: RequestMark, store: any RequestStore, settings: IdempotencySettings,
        clock: any TimeSource, log: Logger
    ) throws(JournalError) -> Requests {
        let recovery = try RequestRecovery(
            opened, mark: mark, store: store, settings: settings, wallMs: clock.wallMilliseconds(), log: log)
        return Requests(recovery.index, clock: RequestClock(clock, ms: recovery.clockMs), settings: settings)
    }
}

extension RequestIndex {
    /// - Parameters:
    ///   - mark: below `covered` nothing was read from the journal.
    ///   - gapMs: see `RequestHead`; `driftMs` likewise.
    fileprivate mutating func finishRecovery(mark: RequestMark, gapMs: Int64, needsAll: Bool, driftMs: Int64?) {
        saving.mark = mark
        saving.gapMs = gapMs
        saving.needsAll = needsAll
        saving.driftMs = driftMs
    }
}
