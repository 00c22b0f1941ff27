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
    /// What is committed for these partitions; one without a committed offset is left out.
    func committed(
        consumer: ConsumerName, of partitions: [TopicPartition],
        completion: @escaping @Sendable (Result<[TopicPartition: CommittedOffset], BrokerError>) -> Void)

    /// All of the offsets or none. Concurrent commits are grouped into one sync.
    ///
    /// - Throws (by the completion): `partition_not_assigned` for what the consumer's membership does not have (any
    ///   more), `consumer_active_elsewhere` where somebody else's members keep offsets from being changed.
    func commit(
        consumer: ConsumerName, offsets: [TopicPartition: CommittedOffset],
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void)

    /// Stores the definition, deletes the offsets of every other topic than `offsets` names when `replacing`, and
    /// commits `offsets`: all or nothing, or in an order in which repeating the call finishes it.
    func define(
        _ definition: ConsumerDefinitionBytes, offsets: [TopicPartition: CommittedOffset], replacing: Bool,
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void)

    /// Forgets the definition and its offsets.
    func forget(consumer: ConsumerName, completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void)

    /// Every definition. Blocks, for a bounded time; at start only.
    ///
    /// - Throws: retriable when they cannot be read now: then `watchDefinitions` tells them later.
    func definitions() throws(BrokerError) -> [ConsumerDefinitionBytes]

    /// Tells of definitions that others make. Call it once, after `definitions`; what happened in between is told, too.
    ///
    /// - Parameter watcher: held weakly.
    func watchDefinitions(_ watcher: any DefinitionWatcher)
}

extension OffsetStore {
    /// For a store that nobody else writes to.
    public func watchDefinitions(_: any DefinitionWatcher) {}
}

/// Hears of definitions in a store that several gateways share, in the order in which the store has them. Called on one
/// of the broker's threads; must not block. What the owner wrote itself may be told, too.
public protocol DefinitionWatcher: AnyObject, Sendable {
    /// All there are.
    func definitionsLoaded(_ definitions: [ConsumerDefinitionBytes])
    /// - Parameter bytes: nil: it was forgotten.
    func definitionChanged(_ name: ConsumerName, _ bytes: ByteSlice?)
}
