import CoreMetrics
import Primitives

/// The journal's series; looked up once.
struct JournalMetrics: Sendable {
    let syncSeconds = Timer(label: "postrider_journal_sync_seconds")
    /// From the end of one segment to the first frame of the next.
    let rollSeconds = Timer(label: "postrider_journal_segment_start_seconds")
    let groupRecords = Recorder(label: "postrider_journal_group_records")
    let records = Counter(label: "postrider_journal_records_total")
    let bytes = Counter(label: "postrider_journal_bytes_total")
    let segments = Gauge(label: "postrider_journal_segments")
    let usedBytes = Gauge(label: "postrider_journal_used_bytes")
    let slowSyncs = Counter(label: "postrider_journal_slow_syncs_total")
    let housekeepingStalled = Gauge(label: "postrider_journal_housekeeping_stalled")
    private let recoveryReadBytes = Gauge(label: "postrider_recovery_read_bytes")
    private let recoveryVerifiedRecords = Gauge(label: "postrider_recovery_verified_records")
    let reserveInUse = Gauge(label: "postrider_journal_reserve_in_use")
    let unlinkFailures = Counter(label: "postrider_journal_unlink_failures_total")
    let refused: [String: Counter] = Dictionary(
        uniqueKeysWithValues: ["no_space", "stalled", "failed", "queue_full", "too_large", "closed"].map {
            ($0, Counter(label: "postrider_journal_refused_total", dimensions: [("reason", $0)]))
        })

    /// What the start had to look at.
    func report(_ recovery: RecoveryReport) {
        recoveryReadBytes.record(recovery.readBytes)
        recoveryVerifiedRecords.record(recovery.verifiedRecords)
    }

    func countRefusal(_ failure: AppendFailure) {
        let reason =
            switch failure {
            case .noSpace: "no_space"
            case .stalled: "stalled"
            case .failed: "failed"
            case .queueFull: "queue_full"
            case .tooLarge: "too_large"
            case .closed: "closed"
            }
        refused[reason]?.increment()
        if failure == .queueFull { Limit.spoolQueue.reached() }
    }
}
