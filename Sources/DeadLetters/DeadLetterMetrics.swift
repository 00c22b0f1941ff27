import CoreMetrics

/// Under the lock of the store, so that the last number recorded is the newest.
struct DeadLetterMetrics {
    private let counts: [DeadLetter.State: Gauge]
    private let bytes = Gauge(label: "postrider_dead_letters_bytes")
    private let oldest = Gauge(label: "postrider_dead_letters_oldest_timestamp_seconds")
    let redelivered = Counter(label: "postrider_dead_letters_redelivered_total")
    let discarded = Counter(label: "postrider_dead_letters_discarded_total")
    let forgotten = Counter(label: "postrider_dead_letters_forgotten_total")

    init() {
        counts = Dictionary(
            uniqueKeysWithValues: DeadLetter.State.allCases.map {
                ($0, Gauge(label: "postrider_dead_letters", dimensions: [("state", "\($0)")]))
            })
    }

    /// - Parameter oldestMs: when the oldest of them died; nil without any.
    func report(_ totals: DeadLetterTotals, oldestMs: Int64?) {
        for (state, gauge) in counts { gauge.record(totals[state].count) }
        bytes.record(totals.bytes)
        oldest.record((oldestMs ?? 0) / 1000)
    }
}
