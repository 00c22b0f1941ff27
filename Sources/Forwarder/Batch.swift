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
    /// The spool held more than was taken.
    private(set) var isCut = false
    /// Nothing of what was taken has been settled.
    private(set) var isWhole = true

    var isEmpty: Bool { records.isEmpty }
    /// What is handed over next.
    var next: ArraySlice<OutgoingRecord> { records.prefix(limit ?? records.count) }

    /// - Precondition: the batch is empty.
    mutating func fill(_ batch: LaneBatch) {
        precondition(records.isEmpty)
        records = batch.records.map { OutgoingRecord(lsn: $0.lsn, spooled: $0.spooled) }[...]
        scanned = batch.scanned
        isCut = batch.isCut
        isWhole = true
    }

    /// The lane has nothing undelivered below.
    var undelivered: LSN { records.first?.lsn ?? scanned }

    /// The first `count` are delivered or dead. - Returns: how many of them each topic has.
    mutating func settle(_ count: Int) -> TopicCounts {
        // Not a success: the tries stay as small as they are.
        guard count > 0 else { return TopicCounts() }
        var settled = TopicCounts()
        for index in records.indices.prefix(count) { settled.add(records[index].spooled.topic) }
        records.removeFirst(count)
        // A slice without elements still holds what it was cut from: a whole hand-over, while the next one is read.
        if records.isEmpty { records = [] }
        isWhole = false
        if let limit { self.limit = limit * 2 < records.count ? limit * 2 : nil }
        return settled
    }

    /// After a refusal of one record among `next`. - Returns: false when it already stood alone.
    mutating func narrow() -> Bool {
        let tried = next.count
        guard tried > 1 else { return false }
        limit = max(1, tried / 2)
        return true
    }

    /// The next try is a single record.
    mutating func probe() { if records.count > 1 { limit = 1 } }

    /// How many are at or under a checkpoint.
    func count(through lsn: LSN) -> Int { records.prefix { $0.lsn <= lsn }.count }

    /// Sets the first record's timestamp anew. - Returns: false when a client had set it, which stays.
    mutating func restampFirst(_ timestampMs: Int64) -> Bool {
        guard var first = records.first, first.spooled.timestampIsGateways else { return false }
        first.spooled.record.timestampMs = timestampMs
        records[records.startIndex] = first
        return true
    }
}
