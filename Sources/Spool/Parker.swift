import CoreMetrics
import Glibc
import Journal
import Logging
import Primitives
import Records

/// Parks lanes: at the high-water mark, the undelivered records of a lane that stands still while another delivers move
/// from the journal to files of their own, so that they pin no segment and the others go on. docs/JOURNAL.md has the
/// order of the steps.
///
/// One thread of its own, which alone writes and removes parked files. What fails here leaves everything as it was.
// SAFETY: the mutable members are touched by the parker's thread only.
final class Parker: @unchecked Sendable {
    private let state: Lock<SpoolState>
    private let journal: Journal
    private let files: ParkedFiles
    private let settings: SpoolSettings
    private let clock: any TimeSource
    private let log: Logger
    private let stopping = Monitor(false)
    private var watch: ParkingWatch
    /// Lanes that are left alone until then.
    private var retries: [Int: MonotonicInstant] = [:]
    private let metrics = ParkingMetrics()

    init(
        state: Lock<SpoolState>, journal: Journal, files: ParkedFiles, settings: SpoolSettings, clock: any TimeSource
    ) {
        self.state = state
        self.journal = journal
        self.files = files
        self.settings = settings
        self.clock = clock
        log = files.log
        watch = ParkingWatch(after: settings.parkAfter)
    }

    /// To be called by the thread.
    func run() {
        repeat { round() } while stopping.wait(until: clock.now() + settings.parkInterval) { $0 ? true : nil } == nil
    }

    /// Removes what is delivered, and parks a lane if one is to be.
    func round() {
        removeDrained()
        let now = clock.now()
        if let lane = next(now) { park(lane, now) }
        metrics.report(state.withLock { ($0.parked.count, $0.parked.bytes) })
    }

    /// A copy under way is given up.
    func stop() {
        stopping.withLock { $0 = true }
        stopping.broadcast()
    }

    /// The lane that is to be parked now; nil for none.
    private func next(_ now: MonotonicInstant) -> Int? {
        let (cursors, used) = state.withLock { ($0.cursors, $0.usedBytes) }
        watch.observe(cursors, now: now)
        guard settings.parkedBytesMax > 0, used >= settings.highWaterBytes else { return nil }
        return watch.stuck(cursors, now: now).first { lane in retries[lane].map { $0 <= now } ?? true }
    }

    private func removeDrained() {
        for (lane, paths) in state.withLock({ $0.parked.removable }) {
            files.remove(paths)
            state.withLock { $0.parked.removed(lane) }
            log.notice("the lane's parked records are delivered", metadata: ["lane": "\(lane)"])
        }
    }

    // MARK: - Parking a lane

    private enum Copied {
        /// Up to here; there may be more.
        case some
        /// The lane needs nothing from the journal any more.
        case all
        /// The lane delivers again.
        case moved
        /// `parkedBytesMax` has no room for more.
        case full
        case stopped
    }

    private func park(_ lane: Int, _ now: MonotonicInstant) {
        retries[lane] = nil
        // From here on, or what comes in would go on for as long as it is copied.
        state.withLock { $0.parked.refuse(lane, true) }
        defer { state.withLock { $0.parkingEnded(lane) } }
        do throws(JournalError) {
            var copied = Copied.some
            while case .some = copied { copied = try copyPiece(lane) }
            switch copied {
            case .some, .all, .moved, .stopped: break
            case .full:
                log.error(
                    "no room to park more of the lane",
                    metadata: ["lane": "\(lane)", "parked_bytes_max": "\(settings.parkedBytesMax)"])
                metrics.full.increment()
                Limit.parkedBytes.reached()
                retries[lane] = now + settings.parkRetry
            }
        } catch {
            // Nothing is lost: what was not parked stays in the journal.
            log.error("the lane cannot be parked", metadata: ["lane": "\(lane)", "error": "\(error)"])
            metrics.failures.increment()
            retries[lane] = now + settings.parkRetry
        }
    }

    /// Copies the next of the lane's records, as much as goes into one file, and says so in the cursors.
    private func copyPiece(_ lane: Int) throws(JournalError) -> Copied {
        guard let start = state.withLock({ $0.parkingStart(lane) }) else { return .all }
        let room = settings.parkedBytesMax - start.parkedBytes
        let path = files.path(lane: lane, ordinal: start.ordinal)
        var copy = Copy(lane: lane, start: start, path: path, room: room)
        var isKept = false
        defer { if !isKept, copy.writer != nil { files.remove([path]) } }
        do throws(FileSystemError) {
            // The journal's next segments come first.
            let space = try files.fileSystem.space(files.parent)
            guard space.available >= min(room, Int64(settings.journal.segmentBytes)) + spaceLeft else {
                throw FileSystemError(call: "statvfs", path: path, errno: ENOSPC)
            }
        } catch {
            throw .io(error)
        }
        let reader = journal.reader(from: start.from)
        while !copy.isFull {
            if stopping.withLock({ $0 }) { return .stopped }
            guard let frame = try reader.next() else {
                copy.end = max(start.durable, reader.position)
                break
            }
            try take(frame, &copy)
        }
        let piece: ParkedPiece?
        do throws(FileSystemError) {
            piece = try copy.writer?.finish(at: copy.end)
            if piece != nil { try files.fileSystem.syncDirectory(files.directory) }
        } catch {
            throw .io(error)
        }
        let end = copy.end
        guard end > start.from else { return .full }
        isKept = state.withLock { $0.park(lane, start, piece: piece, end: end) }
        guard isKept else { return .moved }
        if let piece {
            if start.ordinal == 0 { metrics.parkings.increment() }
            log.notice(
                "records of a lane were parked",
                metadata: ["lane": "\(lane)", "records": "\(piece.records)", "bytes": "\(piece.bytes)"])
        }
        return .some
    }

    /// Left to others on the disk.
    private var spaceLeft: Int64 { 2 * Int64(settings.journal.segmentBytes) }

    /// One file in the making.
    private struct Copy {
        let lane: Int
        let start: SpoolState.ParkingStart
        let path: String
        let room: Int64
        /// The lane's records before are copied.
        var end: LSN
        var isFull = false
        /// Made for the first record.
        var writer: ParkedPieceWriter?

        init(lane: Int, start: SpoolState.ParkingStart, path: String, room: Int64) {
            (self.lane, self.start, self.path, self.room) = (lane, start, path, room)
            end = start.from
        }
    }

    /// All of the frame's undelivered records that are the lane's, or none and the copy is full.
    private func take(_ frame: JournalFrame, _ copy: inout Copy) throws(JournalError) {
        var own: [ParkedEntry] = []
        do throws(MalformedBytes) {
            let (lane, from, delivered) = (copy.lane, copy.start.from, copy.start.delivered)
            try frame.forEachRecord { lsn, bytes in
                // What is delivered is not parked, though the lane has not looked there yet (after a start): it might
                // look through it meanwhile and sleep, and only a record that is to be delivered ends that.
                if lsn >= from, lsn > delivered, SpoolRecordCodec.lane(of: bytes).map(Int.init) == lane {
                    own.append((lsn, bytes))
                }
            }
        } catch {
            throw .corruption([frame.first..<frame.end], detail: error.what)
        }
        guard !own.isEmpty else {
            copy.end = frame.end
            return
        }
        // A frame's header more than there may be.
        let bytes =
            own.reduce(Int64(2 * ParkedFrameHeader.bytes)) {
                $0 + Int64($1.bytes.count + ParkedFormat.entryOverheadBytes)
            }
            + (copy.writer?.bytes ?? Int64(ParkedHeader.bytes + ParkedFrameHeader.bytes))
        guard bytes <= copy.room else {
            copy.isFull = true
            return
        }
        do throws(FileSystemError) {
            if copy.writer == nil { copy.writer = try makeWriter(copy) }
            for entry in own { try copy.writer?.add(entry) }
        } catch {
            throw .io(error)
        }
        copy.end = frame.end
        copy.isFull = (copy.writer?.bytes ?? 0) >= Int64(settings.journal.segmentBytes)
    }

    private func makeWriter(_ copy: Copy) throws(FileSystemError) -> ParkedPieceWriter {
        try files.fileSystem.createDurableDirectory(files.directory)
        let header = ParkedHeader(
            spool: files.spool, lane: copy.lane, ordinal: copy.start.ordinal, salt: .random(in: 1 ... .max),
            from: copy.start.from, previousChecksum: copy.start.previousChecksum)
        return try ParkedPieceWriter(
            path: copy.path, header: header, frameBytes: settings.parkedFrameBytes, on: files.fileSystem)
    }
}

/// The series of parking; looked up once.
private struct ParkingMetrics {
    let lanes = Gauge(label: "postrider_spool_parked_lanes")
    let bytes = Gauge(label: "postrider_spool_parked_bytes")
    let parkings = Counter(label: "postrider_spool_parkings_total")
    let failures = Counter(label: "postrider_spool_parking_failures_total")
    let full = Counter(label: "postrider_spool_parked_full_total")

    func report(_ parked: (lanes: Int, bytes: Int64)) {
        lanes.record(parked.lanes)
        bytes.record(parked.bytes)
    }
}
