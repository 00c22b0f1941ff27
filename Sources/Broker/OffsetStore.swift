public import Primitives
public import Records

/// A committed offset: the next to read, as Kafka counts.
public struct CommittedOffset: Hashable, Sendable {
    public var offset: Int64
    /// What is acknowledged beyond it, and attempt counts; at most `OffsetStoreLimits.metadataBytesMax`.
    public var metadata: String

    public init(offset: Int64, metadata: String = "") {
        self.offset = offset
        self.metadata = metadata
    }
}

public enum OffsetStoreLimits {
    /// Kafka's `offset.metadata.max.bytes` is 4,096.
    public static let metadataBytesMax = 3584
}

/// A named consumer as defined by its users, opaque to the broker.
public struct ConsumerDefinitionBytes: Sendable {
    public var name: ConsumerName
    public var bytes: ByteSlice

    public init(name: ConsumerName, bytes: ByteSlice) {
        self.name = name
        self.bytes = bytes
    }
}

/// Committed offsets and definitions of named consumers, durable. Completions come on one of the broker's threads,
/// after the sync, also on error; the caller's thread never waits.
public protocol OffsetStore: Sendable {
    func committed(
        consumer: ConsumerName,
        completion: @escaping @Sendable (Result<[TopicPartition: CommittedOffset], BrokerError>) -> Void)

    /// All of the offsets or none. Concurrent commits are grouped into one sync.
    func commit(
        consumer: ConsumerName, offsets: [TopicPartition: CommittedOffset],
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void)

    /// Stores the definition, deletes the offsets of every other topic than `offsets` names when `replacing`, and
    /// commits `offsets`: all or nothing.
    func define(
        _ definition: ConsumerDefinitionBytes, offsets: [TopicPartition: CommittedOffset], replacing: Bool,
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void)

    /// Forgets the definition and its offsets.
    func forget(consumer: ConsumerName, completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void)

    /// Every definition. Blocks; at start only.
    func definitions() throws(BrokerError) -> [ConsumerDefinitionBytes]
}
