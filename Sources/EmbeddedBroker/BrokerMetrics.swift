import Metrics
import Primitives

/// What the broker counts. Any thread may call.
struct BrokerMetrics: Sendable {
    private let transactions = Counter(label: "postrider_broker_transactions_total")
    private let records = Counter(label: "postrider_broker_records_total")
    private let bytes = Counter(label: "postrider_broker_record_bytes_total")
    private let expired = Counter(label: "postrider_broker_expired_records_total")
    private let commitSeconds = Recorder(label: "postrider_broker_commit_seconds", aggregate: true)
    private let jobs = Gauge(label: "postrider_broker_queued_jobs")

    func committed(_ changes: PendingChanges, after duration: Duration) {
        transactions.increment()
        records.increment(by: Int64(changes.records))
        bytes.increment(by: changes.recordBytes)
        commitSeconds.record(duration.inSeconds)
    }

    func failed(_ reason: String) {
        Counter(label: "postrider_broker_failures_total", dimensions: [("reason", reason)]).increment()
    }

    func expired(records count: Int) { expired.increment(by: Int64(count)) }

    func queueDepth(_ depth: Int) { jobs.record(depth) }
}
