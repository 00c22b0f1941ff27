import Broker
import CRdkafka
import Logging
import CoreMetrics
import Primitives
import Records

/// Tells who waits for records without a group. One client, without a group, reads every partition that is waited for
/// from where its watches begin; its first record wakes them. Answers are small: nobody reads the records here.
// SAFETY: `assigned` is used by the poll thread only; the rest is behind locks.
final class Watcher: @unchecked Sendable {
    private struct State {
        var table: WatchTable
        var told: [UInt64: @Sendable () -> Void] = [:]
        /// Partitions whose watches changed.
        var changed: Set<TopicPartition> = []
        var next: UInt64 = 1
        var thread: WorkerThread?
        var isStopping = false
        /// The consumer's, while it polls.
        var queue: OpaquePointer?
    }

    private static let pollMaxMs: Int32 = 1_000

    private let settings: KafkaBrokerSettings
    private let state: Monitor<State>
    private let log = Logger(label: "postrider.kafka.watches")
    /// Partitions in the client's assignment.
    private var assigned: Set<TopicPartition> = []

    init(settings: KafkaBrokerSettings) {
        self.settings = settings
        state = Monitor(State(table: WatchTable(limit: settings.watchesMax)))
    }

    /// Any thread; decided from memory.
    func add(
        _ place: TopicPartition, from offset: Int64, told: @escaping @Sendable () -> Void
    ) throws(BrokerError) -> any PartitionWatch {
        let id = state.withLock { state -> UInt64? in
            guard !state.isStopping, state.table.add(state.next, at: place, from: offset) else { return nil }
            defer { state.next += 1 }
            state.told[state.next] = told
            state.changed.insert(place)
            if state.thread == nil { state.thread = WorkerThread(name: "kafka-watcher") { [self] in run() } }
            if let queue = state.queue { rd_kafka_queue_yield(queue) }
            return state.next
        }
        guard let id else {
            SourceMetrics.refusedWatches.increment()
            Limit.kafkaWatches.reached()
            throw .tooMany("too_many_watches", settings.watchesMax)
        }
        return KafkaWatch(id, place, self)
    }

    fileprivate func cancel(_ id: UInt64, _ place: TopicPartition) {
        state.withLock { state in
            guard state.table.remove(id) else { return }
            state.told[id] = nil
            state.changed.insert(place)
        }
    }

    func stop() {
        let thread = state.withLock { state in
            state.isStopping = true
            if let queue = state.queue { rd_kafka_queue_yield(queue) }
            return state.thread
        }
        state.broadcast()
        thread?.join()
        // Who waits learns by fetching.
        tell(state.withLock { $0.table.removeAll() })
    }

    // MARK: The poll thread

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    private func run() {
        var backoff = Backoff(initial: .milliseconds(100), cap: .seconds(2))
        var isLogged = false
        while !isStopping {
            do throws(BrokerError) {
                try watch()
            } catch {
                if !isLogged {
                    log.error("watching cannot start, and is tried again", metadata: ["error": "\(error)"])
                }
                isLogged = true
                tell(state.withLock { $0.table.removeAll() })
                _ = state.wait(until: SystemClock().now() + backoff.nextDelay()) { $0.isStopping ? true : nil }
            }
        }
    }

    /// Until it stops.
    private func watch() throws(BrokerError) {
        var configuration = ClientConfiguration(settings: settings, role: .reader)
        configuration.prefetchBytes = 1_024
        configuration.fetchWait = .milliseconds(100)
        let client = try KafkaClient(configuration)
        let queue = rd_kafka_queue_get_consumer(client.handle)
        state.withLock { $0.queue = queue }
        while !isStopping {
            settle(client.handle)
            if let message = rd_kafka_consumer_poll(client.handle, Self.pollMaxMs) {
                received(FetchedMessage(consuming: message))
            }
        }
        state.withLock { $0.queue = nil }
        rd_kafka_queue_destroy(queue)
        client.close(within: settings.closeTimeout)
    }

    private func settle(_ handle: OpaquePointer) {
        let changes = state.withLock { state -> [(place: TopicPartition, reading: WatchTable.Reading)] in
            defer { state.changed = [] }
            return state.changed.map { ($0, state.table.settle($0)) }
        }
        let (begin, end) = (TopicPartitionList(), TopicPartitionList())
        for change in changes where change.reading != .asItIs {
            if assigned.remove(change.place) != nil { end.add(change.place) }
            if case .begin(let offset) = change.reading {
                begin.add(change.place, offset: offset)
                assigned.insert(change.place)
            }
        }
        do throws(KafkaError) {
            if !end.isEmpty { try check(end.withPointer { rd_kafka_incremental_unassign(handle, $0) }) }
            if !begin.isEmpty { try check(begin.withPointer { rd_kafka_incremental_assign(handle, $0) }) }
        } catch {
            log.warning("partitions cannot be watched", metadata: ["error": "\(error)"])
            // One of them spoils the call for all, and what is assigned is not known any more: anew.
            rd_kafka_assign(handle, nil)
            assigned = []
            tell(state.withLock { $0.table.removeAll() })
        }
    }

    private func received(_ message: FetchedMessage) {
        guard let place = message.partition else { return }
        switch message.code {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
            tell(
                state.withLock { state in
                    state.changed.insert(place)
                    return state.table.found(place, at: message.offset)
                })
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: break
        default: failed(place)
        }
    }

    /// They fetch, and hear why.
    private func failed(_ place: TopicPartition) {
        tell(
            state.withLock { state in
                state.changed.insert(place)
                return state.table.failed(place)
            })
    }

    private func tell(_ watches: [UInt64]) {
        let told = state.withLock { state in watches.compactMap { state.told.removeValue(forKey: $0) } }
        for told in told { told() }
    }
}

/// One who waits.
private final class KafkaWatch: PartitionWatch {
    private let id: UInt64
    private let place: TopicPartition
    private let watcher: Watcher

    init(_ id: UInt64, _ place: TopicPartition, _ watcher: Watcher) {
        self.id = id
        self.place = place
        self.watcher = watcher
    }

    func cancel() { watcher.cancel(id, place) }
}
