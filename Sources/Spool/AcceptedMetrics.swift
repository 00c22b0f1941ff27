import CoreMetrics
import Primitives
import Records

/// Accepted records by topic. Only the first topics have series of their own: their number is up to clients. Any
/// thread.
final class AcceptedMetrics: Sendable {
    /// Topics with series of their own.
    static let topicsMax = 200

    private struct Series: Sendable {
        let records: Counter
        let bytes: Counter

        init(_ topic: String, _ factory: any MetricsFactory) {
            let topic = [("topic", topic)]
            records = Counter(label: "postrider_accepted_records_total", dimensions: topic, factory: factory)
            bytes = Counter(label: "postrider_accepted_bytes_total", dimensions: topic, factory: factory)
        }
    }

    private let topics = Lock<[TopicName: Series]>([:])
    private let others: Series
    private let factory: any MetricsFactory

    init(_ factory: any MetricsFactory = MetricsSystem.factory) {
        self.factory = factory
        others = Series("other", factory)
    }

    func count(_ counts: TopicCounts) {
        counts.forEach { topic, sum in
            let series = series(of: topic)
            series.records.increment(by: sum.records)
            series.bytes.increment(by: sum.bytes)
        }
    }

    private func series(of topic: TopicName) -> Series {
        let (known, isFull) = topics.withLock { ($0[topic], $0.count >= Self.topicsMax) }
        if let known { return known }
        if isFull { return others }
        // Outside the lock, since the registry has its own. Whoever comes second finds the same series there.
        let made = Series(topic.text, factory)
        return topics.withLock { topics in
            if topics[topic] == nil, topics.count >= Self.topicsMax { return others }
            topics[topic] = made
            return made
        }
    }
}
