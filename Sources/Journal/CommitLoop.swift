import CoreMetrics
import Logging
import Primitives
import Records

/// The journal's writer thread: takes everything queued, one write, one sync, publishes, answers everybody.
// SAFETY: the mutable members are touched by the writer's thread only, before `run` by the opener's.
final class CommitLoop: @unchecked Sendable {
    private let shared: JournalShared
    private var writer: SegmentWriter
    /// Written and not yet synced; more than one frame only under `interval`.
    private var unsynced: [JournalFrame] = []
    private var unsyncedTag: UInt64 = 0
    private var syncDue: MonotonicInstant?
    private var lastActivity: MonotonicInstant
    /// Of the group whose frame failed for lack of space and could not even be cut off: a start may find it until the
    /// next segment has its name. At most one group, since intake is closed until then.
    private var undecided: [@Sendable (Appended?) -> Void] = []

    private var settings: JournalSettings { shared.settings }

    init(shared: JournalShared, writer: SegmentWriter) {
        self.shared = shared
        self.writer = writer
        lastActivity = shared.clock.now()
    }

    enum Work {
        case group
        case decide
        case stop
    }

    func run() {
        while turn(shared.queue.wait(until: nextDeadline(), for: work)) {}
    }

    /// What the queue has for the writer; nil: nothing yet.
    func work(in queue: inout AppendQueue) -> Work? {
        if queue.phase == .failed { return .stop }
        if !queue.waiting.isEmpty { return .group }
        if !undecided.isEmpty, queue.phase == .running { return .decide }
        return queue.phase == .closing ? .stop : nil
    }

    /// What the thread does each time it wakes.
    ///
    /// - Parameter work: nil when `nextDeadline` passed first.
    /// - Returns: false when this was the end.
    func turn(_ work: Work?) -> Bool {
        switch work {
        case .group:
            commit(takeGroup())
        case .decide:
            decide()
        case .stop:
            finish()
            return false
        case nil:
            if let due = syncDue, due <= shared.clock.now() { syncUnsynced() } else { proveLastRecords() }
        }
        return true
    }

    private func takeGroup() -> [Append] {
        if settings.commitDelay > .zero {
            _ = shared.queue.wait(until: shared.clock.now() + settings.commitDelay) { queue -> Bool? in
                queue.waitingBytes >= settings.groupBytesMax || queue.phase == .closing ? true : nil
            }
        }
        return shared.queue.withLock { queue in
            let group = queue.takeGroup(
                bytesMax: min(settings.groupBytesMax, settings.appendBytesMax), countMax: settings.sequencesPerEpoch)
            queue.inFlight = group
            queue.busySince = shared.clock.now()
            return group
        }
    }

    /// When there is something to do though nothing came; nil: never.
    func nextDeadline() -> MonotonicInstant? {
        if let syncDue { return syncDue }
        return writer.proven < writer.durable && writer.fits(0) ? lastActivity + settings.idleFrameDelay : nil
    }

    // MARK: - One group

    private func commit(_ group: [Append]) {
        var bytes = 0
        var count = 0
        for append in group {
            bytes += append.body.count
            count += append.count
        }
        guard count > 0 else {
            idle()
            return
        }
        let first: LSN
        do throws(FileSystemError) {
            guard try prepareSegment(bytes: bytes, count: count) else { return }
            first = writer.next
            var frame = FrameEncoder.emptyFrame(bodyBytes: bytes)
            for append in group { frame.append(contentsOf: append.body) }
            unsynced.append(try writer.write(&frame, count: count))
        } catch {
            return writeFailed(error, group)
        }
        for append in group { unsyncedTag |= append.tag }
        shared.metrics.groupRecords.record(count)
        shared.metrics.records.increment(by: count)
        shared.metrics.bytes.increment(by: bytes)
        switch settings.sync {
        case .always:
            // The watchdog may have answered the group: its fate is told all the same.
            guard sync(deciding: group, first: first) else { return }
            answer(first: first, synced: true)
        case .interval(let interval):
            if syncDue == nil { syncDue = shared.clock.now() + interval }
            let written = writer.next
            shared.index.withLock { $0.written = written }
            tellFate(of: group, first: first, synced: false)
            answer(first: first, synced: false)
            if let due = syncDue, due <= shared.clock.now() { syncUnsynced() }
        }
        lastActivity = shared.clock.now()
    }

    private func tellFate(of group: [Append], first: LSN, synced: Bool) {
        var lsn = first
        for append in group {
            append.fate?(Appended(first: lsn, synced: synced))
            lsn = LSN(rawValue: lsn.rawValue + UInt64(append.count))
        }
    }

    /// Answers what is in flight, in order; the watchdog may have answered it before.
    private func answer(first: LSN, synced: Bool) {
        let group = idle()
        var lsn = first
        for append in group {
            append.completion(.success(Appended(first: lsn, synced: synced)))
            lsn = LSN(rawValue: lsn.rawValue + UInt64(append.count))
        }
    }

    /// The disk answered: intake is open again after a stall.
    @discardableResult
    private func idle() -> [Append] {
        shared.queue.withLock { queue in
            queue.busySince = nil
            if queue.phase == .stalled { queue.phase = .running }
            defer { queue.inFlight = [] }
            return queue.inFlight
        }
    }

    /// Publishes what was synced: first to readers, then to the owner.
    ///
    /// - Parameter group: learns before anybody sees its records that they are stored, at `first`.
    private func sync(deciding group: [Append] = [], first: LSN = .zero) -> Bool {
        let start = shared.clock.now()
        do throws(FileSystemError) {
            try writer.sync()
        } catch {
            fail(.io(error))
            return false
        }
        let took = shared.clock.now() - start
        shared.metrics.syncSeconds.recordNanoseconds(took.wholeNanoseconds)
        if took > settings.slowSync {
            shared.metrics.slowSyncs.increment()
            shared.log.warning(
                "slow sync",
                metadata: [
                    "duration_ms": .stringConvertible(took.wholeMilliseconds),
                    "requests": .stringConvertible(group.count),
                ])
        }
        tellFate(of: group, first: first, synced: true)
        publish()
        return true
    }

    private func publish() {
        let (frames, tag) = (unsynced, unsyncedTag)
        unsynced = []
        unsyncedTag = 0
        syncDue = nil
        let durable = writer.durable
        let info = writer.active?.info
        let usedBytes = shared.index.withLock { index in
            for frame in frames where frame.count > 0 { index.tail.append(frame) }
            index.durable = durable
            if let info, index.hasActive { index.segments[index.segments.count - 1] = info }
            return index.usedBytes
        }
        if let first = frames.first, let last = frames.last {
            shared.hooks.published(first.first..<last.end, tag, usedBytes)
        }
    }

    /// The policy `interval`: what was answered before is synced now.
    private func syncUnsynced() {
        shared.queue.withLock { $0.busySince = shared.clock.now() }
        if sync() { idle() }
    }

    // MARK: - Segments

    /// Makes room for a frame: the next segment, or the next epoch.
    ///
    /// - Returns: false when a sync failed, which has answered everybody.
    private func prepareSegment(bytes: Int, count: Int) throws(FileSystemError) -> Bool {
        let newEpoch = UInt64(writer.next.sequence) + UInt64(count) > settings.sequencesPerEpoch
        if !newEpoch, writer.fits(bytes) { return true }
        if !unsynced.isEmpty, !sync() { return false }
        let began = shared.clock.now()
        let empty = seal()
        var base: LSN?
        if newEpoch {
            let seconds = UInt32(clamping: shared.clock.wallMilliseconds() / 1000)
            base = LSN(epoch: try shared.meta.takeEpoch(above: writer.next.epoch, wallSeconds: seconds), sequence: 0)
        }
        let spare = shared.queue.withLock { queue in
            defer { queue.spare = nil }
            return queue.spare
        }
        let info = try writer.start(spare: spare, epochBase: base)
        shared.index.withLock { index in
            precondition(index.segments.allSatisfy { $0.path != info.path })
            index.segments.append(info)
            index.hasActive = true
            index.durable = writer.durable
        }
        // One at the same base was replaced by the rename; in a new epoch it is in nobody's way but takes its space.
        if let empty, empty.path != info.path { shared.removeEmptySegment(empty.path) }
        shared.metrics.rollSeconds.recordNanoseconds((shared.clock.now() - began).wholeNanoseconds)
        shared.keeper.poke()
        tellUndecided()
        return true
    }

    /// The next segment begins at the first LSN of the frame that failed, so no start takes that for a good one.
    private func tellUndecided() {
        let fates = undecided
        undecided = []
        for fate in fates { fate(nil) }
    }

    /// There is space again, and perhaps nothing to write before somebody knows what became of the last group.
    private func decide() {
        shared.queue.withLock { $0.busySince = shared.clock.now() }
        do throws(FileSystemError) {
            guard try prepareSegment(bytes: 0, count: 0) else { return }
        } catch {
            return writeFailed(error, [])
        }
        idle()
    }

    /// Ends the active segment, if there is one. - Precondition: it is synced.
    ///
    /// - Returns: the segment when it never got a frame. It is no part of the index any more: the next one may take its
    ///   very name, and its file must not be deleted under that.
    @discardableResult
    private func seal() -> SegmentInfo? {
        guard let sealed = writer.seal() else { return nil }
        shared.index.withLock { index in
            if sealed.isEmpty {
                index.segments.removeLast()
            } else {
                index.segments[index.segments.count - 1] = sealed
            }
            index.hasActive = false
        }
        return sealed.isEmpty ? sealed : nil
    }

    /// Proves the last records' durability while nothing else does: see `durable_lsn` in docs/JOURNAL.md.
    private func proveLastRecords() {
        guard writer.proven < writer.durable, writer.fits(0), unsynced.isEmpty else { return }
        shared.queue.withLock { $0.busySince = shared.clock.now() }
        do throws(FileSystemError) {
            var frame = FrameEncoder.emptyFrame(bodyBytes: 0)
            _ = try writer.write(&frame, count: 0)
        } catch {
            return writeFailed(error, [])
        }
        if sync() { idle() }
    }

    // MARK: - Trouble

    /// - Parameter group: whose frame it was.
    private func writeFailed(_ error: FileSystemError, _ group: [Append]) {
        guard error.isNoSpace, !error.isSync else { return fail(.io(error)) }
        let isCutOff: Bool
        do throws(FileSystemError) {
            isCutOff = try writer.cutOffFailedFrame()
        } catch {
            return fail(.io(error))
        }
        let fates = group.compactMap(\.fate)
        if isCutOff { for fate in fates { fate(nil) } } else { undecided += fates }
        // What was written before under `interval` was answered: it is published, not refused.
        if !unsynced.isEmpty, !sync() { return }
        seal()
        let (inFlight, waiting) = shared.queue.withLock { queue in
            queue.busySince = nil
            if queue.phase != .closing { queue.phase = .noSpace }
            defer { queue.inFlight = [] }
            return (queue.inFlight, queue.takeAll())
        }
        shared.log.error("no disk space, intake is closed", metadata: ["error": "\(error)"])
        shared.answer(inFlight, .noSpace(wasWritten: !isCutOff))
        shared.refuse(waiting, .noSpace(wasWritten: false))
        shared.keeper.spaceIsGone()
    }

    /// The file is condemned: nothing is retried, everybody waiting learns what is not known, the process exits.
    private func fail(_ error: JournalError) {
        shared.fail(error)
    }

    /// The orderly end: everything is synced and proven.
    private func finish() {
        let failed = shared.queue.withLock { $0.phase == .failed }
        if failed { return }
        if !unsynced.isEmpty, !sync() { return }
        proveLastRecords()
        shared.index.withLock { index in
            if let info = writer.active?.info, index.hasActive { index.segments[index.segments.count - 1] = info }
        }
    }
}

extension FileSystemError {
    /// A failed sync condemns the file whatever its errno says.
    var isSync: Bool { call == "fdatasync" || call == "fsync" }
}
