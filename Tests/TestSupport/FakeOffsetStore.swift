public import Broker
public import Primitives
public import Records

/// Committed offsets in memory. A commit is written when its callback runs, so dropping the callbacks is a crash before
/// the sync; `Failure.afterWriting` is one whose answer was lost.
public final class FakeOffsetStore: OffsetStore {
    public enum Failure: Sendable, CaseIterable {
        case beforeWriting
        case afterWriting
    }

    private struct State {
        var definitions: [ConsumerName: ByteSlice] = [:]
        var offsets: [ConsumerName: [TopicPartition: CommittedOffset]] = [:]
        var failures: [Failure] = []
        var readFailures = 0
        var isReadingEarly = false
        var commits = 0
        var isUnreadable = false
        weak var watcher: (any DefinitionWatcher)?
    }

    public static let error = BrokerError(.retriable, code: "store_failed", detail: "as told by the test")

    private let callbacks: PendingCallbacks
    private let state: Lock<State>

    /// - Parameter old: of a process that crashed: what it stored, seen by the next one on threads of its own.
    public init(_ callbacks: PendingCallbacks, after old: FakeOffsetStore? = nil) {
        self.callbacks = callbacks
        state = old?.state ?? Lock(State())
    }

    /// The next writes fail, one each.
    public func failWrites(_ failures: [Failure]) { state.withLock { $0.failures += failures } }
    public func clearFailures() { state.withLock { $0.failures = [] } }
    /// From now on a read tells what was there when it was asked, not when it answers.
    public func readEarly() { state.withLock { $0.isReadingEarly = true } }
    public func failReads(_ count: Int) { state.withLock { $0.readFailures += count } }
    public var commitCount: Int { state.withLock { $0.commits } }
    public func offsets(_ consumer: ConsumerName) -> [TopicPartition: CommittedOffset] {
        state.withLock { $0.offsets[consumer] ?? [:] }
    }

    /// Writes as another tool or an older process would.
    public func set(_ consumer: ConsumerName, _ partition: TopicPartition, _ offset: CommittedOffset) {
        state.withLock { $0.offsets[consumer, default: [:]][partition] = offset }
    }

    public func setDefinition(_ consumer: ConsumerName, _ bytes: ByteSlice) {
        state.withLock { $0.definitions[consumer] = bytes }
    }

    /// Definitions cannot be read for now.
    public func hideDefinitions() { state.withLock { $0.isUnreadable = true } }

    /// As if another gateway on the same store had done it, or the store came back.
    public func tell(_ body: (any DefinitionWatcher) -> Void) {
        if let watcher = state.withLock({ $0.watcher }) { body(watcher) }
    }

    private func write(
        _ completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void,
        _ change:
            @escaping @Sendable (
                inout [ConsumerName: ByteSlice], inout [ConsumerName: [TopicPartition: CommittedOffset]]
            ) -> Void
    ) {
        callbacks.add { [self] in
            let failure = state.withLock { state -> Failure? in
                let failure = state.failures.isEmpty ? nil : state.failures.removeFirst()
                state.commits += 1
                if failure != .beforeWriting { change(&state.definitions, &state.offsets) }
                return failure
            }
            completion(failure == nil ? .success(()) : .failure(Self.error))
        }
    }

    public func committed(
        consumer: ConsumerName, of partitions: [TopicPartition],
        completion: @escaping @Sendable (Result<[TopicPartition: CommittedOffset], BrokerError>) -> Void
    ) {
        let wanted = Set(partitions)
        let early = state.withLock { $0.isReadingEarly ? $0.offsets[consumer] ?? [:] : nil }
        callbacks.add { [self] in
            let offsets = state.withLock { state -> [TopicPartition: CommittedOffset]? in
                if state.readFailures > 0 {
                    state.readFailures -= 1
                    return nil
                }
                return (early ?? state.offsets[consumer] ?? [:]).filter { wanted.contains($0.key) }
            }
            completion(offsets.map { .success($0) } ?? .failure(Self.error))
        }
    }

    public func commit(
        consumer: ConsumerName, offsets: [TopicPartition: CommittedOffset],
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void
    ) {
        write(completion) { _, all in all[consumer, default: [:]].merge(offsets) { $1 } }
    }

    public func define(
        _ definition: ConsumerDefinitionBytes, offsets: [TopicPartition: CommittedOffset], replacing: Bool,
        completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void
    ) {
        write(completion) { definitions, all in
            definitions[definition.name] = definition.bytes
            var kept = all[definition.name] ?? [:]
            if replacing {
                let topics = Set(offsets.keys.map(\.topic))
                kept = kept.filter { topics.contains($0.key.topic) }
            }
            all[definition.name] = kept.merging(offsets) { $1 }
        }
    }

    public func forget(consumer: ConsumerName, completion: @escaping @Sendable (Result<Void, BrokerError>) -> Void) {
        write(completion) { definitions, all in
            definitions[consumer] = nil
            all[consumer] = nil
        }
    }

    public func definitions() throws(BrokerError) -> [ConsumerDefinitionBytes] {
        try state.withLock { state throws(BrokerError) in
            if state.isUnreadable { throw Self.error }
            return state.definitions.map { ConsumerDefinitionBytes(name: $0.key, bytes: $0.value) }
        }
    }

    public func watchDefinitions(_ watcher: any DefinitionWatcher) { state.withLock { $0.watcher = watcher } }
}
