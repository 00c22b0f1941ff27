public import Broker
import CoreMetrics
import Primitives
public import Records

/// Reading from Kafka: one group membership for each named consumer in use, and reads without a group.
///
/// Life: created (nothing connects) → used → `stop`. Any thread may call; no call blocks but `stop`.
public final class KafkaSource: RecordSource {
    let members: GroupConsumers
    let readers: ReaderPool
    private let watcher: Watcher

    public init(settings: KafkaBrokerSettings) {
        readers = ReaderPool(settings: settings)
        members = GroupConsumers(settings: settings, readers: readers)
        watcher = Watcher(settings: settings)
    }

    /// - Throws: `too_many_consumers` (retriable): `consumersActiveMax` have a membership.
    public func subscribe(
        consumer: ConsumerName, topics: [TopicName], delegate: any SubscriptionDelegate
    ) throws(BrokerError) -> any Subscription {
        KafkaSubscription(try members.join(consumer, topics, delegate))
    }

    /// Watermarks and end are those of committed records. A read that the cluster does not answer within
    /// `KafkaBrokerSettings.readTimeout` fails, retriable.
    public func fetch(
        _ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void
    ) {
        readers.fetch(request, completion: completion)
    }

    /// A partition that does not exist is told like one that has something: the fetch says so.
    public func watch(
        _ partition: TopicPartition, from offset: Int64, told: @escaping @Sendable () -> Void
    ) throws(BrokerError) -> (any PartitionWatch)? {
        try watcher.add(partition, from: offset, told: told)
    }

    /// Leaves every group and ends the threads; blocks for a few times `KafkaBrokerSettings.closeTimeout` at most.
    public func stop() {
        members.stop()
        watcher.stop()
        readers.stop()
    }
}

/// A membership as its owner holds it; letting go of it leaves the group.
final class KafkaSubscription: Subscription {
    private let member: GroupConsumer

    init(_ member: GroupConsumer) { self.member = member }

    deinit { member.close() }

    func fetch(_ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void) {
        member.send(.fetch(request, completion))
    }

    func close() { member.close() }
}

/// The memberships of this process by name. Any thread may call.
final class GroupConsumers: Sendable {
    private struct State {
        /// Those of one name join one after the other; only the last is not closing.
        var members: [ConsumerName: [GroupConsumer]] = [:]
        var count = 0
        var isStopping = false
    }

    private let settings: KafkaBrokerSettings
    private let readers: ReaderPool
    private let shares: PrefetchShares
    private let state = Lock(State())

    init(settings: KafkaBrokerSettings, readers: ReaderPool) {
        self.settings = settings
        self.readers = readers
        shares = PrefetchShares(bytesMax: settings.prefetchBytesMax, consumersMax: settings.consumersActiveMax)
    }

    func join(
        _ name: ConsumerName, _ topics: [TopicName], _ delegate: any SubscriptionDelegate
    ) throws(BrokerError) -> GroupConsumer {
        let joined = state.withLock { state -> (member: GroupConsumer, previous: GroupConsumer?)? in
            guard !state.isStopping, state.count < settings.consumersActiveMax else { return nil }
            state.count += 1
            let previous = state.members[name]?.last
            let member = GroupConsumer(
                name: name, topics: topics, settings: settings, readers: readers, shares: shares, delegate: delegate,
                whenEnded: { [weak self] in self?.ended($0) })
            state.members[name, default: []].append(member)
            SourceMetrics.live.record(state.count)
            return (member, previous)
        }
        guard let joined else {
            SourceMetrics.refusedConsumers.increment()
            Limit.kafkaConsumers.reached()
            throw .tooMany("too_many_consumers", settings.consumersActiveMax)
        }
        joined.previous?.close()
        joined.member.start(after: joined.previous)
        return joined.member
    }

    private func ended(_ member: GroupConsumer) {
        state.withLock { state in
            state.count -= 1
            state.members[member.name]?.removeAll { $0 === member }
            if state.members[member.name]?.isEmpty == true { state.members[member.name] = nil }
            SourceMetrics.live.record(state.count)
        }
    }

    /// The consumer's membership that is not about to end.
    func live(_ name: ConsumerName) -> GroupConsumer? {
        state.withLock { $0.members[name]?.last }.flatMap { $0.isClosing ? nil : $0 }
    }

    /// Blocks until no membership of the consumer is about to end, at most `closeTimeout`.
    func waitUntilLeft(_ name: ConsumerName) {
        for member in state.withLock({ $0.members[name] ?? [] }) where member.isClosing {
            _ = member.waitUntilEnded(within: settings.closeTimeout)
        }
    }

    func stop() {
        let members = state.withLock { state in
            state.isStopping = true
            return state.members.values.flatMap { $0 }
        }
        for member in members { member.close() }
        let deadline = SystemClock().now() + settings.closeTimeout
        for member in members { _ = member.waitUntilEnded(within: max(.zero, deadline - SystemClock().now())) }
    }
}
