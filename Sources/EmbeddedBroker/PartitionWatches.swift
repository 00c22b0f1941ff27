import Broker
import CoreMetrics
import Primitives
import Records

/// Somebody who waits for records of one partition; told once, by whoever takes it out of `PartitionWatches`.
final class EmbeddedWatch: PartitionWatch {
    let partition: TopicPartition
    let offset: Int64
    let told: @Sendable () -> Void
    private let watches: PartitionWatches

    init(
        _ partition: TopicPartition, _ offset: Int64, _ watches: PartitionWatches,
        _ told: @escaping @Sendable () -> Void
    ) {
        self.partition = partition
        self.offset = offset
        self.watches = watches
        self.told = told
    }

    func cancel() { _ = watches.take(self) }
}

/// Who waits for records of a partition without a consumer. `add` and `take` on any thread; watches are told on the
/// writer thread, after a commit and outside of the lock.
final class PartitionWatches: Sendable {
    private struct State {
        var count = 0
        var waiting: [TopicPartition: [ObjectIdentifier: EmbeddedWatch]] = [:]

        mutating func take(_ partition: TopicPartition, where isWanted: (EmbeddedWatch) -> Bool) -> [EmbeddedWatch] {
            guard let here = waiting[partition] else { return [] }
            let taken = here.values.filter(isWanted)
            guard !taken.isEmpty else { return [] }
            count -= taken.count
            let rest = taken.count == here.count ? [:] : here.filter { !isWanted($0.value) }
            waiting[partition] = rest.isEmpty ? nil : rest
            return taken
        }
    }

    private let state = Lock(State())
    private let limit: Int
    private let refused: Counter

    init(limit: Int, metrics: any MetricsFactory) {
        self.limit = limit
        refused = Counter(label: "postrider_broker_watches_refused_total", factory: metrics)
    }

    /// - Returns: nil when there is something at its offset already.
    func add(_ watch: EmbeddedWatch, _ published: PublishedTopics) throws(BrokerError) -> EmbeddedWatch? {
        let isAdded = state.withLock { state in
            guard state.count < limit else { return false }
            state.count += 1
            state.waiting[watch.partition, default: [:]][ObjectIdentifier(watch)] = watch
            return true
        }
        guard isAdded else {
            refused.increment()
            Limit.brokerWatches.reached()
            throw .tooManyWatches(limit)
        }
        // Only now: what is published before this look is seen by it, and what is published after it is told. Who is
        // told meanwhile is not answered twice.
        do throws(BrokerError) {
            if try published.state(of: watch.partition).next <= watch.offset { return watch }
            return take(watch) ? nil : watch
        } catch {
            if take(watch) { throw error }
            return watch
        }
    }

    /// - Returns: false when it was told or cancelled before.
    func take(_ watch: EmbeddedWatch) -> Bool {
        state.withLock { state in
            guard state.waiting[watch.partition]?.removeValue(forKey: ObjectIdentifier(watch)) != nil else {
                return false
            }
            if state.waiting[watch.partition]?.isEmpty == true { state.waiting[watch.partition] = nil }
            state.count -= 1
            return true
        }
    }

    /// On the writer thread, after the commit and after publishing.
    func tell(_ events: [BrokerEvent], published: PublishedTopics) {
        guard state.withLock({ $0.count > 0 }) else { return }
        for event in events {
            switch event {
            case .created: break
            case .appended(let partition):
                let end: Int64
                do throws(BrokerError) {
                    end = try published.state(of: partition).next
                } catch {
                    // Deleted by the same commit: whoever is told finds out.
                    end = .max
                }
                tell(partition, below: end)
            case .deleted(_, let partitions):
                // Also of a topic that the same commit made anew: its offsets begin again.
                for partition in partitions { tell(partition, below: .max) }
            }
        }
    }

    private func tell(_ partition: TopicPartition, below end: Int64) {
        for watch in state.withLock({ $0.take(partition) { $0.offset < end } }) { watch.told() }
    }

    /// When the writer thread has ended: who waits learns by fetching.
    func end() {
        let left = state.withLock { state in
            defer { state = State() }
            return state.waiting.values.flatMap(\.values)
        }
        for watch in left { watch.told() }
    }

    /// Waiting now.
    var count: Int { state.withLock { $0.count } }
}
