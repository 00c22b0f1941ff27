import CoreMetrics
import Logging
import Primitives
import Records

/// Wakes the keeper's thread.
final class KeeperSignal: Sendable {
    struct State {
        var poked = false
        var spaceGone = false
        var stopping = false

        /// What the keeper is to know now; nil: nothing.
        mutating func take() -> Self? {
            guard poked || spaceGone || stopping else { return nil }
            defer {
                poked = false
                spaceGone = false
            }
            return self
        }
    }

    let monitor = Monitor(State())

    /// There is something to do now.
    func poke() {
        monitor.withLock { $0.poked = true }
        monitor.signal()
    }

    /// The writer found no space, or somebody who may use the reserve.
    func spaceIsGone() {
        monitor.withLock { $0.spaceGone = true }
        monitor.signal()
    }

    func stop() {
        monitor.withLock { $0.stopping = true }
        monitor.signal()
    }
}

/// The journal's housekeeping thread, so that the writer's does nothing but commit: prepares the spare segment, writes
/// CHECKPOINT, deletes segments, keeps the reserve, and looks for space while there is none.
// SAFETY: the mutable members are touched by the keeper's thread only, and by `finish` after it ended.
final class Keeper: @unchecked Sendable {
    static let reserveName = "RESERVE"

    private let shared: JournalShared
    private let checkpointFile: SlotFile
    private var written: Checkpoint
    private var spares: SpareSegments
    private var reserve: (any File)?
    private var reserveIsFull = false
    /// Rounds in a row that could not remove a segment.
    private var unlinkFailures = 0

    init(shared: JournalShared, checkpointFile: SlotFile, checkpoint: Checkpoint) {
        self.shared = shared
        self.checkpointFile = checkpointFile
        written = checkpoint
        spares = SpareSegments(
            directory: shared.directory, fileSystem: shared.fileSystem, settings: shared.settings)
    }

    func run() {
        begin()
        while round() {
            let deadline = shared.clock.now() + shared.settings.keeperInterval
            guard goesOn(shared.keeper.monitor.wait(until: deadline) { $0.take() }) else { return }
        }
    }

    /// Before the first round.
    func begin() {
        if shared.queue.withLock({ $0.phase }) == .noSpace { emptyReserve() }
    }

    /// - Returns: false when the journal failed.
    func round() -> Bool {
        do throws(FileSystemError) {
            try keepHouse()
        } catch {
            shared.fail(.io(error))
            return false
        }
        // After that: what was released may be the next spare.
        shared.housekeepingBegins("spare segment")
        provideSpare()
        shared.housekeepingEnds()
        return true
    }

    /// Between two rounds. - Parameter signal: nil when the interval passed first.
    func goesOn(_ signal: KeeperSignal.State?) -> Bool {
        if signal?.stopping == true { return false }
        if signal?.spaceGone == true { emptyReserve() }
        return true
    }

    /// The last checkpoint: after it a start reads nothing again. - Precondition: both threads have ended.
    func finish() throws(FileSystemError) {
        try keepHouse()
    }

    private func keepHouse() throws(FileSystemError) {
        defer { shared.housekeepingEnds() }
        do throws(FileSystemError) {
            shared.housekeepingBegins("CHECKPOINT")
            try writeCheckpoint()
            shared.housekeepingBegins("release of segments")
            try releaseSegments()
            unlinkFailures = 0
        } catch {
            guard isForLackOfSpace(error) || isOfUnlink(error) else { throw error }
        }
    }

    /// A file that cannot be removed takes space and harms nothing: a later round tries again.
    private func isOfUnlink(_ error: FileSystemError) -> Bool {
        guard error.call == "unlink" else { return false }
        unlinkFailures += 1
        shared.metrics.unlinkFailures.increment()
        // There is a round a second.
        if Backoff.isTold(unlinkFailures) {
            shared.log.error(
                "a released segment cannot be removed, trying again",
                metadata: ["error": "\(error)", "try": "\(unlinkFailures)"])
        }
        return true
    }

    /// CHECKPOINT is overwritten in place and deleting gives space, but file systems that copy on write need some for
    /// both. The slot that stands is good, and a later round tries again: nothing is lost but time at the next start.
    private func isForLackOfSpace(_ error: FileSystemError) -> Bool {
        guard error.isNoSpace, !error.isSync else { return false }
        shared.log.warning("no disk space for the journal's housekeeping", metadata: ["error": "\(error)"])
        return true
    }

    private func provideSpare() {
        let (hasSpare, phase) = shared.queue.withLock { ($0.spare != nil, $0.phase) }
        guard phase == .noSpace || phase == .running && !hasSpare else { return }
        do throws(FileSystemError) {
            if !hasSpare {
                let spare = try spares.make()
                shared.queue.withLock { $0.spare = spare }
            }
            if phase == .noSpace { try spares.removeReleased() }
            // Last, so that while there is no space the reserve stays with those it is for.
            if !reserveIsFull { try makeReserve() }
            let reopened = shared.queue.withLock { queue in
                guard queue.phase == .noSpace else { return false }
                queue.phase = .running
                return true
            }
            if reopened {
                // The writer may have something to decide before anybody sends it more.
                shared.queue.signal()
                shared.log.notice("disk space is back, intake is open")
            }
        } catch {
            if error.isSync { return shared.fail(.io(error)) }
            // The writer makes its own segment without a spare, and closes intake where that fails too.
            shared.log.warning("no spare segment", metadata: ["error": "\(error)"])
        }
    }

    private func writeCheckpoint() throws(FileSystemError) {
        // The owner's cursors first: what they say was delivered lies under the `durable` that is read after them.
        let (released, owner) = shared.hooks.checkpoint(shared.index.withLock { $0.usedBytes })
        let durable = shared.index.withLock { $0.durable }
        var checkpoint = Checkpoint()
        checkpoint.durable = durable
        checkpoint.verified = durable
        checkpoint.released = max(written.released, min(released, durable))
        checkpoint.owner = owner
        if checkpoint != written {
            try checkpointFile.write(checkpoint.encoded())
            written = checkpoint
        }
        shared.hooks.checkpointed()
    }

    /// Whole segments, oldest first, that the synced CHECKPOINT says nobody needs.
    private func releaseSegments() throws(FileSystemError) {
        while true {
            // First out of the index: a reader that meets other bytes in the file must be able to tell why.
            let segment = shared.index.withLock { index -> SegmentInfo? in
                // The last one stays: its base proves what is below.
                guard index.segments.count > 1, index.segments[0].end <= written.released else { return nil }
                return index.segments.removeFirst()
            }
            guard let segment else { break }
            do throws(FileSystemError) {
                try spares.take(segment, missing: shared.queue.withLock { $0.spare == nil })
            } catch {
                shared.index.withLock { $0.segments.insert(segment, at: 0) }
                throw error
            }
        }
        let (count, bytes) = shared.index.withLock { ($0.segments.count, $0.usedBytes) }
        shared.metrics.segments.record(count)
        shared.metrics.usedBytes.record(bytes)
    }

    // MARK: - Reserve

    private func makeReserve() throws(FileSystemError) {
        try reserveFile().allocate(Int64(shared.settings.reserveBytes))
        reserveIsFull = true
        shared.metrics.reserveInUse.record(0)
    }

    /// Gives its space to outcomes, dead letters and broker state.
    private func emptyReserve() {
        do throws(FileSystemError) {
            try reserveFile().truncate(0)
            reserveIsFull = false
            shared.metrics.reserveInUse.record(1)
        } catch {
            shared.log.error("the reserve could not be emptied", metadata: ["error": "\(error)"])
        }
    }

    private func reserveFile() throws(FileSystemError) -> any File {
        if let reserve { return reserve }
        let file = try shared.fileSystem.open(shared.directory + "/" + Self.reserveName, .createOrOpen)
        reserve = file
        return file
    }
}
