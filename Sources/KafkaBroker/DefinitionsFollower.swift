import Broker
import CRdkafka
import Logging
import Primitives
import Records

/// Reads the definitions' topic from its beginning, then follows it: what any gateway defines or forgets is known here
/// a moment later. One thread, with a client of its own; a cluster that is away is waited for.
// SAFETY: everything mutable is behind `state`.
final class DefinitionsFollower: @unchecked Sendable {
    private struct State {
        var table: [ConsumerName: ByteSlice] = [:]
        var isLoaded = false
        /// Why it is not loaded.
        var problem: BrokerError?
        /// The last write of this process that was not read back yet.
        var written: [ConsumerName: UInt64] = [:]
        var nextWrite: UInt64 = 1
        /// Changed by another gateway since our last write was told.
        var foreign: Set<ConsumerName> = []
        var isStarted = false
        var hasEnded = false
        var isStopping = false
        weak var watcher: (any DefinitionWatcher)?
    }

    /// Names this process among all that write.
    let process = UInt64.random(in: 1...UInt64.max)
    private let settings: KafkaBrokerSettings
    let topic: OwnTopic
    private let place: TopicPartition
    private let interruption: Interruption
    private let state = Monitor(State())
    private let clock = SystemClock()
    let log = Logger(label: "postrider.kafka.definitions")

    private static let pollMs: Int32 = 200
    /// Failures in a row that are told to nobody: of a topic that was just made not all brokers know.
    private static let failuresUntold = 2

    init(settings: KafkaBrokerSettings, interruption: Interruption) throws(BrokerError) {
        topic = try OwnTopic(named: settings.consumersTopic, settings)
        self.settings = settings
        self.interruption = interruption
        place = TopicPartition(topic: topic.name, partition: DefinitionsTopic.partition)
    }

    /// Every definition. Blocks until they are read, at most `limit`; begins with the first call.
    ///
    /// - Throws: why they are not known; retriable, unless a setting is wrong.
    func load(within limit: Duration) throws(BrokerError) -> [ConsumerDefinitionBytes] {
        state.withLock { state in
            guard !state.isStarted, !state.isStopping else { return }
            state.isStarted = true
            _ = WorkerThread(name: "kafka-defs") { [self] in run() }
        }
        let loaded = state.wait(until: clock.now() + limit) {
            state -> Result<[ConsumerDefinitionBytes], BrokerError>? in
            if state.isLoaded { return .success(Self.list(state.table)) }
            return state.problem.flatMap { $0.class == .processFatal ? .failure($0) : nil }
        }
        if let loaded { return try loaded.get() }
        throw state.withLock { $0.problem }
            ?? BrokerError(.retriable, code: "consumers_unverified", detail: "the definitions are not read yet")
    }

    /// - Parameter watcher: held weakly; told on the follower's thread.
    func tell(_ watcher: any DefinitionWatcher) {
        let known = state.withLock { state in
            state.watcher = watcher
            return state.isLoaded ? Self.list(state.table) : nil
        }
        if let known { watcher.definitionsLoaded(known) }
    }

    var names: [ConsumerName] { state.withLock { Array($0.table.keys) } }

    /// Numbers a write, which `body` queues: numbers are in the order of the topic.
    func write<Failure: Error>(
        _ name: ConsumerName, _ body: (DefinitionsTopic.Writer) throws(Failure) -> Void
    ) throws(Failure) {
        try state.withLock { state throws(Failure) in
            try body(DefinitionsTopic.Writer(process: process, number: state.nextWrite))
            state.written[name] = state.nextWrite
            state.nextWrite += 1
        }
    }

    /// Blocks, `closeTimeout` at most: a thread that waits for the cluster longer ends by itself.
    func stop() {
        state.withLock { $0.isStopping = true }
        state.broadcast()
        _ = state.wait(until: clock.now() + settings.closeTimeout) { !$0.isStarted || $0.hasEnded ? true : nil }
    }

    // MARK: The thread

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    private func run() {
        var backoff = Backoff(initial: .milliseconds(100), cap: .seconds(2))
        var failures = 0
        var told: String?
        while !isStopping {
            do throws(BrokerError) {
                var configuration = ClientConfiguration(settings: settings, role: .reader)
                configuration.prefetchBytes = settings.readerBytes
                let client = try KafkaClient(configuration)
                defer { client.close(within: settings.closeTimeout) }
                try follow(client) {
                    backoff.reset()
                    (failures, told) = (0, nil)
                }
            } catch {
                failures += 1
                if failures > Self.failuresUntold, told != error.code {
                    log.warning(
                        "the consumers' definitions cannot be read; it is tried again",
                        metadata: ["error": "\(error)"])
                    told = error.code
                }
                state.withLock { $0.problem = error }
                state.broadcast()
                _ = state.wait(until: clock.now() + backoff.nextDelay()) { $0.isStopping ? true : nil }
            }
        }
        state.withLock { $0.hasEnded = true }
        state.broadcast()
    }

    /// Returns when the topic has to be read from its beginning again.
    ///
    /// - Parameter loaded: called when everything up to the end was read.
    private func follow(_ client: KafkaClient, loaded: () -> Void) throws(BrokerError) {
        try topic.ensure(client, settings, interruption, log)
        let (low, end) = try client.watermarks(of: place, within: settings.adminTimeout, interruption)
        let list = TopicPartitionList()
        list.add(place, offset: low)
        let code = list.withPointer { rd_kafka_assign(client.handle, $0) }
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw ErrorTable.brokerError(KafkaError(code)) }
        var loading: [ConsumerName: ByteSlice]? = [:]
        var position = low
        while !isStopping {
            if position >= end, let table = loading {
                loading = nil
                publish(table)
                loaded()
            }
            guard let raw = rd_kafka_consumer_poll(client.handle, Self.pollMs) else { continue }
            let message = FetchedMessage(consuming: raw)
            guard message.partition == place else { continue }
            switch message.code {
            case RD_KAFKA_RESP_ERR_NO_ERROR:
                position = message.offset + 1
                guard let change = DefinitionsTopic.change(message) else {
                    log.warning("not a consumer's definition", metadata: ["offset": "\(message.offset)"])
                    continue
                }
                if loading != nil {
                    loading?[change.name] = change.bytes
                } else {
                    apply(change)
                }
            case RD_KAFKA_RESP_ERR__PARTITION_EOF: position = max(position, message.offset)
            // Compaction or a new topic: what was read may not hold any more.
            case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return
            default: throw ErrorTable.brokerError(message.error)
            }
        }
    }

    private func publish(_ table: [ConsumerName: ByteSlice]) {
        let watcher = state.withLock { state in
            state.table = table
            state.isLoaded = true
            state.problem = nil
            return state.watcher
        }
        state.broadcast()
        log.info("read the consumers' definitions", metadata: ["count": "\(table.count)"])
        watcher?.definitionsLoaded(Self.list(table))
    }

    private func apply(_ change: DefinitionsTopic.Change) {
        let watcher = state.withLock { state -> (any DefinitionWatcher)? in
            state.table[change.name] = change.bytes
            guard let writer = change.writer, writer.process == process else {
                state.foreign.insert(change.name)
                return state.watcher
            }
            // Whoever wrote it here knows. But where another gateway's came near it, the topic's order decides.
            guard state.written[change.name] == writer.number else { return nil }
            state.written[change.name] = nil
            guard state.foreign.remove(change.name) != nil else { return nil }
            return state.watcher
        }
        watcher?.definitionChanged(change.name, change.bytes)
    }

    private static func list(_ table: [ConsumerName: ByteSlice]) -> [ConsumerDefinitionBytes] {
        table.map { ConsumerDefinitionBytes(name: $0.key, bytes: $0.value) }.sorted { $0.name < $1.name }
    }
}
