import CoreMetrics
import Outcomes
import Primitives

/// What the broker counts. Any thread may call.
struct BrokerMetrics: Sendable {
    private let factory: any MetricsFactory
    private let transactions: Counter
    private let records: Counter
    private let bytes: Counter
    private let expired: Counter
    private let commitSeconds: Recorder
    private let jobs: Gauge
    let outcomes: OutcomeMetrics

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        transactions = Counter(label: "postrider_broker_transactions_total", factory: factory)
        records = Counter(label: "postrider_broker_records_total", factory: factory)
        bytes = Counter(label: "postrider_broker_record_bytes_total", factory: factory)
        expired = Counter(label: "postrider_broker_expired_records_total", factory: factory)
        commitSeconds = Recorder(label: "postrider_broker_commit_seconds", aggregate: true, factory: factory)
        outcomes = OutcomeMetrics(factory)
        jobs = Gauge(label: "postrider_broker_transaction_jobs", factory: factory)
    }

    func committed(_ changes: PendingChanges, after duration: Duration) {
        transactions.increment()
        records.increment(by: Int64(changes.records))
        bytes.increment(by: changes.recordBytes)
        expired.increment(by: Int64(changes.expiredRecords))
        outcomes.count(changes.outcomes)
        commitSeconds.record(duration.inSeconds)
    }

    /// A transaction, one job of it, or a checkpoint of the log; never what a caller is refused for good reason.
    func failed(_ reason: String) {
        Counter(label: "postrider_broker_failures_total", dimensions: [("reason", reason)], factory: factory)
            .increment()
    }

    func shared(by count: Int) { jobs.record(count) }
}
