import Broker
import Primitives
import Records
import Testing

@testable import EmbeddedBroker

/// Writes down what it is told.
private final class Listener: SubscriptionDelegate {
    enum Call: Equatable, Sendable {
        case assigned([TopicPartition])
        case revoked([TopicPartition])
        case available(Set<TopicPartition>)
    }

    private let calls = Lock<[Call]>([])

    func assigned(_ partitions: [TopicPartition]) { calls.withLock { $0.append(.assigned(partitions)) } }
    func revoked(_ partitions: [TopicPartition]) { calls.withLock { $0.append(.revoked(partitions)) } }
    func available(_ partitions: Set<TopicPartition>) { calls.withLock { $0.append(.available(partitions)) } }

    func take() -> [Call] {
        calls.withLock { calls in
            defer { calls = [] }
            return calls
        }
    }
}

private func partitions(_ topic: TopicName, _ count: Int32 = 4) -> [TopicPartition] {
    (0..<count).map { TopicPartition(topic: topic, partition: $0) }
}

@Suite struct SubscriptionTests {
    @Test func closedSubscription_HearsNothingAndItsFetchesFail() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let listener = Listener()
        let subscription = try harness.broker.subscribe(consumer: billing, topics: [orders], delegate: listener)
        try harness.settle()
        _ = listener.take()
        subscription.close()
        subscription.close()
        try harness.sink().deliver([outgoing(1)])
        _ = try harness.delete(orders)
        try harness.settle()
        #expect(listener.take() == [])
        let request = FetchRequest(partition: partitions(orders)[0], offset: 0, recordsMax: 1, bytesMax: 1)
        let error = try brokerError { _ = try answer { subscription.fetch(request, completion: $0) } }
        #expect(error.code == "subscription_closed")
    }

    @Test func subscription_RefusesTopicsOfOthers() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(payments)
        let listener = Listener()
        let subscription = try harness.broker.subscribe(consumer: billing, topics: [orders], delegate: listener)
        let request = FetchRequest(partition: partitions(payments)[0], offset: 0, recordsMax: 1, bytesMax: 1)
        try expectRefusal { _ = try answer { subscription.fetch(request, completion: $0) } }
    }

    @Test func subscriptionsMax_Refuses_AndClosingMakesRoom() throws {
        let harness = try BrokerHarness { $0.subscriptionsMax = 1 }
        let listener = Listener()
        let first = try harness.broker.subscribe(consumer: billing, topics: [orders], delegate: listener)
        let error = try brokerError {
            _ = try harness.broker.subscribe(consumer: billing, topics: [orders], delegate: listener)
        }
        #expect(error.code == "too_many_subscriptions")
        first.close()
        _ = try harness.broker.subscribe(consumer: billing, topics: [orders], delegate: listener)
    }

    @Test func subscription_IsAssignedOnceWhatIsThere_AndWhatIsCreatedLater_AndRevokedWhatIsDeleted() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let listener = Listener()
        let subscription = try harness.broker.subscribe(
            consumer: billing, topics: [orders, payments, orders], delegate: listener)
        try harness.settle()
        #expect(listener.take() == [.assigned(partitions(orders))])
        _ = try harness.create(payments, TopicSettings(partitions: 2))
        #expect(listener.take() == [.assigned(partitions(payments, 2))])
        _ = try harness.delete(orders)
        #expect(listener.take() == [.revoked(partitions(orders))])
        // By a hand-over: first assigned, then told of the records.
        let topic = try #require(TopicName("later"))
        let second = Listener()
        let later = try harness.broker.subscribe(consumer: billing, topics: [topic], delegate: second)
        try harness.sink().deliver([outgoing(1, topic, partition: 3)])
        #expect(second.take() == [.assigned(partitions(topic)), .available([partitions(topic)[3]])])
        for subscription in [subscription, later] { subscription.close() }
    }

    @Test func wakeUps_ReachOnlyThoseConcerned_WithTheirPartitions() throws {
        let harness = try BrokerHarness()
        for topic in [orders, payments] { _ = try harness.create(topic) }
        let (both, one, other) = (Listener(), Listener(), Listener())
        let open = try [(both, [orders, payments]), (one, [orders]), (other, [payments])].map { listener, topics in
            try harness.broker.subscribe(consumer: billing, topics: topics, delegate: listener)
        }
        try harness.settle()
        for listener in [both, one, other] { _ = listener.take() }
        let sink = try harness.sink()
        try sink.deliver([outgoing(1, partition: 1), outgoing(2, partition: 2), outgoing(3, partition: 1)])
        #expect(both.take() == [.available([partitions(orders)[1], partitions(orders)[2]])])
        #expect(one.take() == [.available([partitions(orders)[1], partitions(orders)[2]])])
        #expect(other.take() == [])
        // Neither a refused hand-over nor a checkpoint alone wakes anybody.
        try expectRefusal { try sink.deliver([outgoing(4, partition: 9)]) }
        _ = try sink.deliver([], checkpoint: checkpoint(4))
        for listener in [both, one, other] { #expect(listener.take() == []) }
        for subscription in open { subscription.close() }
    }

    @Test func delegate_IsHeldWeakly() throws {
        let harness = try BrokerHarness()
        weak var gone: Listener?
        let subscription: any Subscription
        do {
            let listener = Listener()
            gone = listener
            subscription = try harness.broker.subscribe(consumer: billing, topics: [orders], delegate: listener)
            try harness.settle()
        }
        #expect(gone == nil)
        try harness.sink().deliver([outgoing(1)])
        subscription.close()
    }
}
