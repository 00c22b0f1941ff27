import Broker
public import Records

/// A consumer's progress in one partition.
public struct PartitionProgress: Equatable, Sendable {
    public var partition: TopicPartition
    /// The next offset to read after everything that is acknowledged without a gap; nil: nothing was committed yet.
    public var committed: Int64?
    /// The next offset to hand out for the first time; nil while nobody polls.
    public var position: Int64?
    /// The broker's end.
    public var end: Int64
    /// Offsets from the committed one (or the low watermark, where that is greater) to the end.
    public var lag: Int64
    public var leases: Int
    /// Timestamp of the first record that was handed out and is not acknowledged, milliseconds since 1970 UTC.
    public var oldestUnacknowledgedMs: Int64?

    public init(
        partition: TopicPartition, committed: Int64?, position: Int64?, end: Int64, lag: Int64, leases: Int,
        oldestUnacknowledgedMs: Int64?
    ) {
        self.partition = partition
        self.committed = committed
        self.position = position
        self.end = end
        self.lag = lag
        self.leases = leases
        self.oldestUnacknowledgedMs = oldestUnacknowledgedMs
    }
}

public struct ConsumerDescription: Equatable, Sendable {
    public var name: ConsumerName
    /// With the gateway's settings where the definition names none.
    public var definition: ConsumerDefinition
    /// Sorted.
    public var partitions: [PartitionProgress]
    /// Records handed out and not acknowledged.
    public var leases: Int
    public var pollsWaiting: Int
    public var oldestUnacknowledgedMs: Int64?
    /// Records whose deliveries are used up and that are not in the dead-letter topic yet; nobody gets them.
    public var deadLettersWaiting: Int
    /// Why the last try to send them there failed, `code: detail`.
    public var deadLetterError: String?

    public init(
        name: ConsumerName, definition: ConsumerDefinition, partitions: [PartitionProgress], leases: Int,
        pollsWaiting: Int, oldestUnacknowledgedMs: Int64?, deadLettersWaiting: Int, deadLetterError: String?
    ) {
        self.name = name
        self.definition = definition
        self.partitions = partitions
        self.leases = leases
        self.pollsWaiting = pollsWaiting
        self.oldestUnacknowledgedMs = oldestUnacknowledgedMs
        self.deadLettersWaiting = deadLettersWaiting
        self.deadLetterError = deadLetterError
    }
}

/// What the state machine knows at one moment.
struct ConsumerSnapshot: Sendable {
    struct Partition: Sendable {
        var committed: Int64
        var position: Int64
        var leases: Int
        var oldestUnacknowledgedMs: Int64?
    }

    var partitions: [TopicPartition: Partition]
    var pollsWaiting: Int
    var deadLettersWaiting: Int
    var deadLetterError: BrokerError?
}

extension ConsumerState {
    var snapshot: ConsumerSnapshot {
        ConsumerSnapshot(
            partitions: partitions.mapValues { partition in
                ConsumerSnapshot.Partition(
                    committed: partition.committed, position: partition.position, leases: partition.leased,
                    oldestUnacknowledgedMs: partition.entries.first?.timestampMs)
            }, pollsWaiting: polls.count, deadLettersWaiting: deadCount, deadLetterError: deadLetterError)
    }
}
