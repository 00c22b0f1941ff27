public import CoreMetrics

/// What a change of the table took away.
public struct OutcomeChanges: Sendable {
    /// Rows of hand-overs that were not committed.
    public var voided: Int
    /// Records whose rows went, because they were too old or too much.
    public var expired: Int
    /// Of those, records that were not too old.
    public var early: Int

    public init(voided: Int = 0, expired: Int = 0, early: Int = 0) {
        self.voided = voided
        self.expired = expired
        self.early = early
    }

    public static func += (sum: inout OutcomeChanges, other: OutcomeChanges) {
        sum.voided += other.voided
        sum.expired += other.expired
        sum.early += other.early
    }
}

/// What is kept for receipts. Any thread may call.
public struct OutcomeMetrics: Sendable {
    private let rows: Gauge
    private let records: Gauge
    private let bytes: Gauge
    private let oldest: Gauge
    private let voided: Counter
    private let expired: Counter
    private let early: Counter

    public init(_ factory: any MetricsFactory = MetricsSystem.factory) {
        rows = Gauge(label: "postrider_receipts_rows", factory: factory)
        records = Gauge(label: "postrider_receipts_records", factory: factory)
        bytes = Gauge(label: "postrider_receipts_bytes", factory: factory)
        oldest = Gauge(label: "postrider_receipts_oldest_timestamp_seconds", factory: factory)
        voided = Counter(label: "postrider_receipts_voided_rows_total", factory: factory)
        expired = Counter(label: "postrider_receipts_expired_records_total", factory: factory)
        early = Counter(label: "postrider_receipts_early_records_total", factory: factory)
    }

    public func report(_ totals: OutcomeTotals) {
        rows.record(totals.rows)
        records.record(totals.records)
        bytes.record(totals.bytes)
        oldest.record(Double(totals.oldestMs ?? 0) / 1000)
    }

    public func count(_ changes: OutcomeChanges) {
        voided.increment(by: Int64(changes.voided))
        expired.increment(by: Int64(changes.expired))
        early.increment(by: Int64(changes.early))
    }
}
