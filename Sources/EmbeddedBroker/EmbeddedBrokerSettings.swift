public import Outcomes
package import Records

/// Limits of the embedded broker, each with its default.
public struct EmbeddedBrokerSettings: Sendable {
    /// Partitions of a topic that does not say how many, and of one that a hand-over creates.
    public var partitionsDefault: Int32 = 4
    /// A hand-over creates a topic that does not exist. Never one that was deleted: that takes an explicit `create`.
    public var createTopics = true
    /// Key, value and headers of one record: 1 MiB as at intake, and room for the headers a gateway adds.
    public var recordBytesMax = 1 << 20 + 64 << 10
    /// Age at which records go; nil: never.
    public var retentionMs: Int64? = 7 * 24 * 3600 * 1000
    /// Bytes of records in one partition past which its oldest go, as Kafka's `retention.bytes`; nil: no limit.
    public var retentionBytes: Int64?
    /// Bytes of the whole file in use past which hand-overs fail as retriable `broker_full`; nil: the disk's size.
    public var quotaBytes: Int64?
    /// How long receipts tell where records are.
    public var outcomes = OutcomesSettings()
    /// Past it `knowledge` says `missing` of new names, and `create` refuses. A hand-over creates what intake admitted
    /// all the same: requests that were under way together may end a few topics above it.
    public var topicsMax = 10_000
    /// Of one topic.
    public var partitionsMax: Int32 = 1_024
    /// So many deleted topics are remembered; a record accepted for one dies as `topic_deleted`.
    public var deletedTopicsKept = 10_000
    public var consumersMax = 10_000
    /// Of one consumer's definition.
    public var definitionBytesMax = 64 << 10
    /// Commits and topic changes waiting for the writer; more are refused as retriable `broker_busy`.
    public var jobsQueuedMax = 4_096
    /// Fetches and other reads waiting for the reader; more are refused as retriable `broker_busy`.
    public var readsQueuedMax = 4_096
    public var subscriptionsMax = 10_000
    /// Stateless reads that wait for records; more are refused as retriable `too_many_watches`.
    public var watchesMax = 10_000
    /// Most that one fetch returns, whatever it asks for.
    public var fetchRecordsMax = 40_000
    public var fetchBytesMax = 32 << 20
    /// Time between two looks for what retention takes away.
    public var retentionInterval = Duration.seconds(60)
    /// Work of one retention transaction, so that hand-overs wait no longer than for that.
    public var retentionSliceRecords = 2_000
    public var retentionSlicePartitions = 256
    /// Page size of the file: a page holds a dozen records of 1 KiB, and larger ones spill less. Measured a quarter to
    /// a half faster than SQLite's 4,096; 32,768 gains nothing more.
    public static let pageBytes: Int32 = 16_384
    /// Page cache of the writer. A transaction that does not fit is spilled to the log early, which costs time only.
    public var cacheBytes = 32 << 20
    /// Pages written to the write-ahead log before it is copied back, between two transactions: 32 MiB.
    public var checkpointPages = 2_048
    /// Pages of log past which the writer waits for readers, so that the log starts over: 256 MiB.
    public var logPagesMax = 16_384
    /// A commit that takes longer is logged.
    public var slowCommit = Duration.seconds(1)

    public init() {}

    /// Tests: skips so many offsets after a hand-over to a partition, as Kafka's transaction markers do.
    package var gapAfterEachHandOver: (@Sendable (TopicPartition) -> Int64)?
    /// Tests: a disk that is full at so many pages.
    package var pagesMax: Int64?
}
