import Broker
import Records
import Spool

/// The records of a lane between spool and sink, and how many of them are tried at once. A pure value.
///
/// A broker refuses whole batches for one bad record, so after such a refusal the tries get smaller until the record
/// stands alone, and grow again after each success.
struct Batch {
    private(set) var records: ArraySlice<OutgoingRecord> = []
    /// Nothing of the lane lies between the last record and here.
    private(set) var scanned = LSN.zero
    /// Records in the next try; nil: all.
    private(set) var limit: Int?

    var isEmpty: Bool { records.isEmpty }
    /// What is handed over next.
    var next: ArraySlice<OutgoingRecord> { records.prefix(limit ?? records.count) }

    /// - Precondition: the batch is empty.
    mutating func fill(_ batch: LaneBatch) {
        precondition(records.isEmpty)
        records = batch.records.map { OutgoingRecord(lsn: $0.lsn, spooled: $0.spooled) }[...]
        scanned = batch.scanned
    }

    /// The first `count` are settled. - Returns: up to where the lane has nothing undelivered now.
    mutating func settle(_ count: Int) -> LSN {
        records.removeFirst(count)
        if let limit { self.limit = limit * 2 < records.count ? limit * 2 : nil }
        return records.first?.lsn ?? scanned
    }

    /// After a refusal of one record among `next`. - Returns: false when it already stood alone.
    mutating func narrow() -> Bool {
        let tried = next.count
        guard tried > 1 else { return false }
        limit = max(1, tried / 2)
        return true
    }

    /// A re-opened sink said that everything up to `lsn` is there. - Returns: how many records that settles.
    mutating func dropDelivered(through lsn: LSN) -> Int {
        let count = records.prefix { $0.lsn <= lsn }.count
        records.removeFirst(count)
        return count
    }

    /// Sets the first record's timestamp anew, when the gateway had set it. - Returns: whether it did.
    mutating func restampFirst(_ timestampMs: Int64) -> Bool {
        guard var first = records.first, first.spooled.timestampIsGateways,
            first.spooled.record.timestampMs != timestampMs
        else { return false }
        first.spooled.record.timestampMs = timestampMs
        records[records.startIndex] = first
        return true
    }
}
