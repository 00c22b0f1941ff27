/// Where a record ended up.
public struct Delivery: Hashable, Sendable {
    public var lsn: LSN
    public var partition: TopicPartition
    public var offset: Int64
    public var timestampMs: Int64

    public init(lsn: LSN, partition: TopicPartition, offset: Int64, timestampMs: Int64) {
        self.lsn = lsn
        self.partition = partition
        self.offset = offset
        self.timestampMs = timestampMs
    }
}
