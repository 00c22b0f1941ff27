import Journal
import Primitives
public import Records

/// A run of one lane's records, in LSN order.
public struct LaneBatch: Sendable {
    public var records: [(lsn: LSN, spooled: SpoolRecord)]
    /// Nothing of the lane lies between the last record and here.
    public var scanned: LSN
    /// Sum of the records' encoded sizes.
    public var bytes: Int
    /// It ends at a bound of the caller's: more was synced.
    public var isCut = false
}

/// Records that were synced cannot be read.
public struct SpoolReadError: Error, Sendable, CustomStringConvertible {
    /// The disk or the system refused the call, and may not the next time; otherwise the records are broken or gone,
    /// and every later call throws the same.
    public let isTransient: Bool
    public let description: String

    init(_ error: JournalError) {
        description = error.description
        isTransient = if case .io = error { true } else { false }
    }
}

/// Finds one lane's records, in order, each once: in its parked files as far as it is parked, else in the journal.
/// Owned by the lane's thread.
public final class LaneReader {
    private typealias Found = (lsn: LSN, encoded: Int, spooled: SpoolRecord)

    /// Parts of smaller ones that stay over do not matter.
    static let largeFrameBytes = 256 << 10

    private let lane: Int
    private let journal: Journal
    private let state: Lock<SpoolState>
    private let backlog: LaneBacklog
    private let fileSystem: any FileSystem
    private var reader: JournalReader
    /// Found and not yet handed out, from the frame that was read last.
    private var found: ArraySlice<Found> = []
    /// The lane's records in the last frame that had any.
    private var lastFrameBytes = 0
    /// Records that were found are parts of it.
    private var keepsFrame = false
    /// Everything of the lane below was found.
    private var position: LSN
    /// The journal's reader is past the frame that this is about.
    private var broken: JournalError?

    init(lane: Int, journal: Journal, state: Lock<SpoolState>, backlog: LaneBacklog, fileSystem: any FileSystem) {
        self.lane = lane
        self.journal = journal
        self.state = state
        self.backlog = backlog
        self.fileSystem = fileSystem
        position = state.withLock { $0.cursors.lanes[lane].undelivered }
        reader = journal.reader(from: position)
        // The cursor may have moved since the start: where nothing of the lane was found, parking only moves it.
        backlog.read(EmptyCollection(), end: position)
    }

    /// The next records, at least one if there is any, within the bounds else. May block on the disk.
    ///
    /// What does not fit stays here, and keeps its whole frame in memory. So with half of the bytes there, the frame
    /// after a large one (`largeFrameBytes`) is read only if it would fit, were it like the last.
    ///
    /// What was found before an unreadable place is returned first; the call after that throws.
    ///
    /// - Throws: with the LSNs that cannot be read. Nothing is skipped: see `SpoolReadError.isTransient`.
    public func next(recordsMax: Int, bytesMax: Int) throws(SpoolReadError) -> LaneBatch {
        if found.isEmpty, broken == nil { skipOthers() }
        var batch = LaneBatch(records: [], scanned: position, bytes: 0)
        while true {
            while let first = found.first {
                let full =
                    batch.records.count >= recordsMax
                    || !batch.records.isEmpty && batch.bytes + first.encoded > bytesMax
                if full {
                    batch.isCut = true
                    batch.scanned = first.lsn
                    return batch
                }
                batch.records.append((first.lsn, first.spooled))
                batch.bytes += first.encoded
                found.removeFirst()
            }
            // A slice without elements still holds what it was cut from.
            found = []
            batch.scanned = position
            let isNextTooLarge = lastFrameBytes >= Self.largeFrameBytes && batch.bytes + lastFrameBytes > bytesMax
            let isEnough = batch.bytes >= bytesMax || batch.bytes >= bytesMax / 2 && isNextTooLarge
            if batch.records.count >= recordsMax || !batch.records.isEmpty && isEnough {
                batch.isCut = position < state.withLock { $0.durable }
                return batch
            }
            do throws(JournalError) {
                if let broken { throw broken }
                guard try readOn() else {
                    batch.scanned = position
                    return batch
                }
            } catch {
                if batch.records.isEmpty {
                    // Begins again at the same place with a fresh look at the file.
                    reader.skip(to: position)
                    throw SpoolReadError(error)
                }
                return batch
            }
        }
    }

    /// While the lane was idle its `scanned` went on.
    private func skipOthers() {
        let cursor = state.withLock { $0.cursors.lanes[lane] }
        if position >= cursor.parkedTo { move(to: cursor.scanned) }
    }

    private func move(to lsn: LSN) {
        guard lsn > position else { return }
        reader.skip(to: lsn)
        position = lsn
        backlog.read(EmptyCollection(), end: lsn)
    }

    /// Takes the next frame, which may hold nothing of the lane. - Returns: false when there is none.
    private func readOn() throws(JournalError) -> Bool {
        let durable = state.withLock { $0.durable }
        if try readParked() { return true }
        let frame: JournalFrame?
        do throws(JournalError) {
            frame = try reader.next()
        } catch {
            guard isParked else { throw error }
            return true
        }
        // What was read may lie past segments that went because the lane was parked meanwhile.
        if isParked { return true }
        guard let frame else {
            // Also past places that hold nothing, such as the end of an earlier epoch.
            move(to: durable)
            return false
        }
        try take(frame)
        if !keepsFrame { reader.takeBack() }
        return true
    }

    /// What comes next stands in the lane's parked files, and no longer in the journal. It was there for as long as
    /// this is not so: segments go only afterwards.
    private var isParked: Bool {
        guard position < state.withLock({ $0.cursors.lanes[lane].parkedTo }) else { return false }
        reader = journal.reader(from: position)
        return true
    }

    /// - Returns: false when nothing more of the lane is parked.
    private func readParked() throws(JournalError) -> Bool {
        let position = position
        let (parkedTo, place, damage) = state.withLock { state in
            let (parkedTo, files) = (state.cursors.lanes[lane].parkedTo, state.parked.lanes[lane])
            return (parkedTo, position < parkedTo ? files?.place(of: position) : nil, files?.damage)
        }
        guard position < parkedTo else { return false }
        if let place {
            let end = LSN(rawValue: place.frame.header.last.rawValue + 1)
            let entries: [ParkedEntry]
            do throws(JournalError) {
                entries = try place.piece.entries(of: place.frame, on: fileSystem)
            } catch {
                guard case .corruption(let lost, _) = error, isAccepted(lost) else { throw error }
                move(to: end)
                return true
            }
            try take(entries.filter { $0.lsn >= position }, frameBytes: place.frame.header.bodyBytes, end: end)
            // The journal's reader must not lag behind: with its next frame the position would go back.
            reader.skip(to: end)
        } else if let damage, !isAccepted(damage) {
            throw damage
        } else {
            move(to: parkedTo)
        }
        return true
    }

    private func take(_ frame: JournalFrame) throws(JournalError) {
        var own: [ParkedEntry] = []
        do throws(MalformedBytes) {
            let (lane, from) = (lane, position)
            try frame.forEachRecord { lsn, bytes in
                if lsn >= from, SpoolRecordCodec.lane(of: bytes).map(Int.init) == lane { own.append((lsn, bytes)) }
            }
        } catch {
            if journal.isQuarantined(frame.first..<frame.end) { return move(to: frame.end) }
            try fail(frame.first, error)
        }
        try take(own, frameBytes: frame.bytes, end: frame.end)
    }

    /// - Parameters:
    ///   - own: the lane's records in a frame, from the position on.
    ///   - frameBytes: what the frame takes in memory.
    private func take(_ own: [ParkedEntry], frameBytes: Int, end: LSN) throws(JournalError) {
        var taken: [Found] = []
        var at = position
        do throws(MalformedBytes) {
            // A slice keeps the whole frame: where most of it is other lanes', a batch of many frames would hold many
            // times its own bytes.
            let ownBytes = own.reduce(0) { $0 + $1.bytes.count }
            let copies = ownBytes < frameBytes / 2
            if ownBytes > 0 { lastFrameBytes = ownBytes }
            keepsFrame = ownBytes > 0 && !copies
            taken.reserveCapacity(own.count)
            for (lsn, bytes) in own {
                at = lsn
                let kept = copies ? Array(bytes)[...] : bytes
                do throws(MalformedBytes) {
                    taken.append((lsn, bytes.count, try SpoolRecordCodec.decode(kept)))
                } catch {
                    if !journal.isQuarantined(lsn..<lsn.next) { throw error }
                }
            }
        } catch {
            try fail(at, error)
        }
        found = taken[...]
        position = end
        let read = taken.lazy.map { lsn, _, spooled in
            (
                lsn: lsn, topic: spooled.topic,
                acceptedMs: spooled.timestampIsGateways ? spooled.record.timestampMs : Int64?.none
            )
        }
        backlog.read(read, end: position)
    }

    /// An operator accepted the loss: the lane goes on behind it.
    private func isAccepted(_ lost: [Range<LSN>]) -> Bool { lost.allSatisfy(journal.isQuarantined) }

    private func isAccepted(_ damage: JournalError) -> Bool {
        if case .corruption(let lost, _) = damage { isAccepted(lost) } else { false }
    }

    private func fail(_ at: LSN, _ error: MalformedBytes) throws(JournalError) -> Never {
        let corruption = JournalError.corruption(
            [at..<at.next], detail: "checksum good, record not: \(error.what)")
        broken = corruption
        throw corruption
    }
}
