public import Records

/// What is known of a partition.
public struct PartitionDescription: Hashable, Sendable {
    public var partition: Int32
    /// Broker ids; the embedded broker is 0.
    public var leader: Int32?
    public var replicas: [Int32]
    public var inSyncReplicas: [Int32]
    /// First offset that can be read; nil when the partition's leader does not tell.
    public var lowWatermark: Int64?
    /// The end for readers of committed records; nil when the partition's leader does not tell.
    public var highWatermark: Int64?

    public init(
        partition: Int32, leader: Int32?, replicas: [Int32], inSyncReplicas: [Int32], lowWatermark: Int64?,
        highWatermark: Int64?
    ) {
        self.partition = partition
        self.leader = leader
        self.replicas = replicas
        self.inSyncReplicas = inSyncReplicas
        self.lowWatermark = lowWatermark
        self.highWatermark = highWatermark
    }
}

/// Settings of one topic; nil means the broker's default.
public struct TopicSettings: Hashable, Sendable {
    /// A retention without a limit, as in Kafka (`retention.ms`, `retention.bytes`).
    public static let unlimited: Int64 = -1

    public var partitions: Int32?
    /// Age at which records go, from 1 ms; or `unlimited`.
    public var retentionMs: Int64?
    /// Bytes of one partition past which its oldest records go, from 1; or `unlimited`.
    public var retentionBytes: Int64?
    /// Key, value and headers of one record, from 1.
    public var recordBytesMax: Int?

    public init(
        partitions: Int32? = nil, retentionMs: Int64? = nil, retentionBytes: Int64? = nil, recordBytesMax: Int? = nil
    ) {
        self.partitions = partitions
        self.retentionMs = retentionMs
        self.retentionBytes = retentionBytes
        self.recordBytesMax = recordBytesMax
    }
}

public struct TopicDescription: Hashable, Sendable {
    public var name: TopicName
    public var partitions: [PartitionDescription]
    /// What holds: the broker's defaults are filled in.
    public var settings: TopicSettings
    /// What about it can lose data, in words for people.
    public var warnings: [String]

    public init(name: TopicName, partitions: [PartitionDescription], settings: TopicSettings, warnings: [String]) {
        self.name = name
        self.partitions = partitions
        self.settings = settings
        self.warnings = warnings
    }
}

/// How far the timestamp of a record may be from the broker's clock; nil: as far as it likes.
public struct TimestampBounds: Hashable, Sendable {
    public var beforeMs: Int64?
    public var afterMs: Int64?

    public init(beforeMs: Int64?, afterMs: Int64?) {
        self.beforeMs = beforeMs
        self.afterMs = afterMs
    }
}

/// What intake must know of a topic before it accepts a record for it.
public struct KnownTopic: Hashable, Sendable {
    public var partitions: Int32
    /// Key, value and headers of one record that the topic is sure to take.
    public var recordBytesMax: Int
    /// Kafka's `max.message.bytes`: what a batch of one record may take (`RecordBatchSize`), the exact limit then; nil:
    /// `recordBytesMax` is.
    public var messageBytesMax: Int?
    /// Of timestamps that clients set; nil: they are not looked at.
    public var timestampBounds: TimestampBounds?

    public init(
        partitions: Int32, recordBytesMax: Int, messageBytesMax: Int? = nil, timestampBounds: TimestampBounds? = nil
    ) {
        self.partitions = partitions
        self.recordBytesMax = recordBytesMax
        self.messageBytesMax = messageBytesMax
        self.timestampBounds = timestampBounds
    }
}

public enum TopicKnowledge: Hashable, Sendable {
    case known(KnownTopic)
    /// Will be created by the hand-over, with this many partitions.
    case creatable(KnownTopic)
    /// Does not exist, and is not created on produce.
    case missing
    /// Cannot be told from memory: `TopicAdmin.verify` asks the broker. From there: the broker is away, or does not let
    /// us see the topic, and it was never seen.
    case unverified
}

/// Topics. Completions come on one of the broker's threads.
public protocol TopicAdmin: Sendable {
    /// From memory: never blocks, on the accept path of every request.
    func knowledge(of topic: TopicName) -> TopicKnowledge

    /// What the broker says of the topic now, or what is remembered where it does not answer in time: for what
    /// `knowledge` does not tell, and before a request is refused for what it tells. Calls for the same topic share one
    /// question, an answer is good for a second, and how many may wait is bounded; beyond that it is as if the broker
    /// were away.
    ///
    /// - Parameter completion: called once, within seconds, on one of the broker's threads or before this returns. Must
    ///   not block.
    func verify(_ topic: TopicName, completion: @escaping @Sendable (TopicKnowledge) -> Void)

    func topics(completion: @escaping @Sendable (Result<[TopicName], BrokerError>) -> Void)

    /// nil: no such topic.
    func describe(
        _ topic: TopicName, completion: @escaping @Sendable (Result<TopicDescription?, BrokerError>) -> Void)

    /// - Returns: false when it exists already; its settings are not touched.
    func create(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void)

    /// Changes what is given of an existing topic's retention and largest record; nil leaves a setting as it
    /// is. `settings.partitions` is not looked at.
    ///
    /// A record that was accepted before and is larger than a new `recordBytesMax` dies when it is handed over.
    ///
    /// - Returns: false when there is no such topic.
    func configure(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void)

    /// Removes the records below these offsets, by partition (KIP-107, DeleteRecords). From the completion on no fetch
    /// returns them. An offset at or below the low watermark changes nothing.
    ///
    /// - Returns: the low watermark of each of these partitions.
    /// - Throws (by the completion): `unknown_topic`, `unknown_partition`, `offset_out_of_range` for one past the end.
    ///   Repeating the call is safe, whatever was done.
    func purge(
        _ topic: TopicName, below offsets: [Int32: Int64],
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void)

    /// - Returns: false when there is none.
    func delete(_ topic: TopicName, completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void)

    /// First offset whose timestamp is at or after `timestampMs`, for each partition; the end where there is none.
    func offsets(
        of topic: TopicName, atOrAfterMs timestampMs: Int64,
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void)
}
