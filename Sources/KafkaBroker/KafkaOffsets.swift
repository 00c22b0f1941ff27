public import Broker
import CRdkafka
public import Primitives
public import Records

/// Committed offsets of named consumers, in Kafka's groups, and their definitions, in a compacted topic.
///
/// A consumer with a membership here commits through it, and only for partitions that are its own at that moment. All
/// others' offsets are changed from outside, which Kafka takes only while the group has no members anywhere
/// (`consumer_active_elsewhere`).
///
/// Kafka cannot change offsets and definition together. `define` commits offsets first, then writes the definition,
/// then deletes what is left of other topics; `forget` deletes the group first, then the definition: after a crash in
/// between, the same call again finishes it, and until then nothing is delivered that would not have been.
public final class KafkaOffsets: OffsetStore {
    private let settings: KafkaBrokerSettings
    private let members: GroupConsumers
    private let admin: GroupAdmin
    private let follower: DefinitionsFollower
    private let writer: DefinitionsWriter
    let keeper: OffsetKeeper
    private let interruption = Interruption()
    /// One consumer's calls are all in the same queue, in order.
    private let queues: [WorkQueue]

    /// Calls in each queue; more are refused.
    private static let callsMax = 1_000
    private static let queueCount = 4

    /// - Parameters:
    ///   - clock: with `timers`, for when idle consumers' offsets are committed again.
    ///   - timers: live longer than this.
    /// - Throws: process-fatal for a bad configuration.
    public init(
        settings: KafkaBrokerSettings, source: KafkaSource, clock: any TimeSource, timers: any Timers
    ) throws(BrokerError) {
        self.settings = settings
        members = source.members
        admin = try GroupAdmin(settings: settings, interruption: interruption)
        follower = try DefinitionsFollower(settings: settings, interruption: interruption)
        writer = DefinitionsWriter(settings: settings, follower: follower, interruption: interruption)
        keeper = OffsetKeeper(
            interval: settings.offsetsRecommit,
            consumers: ClusterConsumers(admin: admin, members: members, follower: follower), clock: clock,
            timers: timers)
        queues = (0..<Self.queueCount).map { _ in WorkQueue(name: "kafka-offsets", depthMax: Self.callsMax) }
    }

    /// Ends the threads, and calls that wait for the cluster: these may have been done all the same. After
    /// `Consumers.stop` has completed. Blocks for a few times `closeTimeout` at most, however many calls wait.
    public func stop() {
        interruption.interrupt()
        keeper.stop()
        for queue in queues { queue.stop() }
        follower.stop()
        writer.stop()
        admin.client.close(within: settings.closeTimeout)
    }

    // MARK: Offsets

    public func committed(
        consumer: ConsumerName, of partitions: [TopicPartition],
        completion: @escaping @Sendable (Result<[TopicPartition: CommittedOffset], BrokerError>) -> Void
    ) {
        guard let member = members.live(consumer) else { return ask(consumer, partitions, completion) }
        member.send(
            .committed(partitions) { [self] result in
                if case .success(let found?) = result { return completion(.success(found)) }
                ask(consumer, partitions, completion)
            })
    }

    private func ask(
        _ consumer: ConsumerName, _ partitions: [TopicPartition],
        _ completion: @escaping @Sendable (Result<[TopicPartition: CommittedOffset], BrokerError>) -> Void
    ) {
        run(consumer, completion) { [admin] () throws(BrokerError) in try admin.committed(consumer, of: partitions) }
    }

    public func commit(
        consumer: ConsumerName, offsets: [TopicPartition: CommittedOffset],
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void
    ) {
        if let refusal = Self.refusal(of: offsets) { return completion(.failure(refusal)) }
        if let member = members.live(consumer) { return member.send(.commit(offsets, completion)) }
        run(consumer, completion) { [members, admin] () throws(BrokerError) in
            members.waitUntilLeft(consumer)
            try admin.commit(consumer, offsets)
        }
    }

    private static func refusal(of offsets: [TopicPartition: CommittedOffset]) -> BrokerError? {
        for (partition, value) in offsets {
            let bytes = value.metadata.utf8.count
            guard bytes <= OffsetStoreLimits.metadataBytesMax else {
                return BrokerError(
                    .recordFatal, code: "offset_metadata_too_large",
                    detail: "\(bytes) bytes for \(partition), the limit is \(OffsetStoreLimits.metadataBytesMax)")
            }
            guard value.offset >= 0 else {
                return BrokerError(
                    .recordFatal, code: "invalid_offset", detail: "\(value.offset) for \(partition)")
            }
        }
        return nil
    }

    // MARK: Definitions

    public func define(
        _ definition: ConsumerDefinitionBytes, offsets: [TopicPartition: CommittedOffset], replacing: Bool,
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void
    ) {
        if let refusal = Self.refusal(of: offsets) { return completion(.failure(refusal)) }
        run(definition.name, completion) { [self] () throws(BrokerError) in
            let name = definition.name
            if !offsets.isEmpty {
                members.waitUntilLeft(name)
                try admin.commit(name, offsets)
            }
            try writer.write(name, definition.bytes)
            guard replacing else { return }
            let topics = Set(offsets.keys.map(\.topic))
            let others = try admin.committed(name, of: nil).keys.filter { !topics.contains($0.topic) }
            try admin.delete(name, offsetsOf: others)
        }
    }

    public func forget(consumer: ConsumerName, completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void) {
        run(consumer, completion) { [self] () throws(BrokerError) in
            members.waitUntilLeft(consumer)
            if settings.deletesGroups { try admin.delete(consumer) }
            try writer.write(consumer, nil)
        }
    }

    /// Waits for at most `KafkaBrokerSettings.definitionsWait`, then throws retriable; `watchDefinitions` tells them
    /// when they are there.
    public func definitions() throws(BrokerError) -> [ConsumerDefinitionBytes] {
        try follower.load(within: settings.definitionsWait)
    }

    public func watchDefinitions(_ watcher: any DefinitionWatcher) { follower.tell(watcher) }

    // MARK: Running

    private func run<Answer: Sendable>(
        _ consumer: ConsumerName, _ completion: @escaping @Sendable (Result<Answer, BrokerError>) -> Void,
        _ body: @escaping @Sendable () throws(BrokerError) -> Answer
    ) {
        let queue = queues[Int(UInt(bitPattern: consumer.hashValue) % UInt(queues.count))]
        let isQueued = queue.run { [interruption] in
            do throws(BrokerError) {
                if interruption.isSet { throw .interrupted }
                let answer = try body()
                completion(.success(answer))
            } catch {
                completion(.failure(error))
            }
        }
        if !isQueued {
            Limit.kafkaOffsetCalls.reached()
            completion(.failure(.tooMany("too_many_offset_calls", Self.callsMax)))
        }
    }
}
