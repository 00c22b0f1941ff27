import CoreMetrics

/// Under the lock of the store, so that the last number recorded is the newest.
struct DeadLetterMetrics {
    private let counts: [DeadLetter.State: Gauge]
    private let bytes: Gauge
    private let oldest: Gauge
    let redelivered: Counter
    let discarded: Counter
    let forgotten: Counter
    private let factory: any MetricsFactory

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        bytes = Gauge(label: "postrider_dead_letters_bytes", factory: factory)
        oldest = Gauge(label: "postrider_dead_letters_oldest_timestamp_seconds", factory: factory)
        redelivered = Counter(label: "postrider_dead_letters_redelivered_total", factory: factory)
        discarded = Counter(label: "postrider_dead_letters_discarded_total", factory: factory)
        forgotten = Counter(label: "postrider_dead_letters_forgotten_total", factory: factory)
        counts = Dictionary(
            uniqueKeysWithValues: DeadLetter.State.allCases.map {
                ($0, Gauge(label: "postrider_dead_letters", dimensions: [("state", "\($0)")], factory: factory))
            })
    }

    /// Looked up each time: few records die, and for few reasons.
    func countDead(_ code: String) {
        Counter(label: "postrider_dead_letters_added_total", dimensions: [("code", code)], factory: factory)
            .increment()
    }

    /// - Parameter oldestMs: when the oldest of them died; nil without any.
    func report(_ totals: DeadLetterTotals, oldestMs: Int64?) {
        for (state, gauge) in counts { gauge.record(totals[state].count) }
        bytes.record(totals.bytes)
        oldest.record((oldestMs ?? 0) / 1000)
    }
}
