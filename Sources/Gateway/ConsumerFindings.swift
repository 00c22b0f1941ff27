import Consumers
import Records
import Telemetry

/// What a round of looks at the consumers found, as much of it as has series: a value of bounded size, however many
/// consumers and partitions there are.
struct ConsumerFindings: Sendable {
    /// Consumers with series of their own.
    static let consumersMax = 200
    /// Partitions with series of their own, over all consumers.
    static let partitionsMax = 1_000
    private static let other = "other"

    private struct Sums {
        var (open, polls, dead) = (0, 0, 0)
        var oldestMs: Int64?
    }

    /// How many consumers there are, looked at or not; nil: nobody has said yet.
    var count: Int?
    /// By name, the one of the others too; a consumer may have that name.
    private var consumers: [String: Sums] = [:]
    private var lags: [MetricSample] = []
    private var otherLag: Int64?

    mutating func add(_ description: ConsumerDescription) {
        let name = consumers.count < Self.consumersMax ? description.name.text : Self.other
        var sums = consumers[name] ?? Sums()
        sums.open += description.leases
        sums.polls += description.pollsWaiting
        sums.dead += description.deadLettersWaiting
        if let ms = description.oldestUnacknowledgedMs { sums.oldestMs = min(sums.oldestMs ?? ms, ms) }
        consumers[name] = sums
        for progress in description.partitions {
            if lags.count < Self.partitionsMax {
                let place = progress.partition
                lags.append(Self.lag(description.name.text, place.topic.text, String(place.partition), progress.lag))
            } else {
                otherLag = (otherLag ?? 0) + progress.lag
            }
        }
    }

    func samples(nowMs: Int64) -> [MetricSample] {
        var samples = lags
        if let count { samples.append(MetricSample("postrider_consumers", value: Double(count))) }
        if let otherLag { samples.append(Self.lag(Self.other, Self.other, Self.other, otherLag)) }
        for (name, sums) in consumers {
            let labels = [(name: "consumer", value: name)]
            samples += [
                MetricSample("postrider_consumer_open_deliveries", labels: labels, value: Double(sums.open)),
                MetricSample("postrider_consumer_polls_waiting", labels: labels, value: Double(sums.polls)),
                MetricSample("postrider_consumer_dead_letters_waiting", labels: labels, value: Double(sums.dead)),
            ]
            guard let oldestMs = sums.oldestMs else { continue }
            // A client may have set the timestamp, to anything.
            let age = max(0, Double(nowMs) - Double(oldestMs)) / 1000
            samples.append(
                MetricSample("postrider_consumer_oldest_unacknowledged_seconds", labels: labels, value: age))
        }
        return samples
    }

    private static func lag(_ consumer: String, _ topic: String, _ partition: String, _ lag: Int64) -> MetricSample {
        MetricSample(
            "postrider_consumer_lag_records",
            labels: [("consumer", consumer), ("topic", topic), ("partition", partition)], value: Double(lag))
    }
}
