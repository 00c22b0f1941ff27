import Broker
import Records

/// What was fetched ahead of one assigned partition: a window of its offsets in which every record is known. A pure
/// value.
///
///     …handed out… │ first ── handed ── unread ── next │ not fetched yet
///
/// What was handed out stays until a fetch goes on behind it: whoever took less than it was given asks again.
struct PartitionBuffer {
    /// Counted for each record besides its bytes.
    static let recordOverheadBytes = 256

    enum Answer {
        case found(FetchResult)
        /// The records from there on are on their way.
        case notYet
        /// Not in the window.
        case elsewhere
    }

    /// Every record from here to `next` is in `records`.
    private(set) var first: Int64
    /// Where the stream goes on.
    private(set) var next: Int64
    private var records: ArraySlice<StoredRecord> = []
    /// Of `records`, that were given out at least once.
    private var handed = 0
    /// Of those that were never given out.
    private(set) var unreadBytes = 0
    /// The partition ends at `next`, or did when it was last heard of.
    private(set) var isAtEnd = false
    /// Offsets below are gone; found out by an error, so 0 most of the time.
    private(set) var lowWatermark: Int64 = 0

    init(at offset: Int64) {
        first = offset
        next = offset
    }

    /// The stream brought a record. One that is known already is passed over.
    mutating func append(_ record: StoredRecord) {
        guard record.offset >= next else { return }
        next = record.offset + 1
        isAtEnd = false
        unreadBytes += Self.cost(record)
        records.append(record)
    }

    /// The stream is at the end of the partition, behind markers and aborted records.
    mutating func reachedEnd(at offset: Int64) {
        guard offset >= next else { return }
        next = offset
        isAtEnd = true
    }

    /// The stream begins anew elsewhere.
    mutating func move(to offset: Int64) {
        let low = lowWatermark
        self = PartitionBuffer(at: offset)
        lowWatermark = low
    }

    /// Records below `low` went before they were fetched.
    mutating func raiseLowWatermark(to low: Int64) {
        lowWatermark = max(low, lowWatermark)
        if low > next { move(to: low) }
    }

    /// The next records in order, for the first time.
    mutating func takeNext(_ request: FetchRequest) -> Answer {
        let offset = max(request.offset, lowWatermark)
        guard offset >= first, offset <= next else { return .elsewhere }
        drop(below: offset)
        guard !records.isEmpty || isAtEnd else { return .notYet }
        let found = prefix(records, request)
        hand(found.count)
        let end = isAtEnd ? next : next + 1
        let position = found.count == records.count ? next : (found.last?.offset ?? next - 1) + 1
        return .found(
            FetchResult(
                records: Array(found), nextOffset: max(position, offset), lowWatermark: lowWatermark,
                highWatermark: end))
    }

    /// Whether there are records at the offset is not known: they are told of when they come.
    func nothingYet(at offset: Int64) -> FetchResult {
        let position = max(offset, lowWatermark)
        return FetchResult(
            records: [], nextOffset: position, lowWatermark: lowWatermark, highWatermark: max(position, next) + 1)
    }

    /// Records that were handed out before, where they are still here; changes nothing.
    func takeAgain(_ request: FetchRequest) -> Answer {
        guard let end = request.endOffset, request.offset >= max(first, lowWatermark), end <= next else {
            return .elsewhere
        }
        let wanted = records.drop { $0.offset < request.offset }.prefix { $0.offset < end }
        let found = prefix(wanted, request)
        let position = found.count == wanted.count ? max(end, request.offset) : (found.last?.offset ?? end - 1) + 1
        return .found(
            FetchResult(
                records: Array(found), nextOffset: position, lowWatermark: lowWatermark,
                highWatermark: isAtEnd ? next : next + 1))
    }

    private func prefix(_ records: ArraySlice<StoredRecord>, _ request: FetchRequest) -> ArraySlice<StoredRecord> {
        var (count, bytes) = (0, 0)
        for record in records {
            bytes += record.record.bytes
            if count == max(1, request.recordsMax) || count > 0 && bytes > request.bytesMax { break }
            count += 1
        }
        return records.prefix(count)
    }

    private mutating func hand(_ count: Int) {
        guard count > handed else { return }
        for record in records.dropFirst(handed).prefix(count - handed) { unreadBytes -= Self.cost(record) }
        handed = count
    }

    private mutating func drop(below offset: Int64) {
        let count = records.prefix { $0.offset < offset }.count
        first = max(first, offset)
        guard count > 0 else { return }
        hand(count)
        handed -= count
        records.removeFirst(count)
        // What a slice has let go of stays in its array.
        if records.startIndex > records.count { records = ArraySlice(Array(records)) }
    }

    private static func cost(_ record: StoredRecord) -> Int { record.record.bytes + recordOverheadBytes }
}
