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

/// Finds one lane's records in the journal, in order, each once. Owned by the lane's thread.
public final class LaneReader {
    private typealias Found = (lsn: LSN, encoded: Int, spooled: SpoolRecord)

    private let lane: UInt8
    private let reader: JournalReader
    private let backlog: LaneBacklog
    /// Found and not yet handed out, from the frame that was read last.
    private var found: ArraySlice<Found> = []
    private var position: LSN
    /// The lane's `scanned`, which jumps ahead while the lane is idle, and the end of what is synced.
    private let bounds: () -> (scanned: LSN, durable: LSN)
    /// The journal's reader is past the frame that this is about.
    private var broken: JournalError?

    init(lane: UInt8, reader: JournalReader, backlog: LaneBacklog, bounds: @escaping () -> (scanned: LSN, durable: LSN))
    {
        self.lane = lane
        self.reader = reader
        self.backlog = backlog
        self.bounds = bounds
        position = reader.position
    }

    /// The next records, at least one if there is any, within the bounds else. May block on the disk.
    ///
    /// What was found before an unreadable place is returned first; the call after that throws.
    ///
    /// - Throws: with the LSNs that cannot be read. Nothing is skipped: see `SpoolReadError.isTransient`.
    public func next(recordsMax: Int, bytesMax: Int) throws(SpoolReadError) -> LaneBatch {
        let (scanned, durable) = bounds()
        if found.isEmpty, broken == nil { move(to: scanned) }
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
            batch.scanned = position
            if batch.records.count >= recordsMax || batch.bytes >= bytesMax {
                batch.isCut = position < durable
                return batch
            }
            do throws(JournalError) {
                if let broken { throw broken }
                guard let frame = try reader.next() else {
                    // Also past places that hold nothing, such as the end of an earlier epoch.
                    move(to: durable)
                    batch.scanned = position
                    return batch
                }
                try take(frame)
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

    private func move(to lsn: LSN) {
        guard lsn > position else { return }
        reader.skip(to: lsn)
        position = lsn
        backlog.read(EmptyCollection(), end: lsn)
    }

    private func take(_ frame: JournalFrame) throws(JournalError) {
        var own: [(lsn: LSN, bytes: ByteSlice)] = []
        var taken: [Found] = []
        var at = frame.first
        do throws(MalformedBytes) {
            let from = position
            try frame.forEachRecord { lsn, bytes in
                if lsn >= from, SpoolRecordCodec.lane(of: bytes) == lane { own.append((lsn, bytes)) }
            }
            // A slice keeps the whole frame: where most of it is other lanes', a batch of many frames would hold many
            // times its own bytes.
            let copies = own.reduce(0) { $0 + $1.bytes.count } < frame.bytes / 2
            taken.reserveCapacity(own.count)
            for (lsn, bytes) in own {
                at = lsn
                let kept = copies ? Array(bytes)[...] : bytes
                taken.append((lsn, bytes.count, try SpoolRecordCodec.decode(kept)))
            }
        } catch {
            let corruption = JournalError.corruption(
                [at..<LSN(rawValue: at.rawValue + 1)], detail: "checksum good, record not: \(error.what)")
            broken = corruption
            throw corruption
        }
        found = taken[...]
        position = frame.end
        backlog.read(taken.lazy.map { ($0.lsn, $0.spooled.topic) }, end: position)
    }
}
