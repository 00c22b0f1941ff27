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
    }

    let monitor = Monitor(State())

    /// There is something to do now.
    func poke() {
        monitor.withLock { $0.poked = true }
        monitor.signal()
    }

    /// The writer found no space.
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
    private var spares = 0
    private var reserve: (any File)?
    private var reserveIsFull = false

    init(shared: JournalShared, checkpointFile: SlotFile, checkpoint: Checkpoint) {
        self.shared = shared
        self.checkpointFile = checkpointFile
        written = checkpoint
    }

    func run() {
        if shared.queue.withLock({ $0.phase }) == .noSpace { emptyReserve() }
        while true {
            provideSpare()
            do throws(FileSystemError) {
                try writeCheckpoint()
                try deleteSegments()
            } catch {
                return shared.fail(.io(error))
            }
            let deadline = shared.clock.now() + shared.settings.keeperInterval
            let state = shared.keeper.monitor.wait(until: deadline) { state -> KeeperSignal.State? in
                guard state.poked || state.spaceGone || state.stopping else { return nil }
                defer {
                    state.poked = false
                    state.spaceGone = false
                }
                return state
            }
            if state?.stopping == true { return }
            if state?.spaceGone == true { emptyReserve() }
        }
    }

    /// The last checkpoint: after it a start reads nothing again. - Precondition: both threads have ended.
    func finish() throws(FileSystemError) {
        try writeCheckpoint()
        try deleteSegments()
    }

    private func provideSpare() {
        let (hasSpare, phase) = shared.queue.withLock { ($0.spare != nil, $0.phase) }
        guard phase == .noSpace || phase == .running && !hasSpare else { return }
        do throws(FileSystemError) {
            if !hasSpare {
                spares += 1
                let spare = try SpareSegment.make(
                    number: spares, directory: shared.directory, fileSystem: shared.fileSystem,
                    settings: shared.settings)
                shared.queue.withLock { $0.spare = spare }
            }
            // Last, so that while there is no space the reserve stays with those it is for.
            if !reserveIsFull { try makeReserve() }
            let reopened = shared.queue.withLock { queue in
                guard queue.phase == .noSpace else { return false }
                queue.phase = .running
                return true
            }
            if reopened { shared.log.notice("disk space is back, intake is open") }
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
    private func deleteSegments() throws(FileSystemError) {
        while true {
            let path = shared.index.withLock { index -> String? in
                // The last one stays: its base proves what is below.
                guard index.segments.count > 1, index.segments[0].end <= written.released else { return nil }
                return index.segments[0].path
            }
            guard let path else { break }
            try shared.fileSystem.remove(path)
            shared.index.withLock { _ = $0.segments.removeFirst() }
        }
        let (count, bytes) = shared.index.withLock { ($0.segments.count, $0.usedBytes) }
        shared.metrics.segments.record(count)
        shared.metrics.usedBytes.record(bytes)
    }

    // MARK: - Reserve

    private func makeReserve() throws(FileSystemError) {
        try reserveFile().allocate(Int64(shared.settings.reserveBytes))
        reserveIsFull = true
    }

    /// Gives its space to outcomes, dead letters and broker state.
    private func emptyReserve() {
        do throws(FileSystemError) {
            try reserveFile().truncate(0)
            reserveIsFull = false
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
