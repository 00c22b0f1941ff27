import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// One gateway's consumers over fakes, driven by hand: nothing happens but in `settle`, `clock.advance` and calls.
final class Harness {
    let clock: ManualClock
    let callbacks = PendingCallbacks()
    let source: FakeRecordSource
    let store: FakeOffsetStore
    let submitter: FakeSubmitter
    let consumers: Consumers
    let name = ConsumerName("c")!
    static let topic = TopicName("orders")!

    /// - Parameter seed: of the jitter of retries.
    init(
        partitions: Int32 = 1, settings: ConsumersSettings = ConsumersSettings(), epoch: UInt32 = 1, seed: UInt64 = 1
    ) throws {
        clock = ManualClock()
        source = FakeRecordSource(callbacks)
        store = FakeOffsetStore(callbacks)
        submitter = FakeSubmitter(callbacks)
        source.create(Self.topic, partitions: partitions)
        consumers = try Consumers(
            source: source, offsets: store, topics: source, submitter: submitter, clock: clock, timers: clock,
            epoch: epoch, settings: settings, makeJitter: { SeededGenerator(seed: seed) })
    }

    /// As after a crash of `old`: its callbacks never come, its fakes stay.
    init(
        after old: Harness, settings: ConsumersSettings = ConsumersSettings(), epoch: UInt32, seed: UInt64 = 1
    ) throws {
        clock = old.clock
        old.callbacks.close()
        source = FakeRecordSource(callbacks)
        store = FakeOffsetStore(callbacks, after: old.store)
        submitter = FakeSubmitter(callbacks, after: old.submitter)
        source.copy(from: old.source)
        consumers = try Consumers(
            source: source, offsets: store, topics: source, submitter: submitter, clock: clock, timers: clock,
            epoch: epoch, settings: settings, makeJitter: { SeededGenerator(seed: seed) })
    }

    func place(_ partition: Int32 = 0) -> TopicPartition { TopicPartition(topic: Self.topic, partition: partition) }
    func settle() { #expect(callbacks.runAll(), "callbacks without end") }
    func committed(_ partition: Int32 = 0) -> Int64? { store.offsets(name)[place(partition)]?.offset }

    func define(
        from: StartPosition = .earliest, ackDeadlineMs: Int64? = nil, maxInFlight: Int? = nil, replacing: Bool = false,
        topics: [TopicName] = [Harness.topic], mode: DeliveryMode = .ordered, maxDeliveries: Int? = nil,
        deadLetterTopic: TopicName? = nil
    ) -> Result<DefineOutcome, ConsumerError>? {
        let definition = ConsumerDefinition(
            topics: topics, from: from, mode: mode, ackDeadlineMs: ackDeadlineMs, maxInFlight: maxInFlight,
            maxDeliveries: maxDeliveries, deadLetterTopic: deadLetterTopic)
        let box = Box<Result<DefineOutcome, ConsumerError>>()
        consumers.define(name, definition, replacing: replacing) { box.set($0) }
        settle()
        return box.value
    }

    func start(_ request: PollRequest) -> Box<Result<PollAnswer, ConsumerError>> {
        let box = Box<Result<PollAnswer, ConsumerError>>()
        box.handle = consumers.poll(request) { box.set($0) }
        return box
    }

    /// A poll to its end; nil while it waits.
    func poll(
        max: Int = 100, maxBytes: Int = 1 << 20, wait: Duration = .zero, client: String? = nil
    ) -> Result<PollAnswer, ConsumerError>? {
        let box = start(PollRequest(consumer: name, max: max, maxBytes: maxBytes, wait: wait, client: client))
        settle()
        return box.value
    }

    /// The records of a poll that has to succeed.
    func take(
        max: Int = 100, maxBytes: Int = 1 << 20, client: String? = nil, _ location: SourceLocation = #_sourceLocation
    ) throws -> PollAnswer {
        let result = try #require(poll(max: max, maxBytes: maxBytes, client: client), sourceLocation: location)
        return try result.get()
    }

    func acknowledge(_ acknowledgement: LeaseSelector) -> Result<LeaseResult, ConsumerError>? {
        let box = Box<Result<LeaseResult, ConsumerError>>()
        consumers.acknowledge(name, acknowledgement) { box.set($0) }
        settle()
        return box.value
    }

    func giveBack(
        _ selector: LeaseSelector, delay: Duration? = nil, reason: String? = nil
    ) -> Result<LeaseResult, ConsumerError>? {
        let box = Box<Result<LeaseResult, ConsumerError>>()
        consumers.giveBack(name, selector, delay: delay, reason: reason) { box.set($0) }
        settle()
        return box.value
    }

    func extend(_ selector: LeaseSelector, by deadline: Duration) -> Result<LeaseResult, ConsumerError>? {
        let box = Box<Result<LeaseResult, ConsumerError>>()
        consumers.extend(name, selector, deadline: deadline) { box.set($0) }
        settle()
        return box.value
    }

    func seek(_ target: SeekTarget) -> Result<[TopicPartition: Int64], ConsumerError>? {
        let box = Box<Result<[TopicPartition: Int64], ConsumerError>>()
        consumers.seek(name, to: target) { box.set($0) }
        settle()
        return box.value
    }

    func describe() throws -> ConsumerDescription {
        let box = Box<Result<ConsumerDescription, ConsumerError>>()
        consumers.describe(name) { box.set($0) }
        settle()
        return try #require(box.value).get()
    }
}

/// What a completion brought; a second call is a failure.
final class Box<Value: Sendable>: Sendable {
    private let state = Lock<(value: Value?, handle: PollHandle?)>((nil, nil))

    var value: Value? { state.withLock { $0.value } }
    var handle: PollHandle? {
        get { state.withLock { $0.handle } }
        set { state.withLock { $0.handle = newValue } }
    }

    func set(_ value: Value) {
        let isFirst = state.withLock { state in
            defer { state.value = value }
            return state.value == nil
        }
        #expect(isFirst, "completed twice")
    }
}

extension PollAnswer {
    var offsets: [Int64] { records.map(\.record.offset) }
    var attempts: [Int] { records.map(\.attempt) }
    func id(_ offset: Int64, partition: Int32 = 0) -> String {
        records.first { $0.record.offset == offset && $0.record.partition.partition == partition }?.id ?? "missing"
    }
}

extension Result where Failure == ConsumerError {
    var errorCode: String? { if case .failure(let error) = self { error.code } else { nil } }
}
