import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import TestSupport
import Testing

@testable import KafkaBroker

/// One gateway's reading side over a cluster, with a producer to fill topics.
final class SourceHarness {
    let settings: KafkaBrokerSettings
    let source: KafkaSource
    let offsets: KafkaOffsets
    /// Of the daily work; everything else goes by the system's.
    let clock = ManualClock()
    private let producer: KafkaClient

    /// Time for anything that has to happen; never reached by a test that passes.
    static let patience = testPatience

    init(_ bootstrapServers: String, change: (inout KafkaBrokerSettings) -> Void = { _ in }) throws {
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = bootstrapServers
        settings.socketTimeout = .seconds(2)
        settings.properties["session.timeout.ms"] = "6000"
        settings.properties["heartbeat.interval.ms"] = "300"
        settings.properties["log_level"] = "3"
        change(&settings)
        self.settings = settings
        source = KafkaSource(settings: settings)
        offsets = try KafkaOffsets(settings: settings, source: source, clock: clock, timers: clock)
        producer = try KafkaClient(ClientConfiguration(settings: settings, role: .idempotentProducer))
    }

    convenience init(_ cluster: MockCluster, change: (inout KafkaBrokerSettings) -> Void = { _ in }) throws {
        try self.init(cluster.bootstrapServers) { settings in
            settings.deletesGroups = false
            change(&settings)
        }
    }

    deinit {
        offsets.stop()
        source.stop()
        producer.close(within: .seconds(5))
    }

    func produce(_ place: TopicPartition, _ values: [String]) throws {
        for value in values {
            let bytes = Array(value.utf8)
            try check(
                pr_produce_by_name(
                    producer.handle, place.topic.text, place.partition, nil, 0, bytes, bytes.count, 0, nil, nil))
        }
        try check(rd_kafka_flush(producer.handle, 20_000))
    }

    /// Waits for a completion.
    func answer<Value: Sendable>(
        _ start: (@escaping @Sendable (Result<Value, BrokerError>) -> Void) -> Void
    ) throws -> Value {
        let result = waitForAnswer(within: Self.patience, start)
        return try #require(result, "no answer").get()
    }

    /// The same, again as long as the cluster is not ready: brokers learn of a new topic one after the other, and load
    /// a group before they answer for it.
    func answerOnceReady<Value: Sendable>(
        _ start: (@escaping @Sendable (Result<Value, BrokerError>) -> Void) -> Void
    ) throws -> Value {
        let end = patienceEnd()
        while true {
            do {
                return try answer(start)
            } catch let error as BrokerError where error.class == .retriable {
                guard SystemClock().now() < end else { throw error }
            }
        }
    }

    /// The code of the error that it has to end with.
    func refusal<Value: Sendable>(
        _ start: (@escaping @Sendable (Result<Value, BrokerError>) -> Void) -> Void
    ) throws -> String {
        do {
            _ = try answer(start)
            return "none"
        } catch let error as BrokerError {
            return error.code
        }
    }

    func read(_ place: TopicPartition, from offset: Int64, max: Int = 10_000) throws -> FetchResult {
        let request = FetchRequest(partition: place, offset: offset, recordsMax: max, bytesMax: 16 << 20)
        return try answer { source.fetch(request, completion: $0) }
    }

    func committed(_ consumer: ConsumerName, _ places: [TopicPartition]) throws -> [TopicPartition: Int64] {
        try answer { offsets.committed(consumer: consumer, of: places, completion: $0) }.mapValues(\.offset)
    }

    func commit(_ consumer: ConsumerName, _ place: TopicPartition, _ offset: Int64, metadata: String = "") throws {
        let value = [place: CommittedOffset(offset: offset, metadata: metadata)]
        try answer { offsets.commit(consumer: consumer, offsets: value, completion: $0) }
    }
}

/// A membership and what it was told.
final class MemberHarness: SubscriptionDelegate {
    struct State {
        var assigned: Set<TopicPartition> = []
        var isTold = false
        var assignments = 0
        var revocations = 0
        var available = 0
        /// Since they were last fetched from.
        var told: Set<TopicPartition> = []
    }

    /// A member of the consumer over a gateway of its own.
    static func joined(
        _ cluster: MockCluster, _ name: ConsumerName, _ topics: [TopicName],
        change: (inout KafkaBrokerSettings) -> Void = { _ in }
    ) throws -> (SourceHarness, MemberHarness) {
        let harness = try SourceHarness(cluster, change: change)
        let member = MemberHarness()
        try member.join(harness, name, topics)
        return (harness, member)
    }

    let state = Monitor(State())
    private let subscription = Lock<(any Subscription)?>(nil)

    func join(_ harness: SourceHarness, _ name: ConsumerName, _ topics: [TopicName]) throws {
        let joined = try harness.source.subscribe(consumer: name, topics: topics, delegate: self)
        subscription.withLock { $0 = joined }
    }

    func assigned(_ partitions: [TopicPartition]) {
        state.withLock { state in
            state.assigned.formUnion(partitions)
            state.assignments += 1
        }
        state.broadcast()
    }

    func revoked(_ partitions: [TopicPartition]) {
        state.withLock { state in
            state.assigned.subtract(partitions)
            state.revocations += 1
        }
        state.broadcast()
    }

    func available(_ partitions: Set<TopicPartition>) {
        state.withLock { state in
            state.available += 1
            state.told.formUnion(partitions)
        }
        state.broadcast()
    }

    func wait(_ what: String, within patience: Duration = testPatience, _ condition: (State) -> Bool) throws {
        let deadline = SystemClock().now() + patience
        try #require(state.wait(until: deadline) { condition($0) ? true : nil } == true, "\(what) never happened")
    }

    func close() { subscription.withLock { $0 }?.close() }

    func fetch(
        _ harness: SourceHarness, _ place: TopicPartition, from offset: Int64, to end: Int64? = nil, max: Int = 10_000
    ) throws -> FetchResult {
        let request = FetchRequest(
            partition: place, offset: offset, endOffset: end, recordsMax: max, bytesMax: 1 << 20)
        let subscription = try #require(subscription.withLock { $0 })
        state.withLock { _ = $0.told.remove(place) }
        return try harness.answer { subscription.fetch(request, completion: $0) }
    }

    /// From `offset` to the end as it is told.
    func readAll(_ harness: SourceHarness, _ place: TopicPartition, from offset: Int64 = 0) throws -> [Int64] {
        var (position, found): (Int64, [Int64]) = (offset, [])
        for _ in 0..<100_000 {
            let result = try fetch(harness, place, from: position, max: 500)
            found += result.records.map(\.offset)
            position = result.nextOffset
            if position >= result.highWatermark { return found }
            // On its way: it is told of.
            if result.records.isEmpty { try wait("news") { $0.told.contains(place) } }
        }
        Issue.record("no end after 100,000 fetches")
        return found
    }
}

/// Tries until it succeeds; an error in between has to be retriable.
func eventually<Value>(_ what: String, _ body: () throws -> Value?) throws -> Value {
    let deadline = patienceEnd()
    let pause = Monitor(())
    while SystemClock().now() < deadline {
        do {
            if let value = try body() { return value }
        } catch let error as BrokerError {
            #expect(error.class == .retriable, "\(error)")
        }
        _ = pause.wait(until: SystemClock().now() + .milliseconds(20)) { _ -> Bool? in nil }
    }
    throw BrokerError(.processFatal, code: "never", detail: what)
}

extension TopicPartition {
    /// - Precondition: a topic's name.
    init(_ topic: String, _ partition: Int32 = 0) { self.init(topic: TopicName(topic)!, partition: partition) }
}
