import Broker
import CoreMetrics
import Primitives

/// Errors of the cluster by code. There are as many series as labels in `ErrorTable`.
enum ErrorMetrics {
    private static let counters = Lock<[String: Counter]>([:])

    static func count(_ entry: ErrorTable.Entry, _ meaning: BrokerError.Class) {
        counter(
            "postrider_kafka_errors_total", [("code", entry.label), ("class", meaning.rawValue)],
            key: "\(entry.label) \(meaning)"
        ).increment()
        guard entry.alarm else { return }
        counter("postrider_kafka_alarms_total", [("code", entry.label)], key: entry.label).increment()
    }

    private static func counter(_ label: String, _ dimensions: [(String, String)], key: String) -> Counter {
        counters.withLock { counters in
            if let known = counters[key] { return known }
            let counter = Counter(label: label, dimensions: dimensions)
            counters[key] = counter
            return counter
        }
    }
}
