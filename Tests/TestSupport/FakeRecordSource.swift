public import Broker
import Primitives
public import Records

/// A broker's threads as a queue that the test runs: what is called back waits here.
public final class PendingCallbacks: Sendable {
    private let queue = Lock<[@Sendable () -> Void]>([])
    private let isClosed = Lock(false)

    public init() {}

    public var count: Int { queue.withLock { $0.count } }

    public func add(_ callback: @escaping @Sendable () -> Void) {
        if !isClosed.withLock({ $0 }) { queue.withLock { $0.append(callback) } }
    }

    /// Runs one, the oldest by default. - Returns: false when there is none.
    @discardableResult
    public func runOne(at index: Int = 0) -> Bool {
        let callback = queue.withLock { $0.indices.contains(index) ? $0.remove(at: index) : nil }
        callback?()
        return callback != nil
    }

    /// Until nothing is left, with a bound so that a loop in the code under test fails instead of hanging.
    /// - Returns: false when the bound was reached.
    @discardableResult
    public func runAll(limit: Int = 100_000) -> Bool {
        for _ in 0..<limit { if !runOne() { return true } }
        return false
    }

    /// As a crash does: nothing of what waits happens, nor anything that the process, woken by a timer, still asks for.
    public func close() {
        isClosed.withLock { $0 = true }
        queue.withLock { $0 = [] }
    }
}

/// Topics in memory, with gaps where a test wants them, failing and revoking when told. Also the topic administration.
public final class FakeRecordSource: RecordSource, TopicAdmin {
    public struct Partition: Sendable {
        public var records: [StoredRecord] = []
        public var low: Int64 = 0
        public var end: Int64 = 0
    }

    private struct State {
        var partitions: [TopicPartition: Partition] = [:]
        var subscriptions: [FakeSubscription] = []
        var fetchErrors: [BrokerError] = []
        var subscribeErrors: [BrokerError] = []
        var fetches: [FetchRequest] = []
        var watches: [FakeWatch] = []
        var isAssigning = true
        var recordBytesMax: [TopicName: Int] = [:]
        var forgotten: Set<TopicName> = []
    }

    public let callbacks: PendingCallbacks
    private let state = Lock(State())

    public init(_ callbacks: PendingCallbacks) { self.callbacks = callbacks }

    // MARK: What tests do

    /// `knowledge` does not tell of the topic any more; `verify` does.
    public func forget(_ topic: TopicName) { state.withLock { _ = $0.forgotten.insert(topic) } }

    public func create(_ topic: TopicName, partitions: Int32) {
        state.withLock { state in
            for number in 0..<partitions {
                let place = TopicPartition(topic: topic, partition: number)
                if state.partitions[place] == nil { state.partitions[place] = Partition() }
            }
        }
    }

    /// Appends a record behind `gap` offsets that hold none; wakes subscribers.
    @discardableResult
    public func append(_ place: TopicPartition, gap: Int64 = 0, bytes: Int = 1, timestampMs: Int64 = 0) -> Int64 {
        let offset = partition(place).end + gap
        let value = [UInt8](repeating: UInt8(truncatingIfNeeded: offset), count: bytes)
        append(
            StoredRecord(
                partition: place, offset: offset, record: Record(key: nil, value: value[...], timestampMs: timestampMs))
        )
        return offset
    }

    /// Appends a record at its offset, which is at or past the end; wakes subscribers.
    public func append(_ record: StoredRecord) {
        let place = record.partition
        let listeners = state.withLock { state in
            state.partitions[place, default: Partition()].records.append(record)
            state.partitions[place, default: Partition()].end = record.offset + 1
            return state.subscriptions
        }
        for listener in listeners { listener.tellAvailable(place) }
        tellWatches { $0 == place }
    }

    /// Moves the end over offsets without records, as transaction markers do.
    public func appendGap(_ place: TopicPartition, _ count: Int64) {
        state.withLock { $0.partitions[place]?.end += count }
        for listener in state.withLock({ $0.subscriptions }) { listener.tellAvailable(place) }
        tellWatches { $0 == place }
    }

    /// Retention: offsets below are gone.
    public func raiseLow(_ place: TopicPartition, to low: Int64) {
        state.withLock { state in
            state.partitions[place]?.records.removeAll { $0.offset < low }
            let end = state.partitions[place]?.end ?? 0
            state.partitions[place]?.low = low
            state.partitions[place]?.end = max(low, end)
        }
    }

    /// Default: 1 MiB.
    public func setRecordBytesMax(_ topic: TopicName, _ bytes: Int) {
        state.withLock { $0.recordBytesMax[topic] = bytes }
    }

    /// Compaction: one record is gone.
    public func compact(_ place: TopicPartition, _ offset: Int64) {
        state.withLock { $0.partitions[place]?.records.removeAll { $0.offset == offset } }
    }

    /// The next fetches fail with these, one each.
    public func failFetches(_ errors: [BrokerError]) { state.withLock { $0.fetchErrors += errors } }
    public func clearFailures() { state.withLock { $0.fetchErrors = [] } }
    public func failSubscriptions(_ errors: [BrokerError]) { state.withLock { $0.subscribeErrors += errors } }
    /// Later subscriptions get no partitions until `assignAll`.
    public func holdAssignments() { state.withLock { $0.isAssigning = false } }
    public func assignAll() {
        let (subscriptions, partitions) = state.withLock { state in
            state.isAssigning = true
            return (state.subscriptions, state.partitions.keys.sorted())
        }
        for subscription in subscriptions { subscription.tellAssigned(partitions) }
    }

    public func revoke(_ partitions: [TopicPartition]) {
        for subscription in state.withLock({ $0.subscriptions }) { subscription.tellRevoked(partitions) }
    }

    public func assign(_ partitions: [TopicPartition]) {
        for subscription in state.withLock({ $0.subscriptions }) { subscription.tellAssigned(partitions) }
    }

    /// The same topics and records; subscriptions do not come along.
    public func copy(from other: FakeRecordSource) {
        let partitions = other.state.withLock { $0.partitions }
        state.withLock { $0.partitions = partitions }
    }

    public var subscriptionCount: Int { state.withLock { $0.subscriptions.count } }
    public var watchCount: Int { state.withLock { $0.watches.count } }
    public var fetchCount: Int { state.withLock { $0.fetches.count } }
    public func partition(_ place: TopicPartition) -> Partition {
        state.withLock { $0.partitions[place] ?? Partition() }
    }

    // MARK: RecordSource

    public func subscribe(
        consumer: ConsumerName, topics: [TopicName], delegate: any SubscriptionDelegate
    ) throws(BrokerError) -> any Subscription {
        let subscription = FakeSubscription(self, delegate)
        let (assigned, error) = state.withLock { state -> ([TopicPartition]?, BrokerError?) in
            if !state.subscribeErrors.isEmpty { return (nil, state.subscribeErrors.removeFirst()) }
            state.subscriptions.append(subscription)
            let all = state.partitions.keys.sorted().filter { topics.contains($0.topic) }
            return (state.isAssigning ? all : nil, nil)
        }
        if let error { throw error }
        if let assigned { subscription.tellAssigned(assigned) }
        return subscription
    }

    public func fetch(
        _ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void
    ) {
        callbacks.add { [self] in
            guard state.withLock({ $0.partitions[request.partition] != nil }) else {
                let detail = "\(request.partition)"
                return completion(.failure(BrokerError(.recordFatal, code: "unknown_topic", detail: detail)))
            }
            completion(read(request))
        }
    }

    /// Tells by `callbacks`, at the next append, and also when the topic is deleted.
    public func watch(
        _ partition: TopicPartition, from offset: Int64, told: @escaping @Sendable () -> Void
    ) throws(BrokerError) -> (any PartitionWatch)? {
        let watch = FakeWatch(self, partition, told)
        let end = state.withLock { state -> Int64? in
            guard let here = state.partitions[partition] else { return nil }
            if here.end <= offset { state.watches.append(watch) }
            return here.end
        }
        guard let end else { throw BrokerError(.recordFatal, code: "unknown_topic", detail: "\(partition.topic)") }
        return end <= offset ? watch : nil
    }

    private func tellWatches(where isConcerned: (TopicPartition) -> Bool) {
        let told = state.withLock { state in
            let told = state.watches.filter { isConcerned($0.partition) }
            state.watches.removeAll { isConcerned($0.partition) }
            return told
        }
        for watch in told { callbacks.add(watch.told) }
    }

    fileprivate func left(_ watch: FakeWatch) {
        state.withLock { state in state.watches.removeAll { $0 === watch } }
    }

    fileprivate func read(_ request: FetchRequest) -> Result<FetchResult, BrokerError> {
        state.withLock { state in
            state.fetches.append(request)
            if !state.fetchErrors.isEmpty { return .failure(state.fetchErrors.removeFirst()) }
            let partition = state.partitions[request.partition] ?? Partition()
            let offset = max(request.offset, partition.low)
            let end = min(request.endOffset ?? partition.end, partition.end)
            var (found, bytes): ([StoredRecord], Int) = ([], 0)
            var next = max(offset, end)
            for record in partition.records where record.offset >= offset && record.offset < end {
                let isFull =
                    found.count >= request.recordsMax
                    || !found.isEmpty && bytes + record.record.bytes > request.bytesMax
                if isFull {
                    next = record.offset
                    break
                }
                found.append(record)
                bytes += record.record.bytes
            }
            return .success(
                FetchResult(
                    records: found, nextOffset: next, lowWatermark: partition.low, highWatermark: partition.end))
        }
    }

    fileprivate func left(_ subscription: FakeSubscription) {
        state.withLock { state in state.subscriptions.removeAll { $0 === subscription } }
    }

    // MARK: TopicAdmin

    public func knowledge(of topic: TopicName) -> TopicKnowledge {
        state.withLock { $0.forgotten.contains(topic) } ? .unverified : truth(of: topic)
    }

    private func truth(of topic: TopicName) -> TopicKnowledge {
        let (count, bytesMax) = state.withLock { state in
            (state.partitions.keys.count { $0.topic == topic }, state.recordBytesMax[topic] ?? 1 << 20)
        }
        return count == 0 ? .missing : .known(KnownTopic(partitions: Int32(count), recordBytesMax: bytesMax))
    }

    public func verify(_ topic: TopicName, completion: @escaping @Sendable (TopicKnowledge) -> Void) {
        callbacks.add { [self] in completion(truth(of: topic)) }
    }

    public func topics(completion: @escaping @Sendable (Result<[TopicName], BrokerError>) -> Void) {
        let names = state.withLock { state in Set(state.partitions.keys.map(\.topic)).sorted() }
        callbacks.add { completion(.success(names)) }
    }

    public func describe(
        _ topic: TopicName, completion: @escaping @Sendable (Result<TopicDescription?, BrokerError>) -> Void
    ) {
        callbacks.add { [self] in
            let partitions = state.withLock { state in
                state.partitions.filter { $0.key.topic == topic }.sorted { $0.key < $1.key }.map { place, partition in
                    PartitionDescription(
                        partition: place.partition, leader: 0, replicas: [0], inSyncReplicas: [0],
                        lowWatermark: partition.low, highWatermark: partition.end)
                }
            }
            let description = TopicDescription(
                name: topic, partitions: partitions, settings: TopicSettings(), warnings: [])
            completion(.success(partitions.isEmpty ? nil : description))
        }
    }

    public func create(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) {
        let isNew = truth(of: topic) == .missing
        create(topic, partitions: settings.partitions ?? 1)
        callbacks.add { completion(.success(isNew)) }
    }

    public func configure(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) {
        let exists = truth(of: topic) != .missing
        callbacks.add { completion(.success(exists)) }
    }

    public func purge(
        _ topic: TopicName, below offsets: [Int32: Int64],
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) {
        for (number, offset) in offsets { raiseLow(TopicPartition(topic: topic, partition: number), to: offset) }
        callbacks.add { completion(.success(offsets)) }
    }

    public func delete(_ topic: TopicName, completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void) {
        let existed = truth(of: topic) != .missing
        state.withLock { state in state.partitions = state.partitions.filter { $0.key.topic != topic } }
        tellWatches { $0.topic == topic }
        callbacks.add { completion(.success(existed)) }
    }

    public func offsets(
        of topic: TopicName, atOrAfterMs timestampMs: Int64,
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) {
        callbacks.add { [self] in
            let found = state.withLock { state in
                state.partitions.filter { $0.key.topic == topic }.map { place, partition in
                    let first = partition.records.first { $0.record.timestampMs >= timestampMs }
                    return (place.partition, first?.offset ?? partition.end)
                }
            }
            completion(.success(Dictionary(uniqueKeysWithValues: found)))
        }
    }
}

/// A wait for records of `FakeRecordSource`.
public final class FakeWatch: PartitionWatch {
    fileprivate let partition: TopicPartition
    fileprivate let told: @Sendable () -> Void
    private let source: FakeRecordSource

    init(_ source: FakeRecordSource, _ partition: TopicPartition, _ told: @escaping @Sendable () -> Void) {
        self.source = source
        self.partition = partition
        self.told = told
    }

    public func cancel() { source.left(self) }
}

/// A membership in `FakeRecordSource`.
public final class FakeSubscription: Subscription {
    private let source: FakeRecordSource
    // SAFETY: `delegate` is written once in init; weak references are read atomically.
    private final class WeakDelegate: @unchecked Sendable {
        weak let delegate: (any SubscriptionDelegate)?
        init(_ delegate: any SubscriptionDelegate) { self.delegate = delegate }
    }

    private let listener: WeakDelegate
    private let isOpen = Lock(true)

    init(_ source: FakeRecordSource, _ delegate: any SubscriptionDelegate) {
        self.source = source
        listener = WeakDelegate(delegate)
    }

    fileprivate func tellAssigned(_ partitions: [TopicPartition]) {
        source.callbacks.add { [listener] in listener.delegate?.assigned(partitions) }
    }

    fileprivate func tellRevoked(_ partitions: [TopicPartition]) {
        source.callbacks.add { [listener] in listener.delegate?.revoked(partitions) }
    }

    fileprivate func tellAvailable(_ partition: TopicPartition) {
        source.callbacks.add { [listener] in listener.delegate?.available([partition]) }
    }

    public func fetch(
        _ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void
    ) {
        source.callbacks.add { [self] in
            guard isOpen.withLock({ $0 }) else {
                return completion(.failure(BrokerError(.retriable, code: "closed", detail: "left the group")))
            }
            completion(source.read(request))
        }
    }

    public func close() {
        isOpen.withLock { $0 = false }
        source.left(self)
    }
}
