public import Journal
import Primitives
public import Records

/// A run of one lane's records, in LSN order.
public struct LaneBatch: Sendable {
    public var records: [(lsn: LSN, spooled: SpoolRecord)]
    /// Nothing of the lane lies between the last record and here.
    public var scanned: LSN
    /// Sum of the records' encoded sizes.
    public var bytes: Int
}

/// Finds one lane's records in the journal, in order, each once. Owned by the lane's thread.
public final class LaneReader {
    private let lane: UInt8
    private let reader: JournalReader
    /// Found and not yet handed out, from the frame that was read last.
    private var found: ArraySlice<(lsn: LSN, encoded: Int, spooled: SpoolRecord)> = []
    private var position: LSN
    /// The lane's `scanned`, which jumps ahead while the lane is idle.
    private let start: () -> LSN

    init(lane: UInt8, reader: JournalReader, start: @escaping () -> LSN) {
        self.lane = lane
        self.reader = reader
        self.start = start
        position = reader.position
    }

    /// The next records, at least one if there is any, within the bounds else. May block on the disk.
    ///
    /// - Throws: `JournalError.corruption` with the LSNs that cannot be read.
    public func next(recordsMax: Int, bytesMax: Int) throws(JournalError) -> LaneBatch {
        let start = start()
        if found.isEmpty, start > position {
            reader.skip(to: start)
            position = start
        }
        var batch = LaneBatch(records: [], scanned: position, bytes: 0)
        while true {
            while let first = found.first {
                let full =
                    batch.records.count >= recordsMax
                    || !batch.records.isEmpty && batch.bytes + first.encoded > bytesMax
                if full {
                    batch.scanned = first.lsn
                    return batch
                }
                batch.records.append((first.lsn, first.spooled))
                batch.bytes += first.encoded
                found.removeFirst()
            }
            batch.scanned = position
            if batch.records.count >= recordsMax || batch.bytes >= bytesMax { return batch }
            guard let frame = try reader.next() else {
                batch.scanned = position
                return batch
            }
            try take(frame)
        }
    }

    private func take(_ frame: JournalFrame) throws(JournalError) {
        var taken: [(lsn: LSN, encoded: Int, spooled: SpoolRecord)] = []
        var broken: (lsn: LSN, why: String)?
        let from = position
        do throws(MalformedBytes) {
            try frame.forEachRecord { lsn, bytes in
                guard lsn >= from, SpoolRecordCodec.lane(of: bytes) == lane else { return }
                do throws(MalformedBytes) {
                    taken.append((lsn, bytes.count, try SpoolRecordCodec.decode(bytes)))
                } catch {
                    broken = broken ?? (lsn, error.what)
                }
            }
        } catch {
            broken = broken ?? (frame.first, error.what)
        }
        if let broken {
            throw .corruption(
                [broken.lsn..<LSN(rawValue: broken.lsn.rawValue + 1)],
                detail: "checksum good, record not: \(broken.why)")
        }
        found = taken[...]
        position = frame.end
    }
}
