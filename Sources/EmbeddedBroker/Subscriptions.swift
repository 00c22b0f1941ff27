import Broker
import Primitives
import Records

/// A fetch, its completion, and whether the subscription may make it.
typealias SubscribedFetch =
    @Sendable (
        _ request: FetchRequest, _ allowed: Bool,
        _ completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void
    ) -> Void

/// One named consumer's membership. All partitions of its topics are its own: an embedded broker has one gateway.
final class EmbeddedSubscription: Subscription {
    let id: UInt64
    let topics: Set<TopicName>
    private weak let delegate: (any SubscriptionDelegate)?
    private let closed = Lock(false)
    private let registry: Subscriptions
    private let read: SubscribedFetch

    fileprivate init(
        id: UInt64, topics: Set<TopicName>, delegate: any SubscriptionDelegate, registry: Subscriptions,
        read: @escaping SubscribedFetch
    ) {
        self.id = id
        self.topics = topics
        self.delegate = delegate
        self.registry = registry
        self.read = read
    }

    func fetch(_ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void) {
        read(request, !isClosed && topics.contains(request.partition.topic), completion)
    }

    func close() {
        let first = closed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        if first { registry.remove(self) }
    }

    var isClosed: Bool { closed.withLock { $0 } }

    /// nil once closed, or when its owner is gone.
    fileprivate var listener: (any SubscriptionDelegate)? { isClosed ? nil : delegate }
}

/// Who is to be told of what. `add` and `remove` on any thread; everything that calls delegates runs on the writer
/// thread after a commit, outside of locks, so delegates see changes in the order of the commits.
final class Subscriptions: Sendable {
    private struct State {
        var nextID: UInt64 = 1
        var count = 0
        var active: [TopicName: [UInt64: EmbeddedSubscription]] = [:]
    }

    private let state = Lock(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }
}

extension Subscriptions {
    /// It hears nothing before `activate`.
    func make(
        topics: [TopicName], delegate: any SubscriptionDelegate,
        read: @escaping SubscribedFetch
    ) throws(BrokerError) -> EmbeddedSubscription {
        let id = state.withLock { state -> UInt64? in
            guard state.count < limit else { return nil }
            state.count += 1
            state.nextID += 1
            return state.nextID
        }
        guard let id else {
            throw BrokerError(.retriable, code: "too_many_subscriptions", detail: "the limit is \(limit)")
        }
        return EmbeddedSubscription(id: id, topics: Set(topics), delegate: delegate, registry: self, read: read)
    }

    /// On the writer thread: from here on it hears of every change; what is there already it hears now.
    func activate(_ subscription: EmbeddedSubscription, published: PublishedTopics) {
        let active = state.withLock { state in
            // Looked at under the lock: `close` sets its mark before it removes.
            guard !subscription.isClosed else { return false }
            for topic in subscription.topics { state.active[topic, default: [:]][subscription.id] = subscription }
            return true
        }
        guard active else { return }
        let partitions = subscription.topics.sorted().flatMap { published[$0]?.topicPartitions ?? [] }
        if !partitions.isEmpty { subscription.listener?.assigned(partitions) }
    }

    fileprivate func remove(_ subscription: EmbeddedSubscription) {
        state.withLock { state in
            state.count -= 1
            for topic in subscription.topics {
                state.active[topic]?[subscription.id] = nil
                if state.active[topic]?.isEmpty == true { state.active[topic] = nil }
            }
        }
    }

    private func concerned(_ topic: TopicName) -> [EmbeddedSubscription] {
        state.withLock { $0.active[topic].map { Array($0.values) } ?? [] }
    }

    /// On the writer thread, after the commit and after publishing.
    func tell(_ events: [BrokerEvent], published: PublishedTopics) {
        guard !events.isEmpty else { return }
        var appended: [TopicName: Set<TopicPartition>] = [:]
        for event in events {
            switch event {
            case .created(let topic, let partitions):
                for subscription in concerned(topic) { subscription.listener?.assigned(partitions) }
            case .deleted(let topic, let partitions):
                appended[topic] = nil
                for subscription in concerned(topic) { subscription.listener?.revoked(partitions) }
            case .appended(let partition): appended[partition.topic, default: []].insert(partition)
            }
        }
        var news: [UInt64: (EmbeddedSubscription, Set<TopicPartition>)] = [:]
        for (topic, partitions) in appended {
            for subscription in concerned(topic) {
                news[subscription.id, default: (subscription, [])].1.formUnion(partitions)
            }
        }
        for (subscription, partitions) in news.values { subscription.listener?.available(partitions) }
    }
}
