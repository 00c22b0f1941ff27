public import Records

/// What a fetch returned.
public struct FetchResult: Sendable {
    /// In offset order; offsets may have gaps (markers, compaction, aborted transactions).
    public var records: [StoredRecord]
    /// Where the next fetch goes on: past the last record, or past a gap at the end.
    public var nextOffset: Int64
    /// First offset that can be read.
    public var lowWatermark: Int64
    /// End: the offset that the next committed record will get at the earliest.
    public var highWatermark: Int64

    public init(records: [StoredRecord], nextOffset: Int64, lowWatermark: Int64, highWatermark: Int64) {
        self.records = records
        self.nextOffset = nextOffset
        self.lowWatermark = lowWatermark
        self.highWatermark = highWatermark
    }
}

/// What to fetch.
public struct FetchRequest: Sendable {
    public var partition: TopicPartition
    /// A position under the low watermark is moved to it: compare with `FetchResult.lowWatermark`. At or past the end
    /// there are no records; `Int64.max` asks for the watermarks only.
    public var offset: Int64
    /// Do not read at or past this offset; nil: to the end.
    public var endOffset: Int64?
    public var recordsMax: Int
    /// Soft: at least one record is returned, however large.
    public var bytesMax: Int

    public init(partition: TopicPartition, offset: Int64, endOffset: Int64? = nil, recordsMax: Int, bytesMax: Int) {
        self.partition = partition
        self.offset = offset
        self.endOffset = endOffset
        self.recordsMax = recordsMax
        self.bytesMax = bytesMax
    }
}

/// What a subscription tells its owner. Called on the broker's threads; must not block and must not call back into the
/// subscription while holding a lock that its own callers hold.
public protocol SubscriptionDelegate: AnyObject, Sendable {
    /// These partitions may be read and committed from now on, beginning at their committed offsets.
    func assigned(_ partitions: [TopicPartition])
    /// No longer: every lease of theirs is void.
    func revoked(_ partitions: [TopicPartition])
    /// Records were committed to these partitions.
    func available(_ partitions: Set<TopicPartition>)
}

/// Reading, for named consumers and without one.
public protocol RecordSource: Sendable {
    /// Joins the consumer's group for these topics. The delegate is held weakly.
    func subscribe(
        consumer: ConsumerName, topics: [TopicName], delegate: any SubscriptionDelegate
    ) throws(BrokerError) -> any Subscription

    /// Reads without a group, answering on one of the broker's threads, also on error. Never waits for records.
    ///
    /// - Throws (by the completion): `unknown_topic`, `unknown_partition`, both also for what was deleted.
    func fetch(_ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void)

    /// Waits, without a group, until a partition has something at or past an offset. It is a hint: whoever is told
    /// fetches, and may find nothing and watch again. Any thread may call; decided from memory, so it never blocks.
    ///
    /// - Parameters:
    ///   - offset: where the fetch that found nothing would go on (`FetchResult.nextOffset`).
    ///   - told: called once, on one of the broker's threads, unless the watch is cancelled first: when there is
    ///     something, or when a fetch would fail, as of a topic that is deleted. Must not block.
    /// - Returns: nil when there is something already; `told` is not called then.
    /// - Throws: `unknown_topic`, `unknown_partition`, and `too_many_watches` (retriable): how many there may be at one
    ///   time is bounded.
    func watch(
        _ partition: TopicPartition, from offset: Int64, told: @escaping @Sendable () -> Void
    ) throws(BrokerError) -> (any PartitionWatch)?
}

/// Somebody who waits for records of one partition.
public protocol PartitionWatch: AnyObject, Sendable {
    /// Gives the place up; what is being told at this moment may still be told. Any thread. More than once does nothing
    /// more.
    func cancel()
}

/// One named consumer's membership, alive until closed, however slow its HTTP clients are. Any thread may call.
public protocol Subscription: AnyObject, Sendable {
    /// Answers on one of the broker's threads, never on the caller's, also on error. Never waits for records.
    func fetch(_ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void)

    /// Leaves the group; later fetches fail.
    func close()
}
