extension SeriesTable {
    private static let topic = SeriesDescription.Label.bounded(
        "topic", "the first 200 topics that were written to; all others are `other`")

    /// What is accepted, and the disk that it waits on.
    static let spool: [SeriesDescription] = [
        .counter(
            "postrider_accepted_bytes_total", "Keys, values and headers of accepted records", topic, seriesMax: 201),
        .counter("postrider_accepted_records_total", "Records that were accepted", topic, seriesMax: 201),
        .counter("postrider_journal_bytes_total", "Bytes of records written to the journal"),
        .histogram("postrider_journal_group_records", "Records in one sync", buckets: groupRecords),
        .gauge(
            "postrider_journal_housekeeping_stalled",
            "1 while CHECKPOINT, a deletion or the spare segment hangs in the disk for longer than spool.sync_timeout"),
        .counter("postrider_journal_records_total", "Records written to the journal"),
        .counter(
            "postrider_journal_refused_total", "Appends that the journal refused",
            .oneOf("reason", "no_space", "stalled", "failed", "queue_full", "too_large", "closed")),
        .gauge(
            "postrider_journal_reserve_in_use",
            "1 while the disk is full and the reserve was given to outcomes, dead letters and broker state"),
        .histogram(
            "postrider_journal_segment_start_seconds", "From the end of one segment to the first frame of the next",
            buckets: diskSeconds),
        .gauge("postrider_journal_segments", "Segment files that hold records, once a second"),
        .counter("postrider_journal_slow_syncs_total", "Syncs that took over 1 s"),
        .histogram(
            "postrider_journal_sync_seconds", "Each sync (fdatasync) of the journal, which every 202 waits for",
            buckets: diskSeconds),
        .counter(
            "postrider_journal_unlink_failures_total",
            "Files that nobody needs and that could not be removed; tried again"),
        .gauge("postrider_journal_used_bytes", "Bytes in the spool, against postrider_spool_max_bytes; once a second"),
        .counter(
            "postrider_produce_trace_headers_skipped_total",
            "Records without the traceparent of their request, because they had as many headers as they may have"),
        .gauge("postrider_recovery_read_bytes", "Bytes of the journal that the start read"),
        .gauge("postrider_recovery_verified_records", "Records that the start read"),
        .counter(
            "postrider_spool_damaged_lane_refusals_total", "Requests refused because their lane met damaged records"),
        .gauge(
            "postrider_spool_damaged_lanes",
            "Lanes that met records which cannot be read: they stand, and their topics are refused"),
        .gauge("postrider_spool_max_bytes", "spool.bytes_max: at it records are refused"),
        .gauge(
            "postrider_spool_oldest_seconds",
            "Age of the oldest record that is neither delivered nor dead: the greatest postrider_lane_lag_seconds"),
        .counter(
            "postrider_spool_outcome_waits_refused_total",
            "Prefer: wait answered at once because spool.outcome_waits_max others waited"),
        .gauge("postrider_spool_parked_bytes", "Bytes of the parked lanes' files, against spool.parked_bytes_max"),
        .counter(
            "postrider_spool_parked_full_total",
            "A lane could not be parked (further) because of spool.parked_bytes_max; again every minute"),
        .gauge("postrider_spool_parked_lanes", "Lanes that are parked: their topics are refused until they drained"),
        .counter(
            "postrider_spool_parking_failures_total", "The disk refused a parked file; tried again every minute"),
        .counter("postrider_spool_parkings_total", "Lanes that were parked"),
        .gauge(
            "postrider_spool_quota_ratio", "Bytes in the spool as a share of spool.bytes_max, 0 to 1 and a bit over"),
        .counter("postrider_spool_quota_refusals_total", "Requests refused at spool.bytes_max"),
        .counter("postrider_spool_topic_backlog_refusals_total", "Requests refused because their lane is parked"),
        .gauge(
            "postrider_spool_undelivered_records",
            "Accepted records that are neither delivered nor dead: the sum of postrider_lane_lag_records"),
    ]

    /// Requests with an `Idempotency-Key` or a producer's sequence.
    static let idempotency: [SeriesDescription] = [
        .counter(
            "postrider_idempotency_conflicts_total", "Requests refused for what came before them",
            .oneOf("reason", "in_flight", "other_payload", "sequence_gap", "sequence_too_old")),
        .counter(
            "postrider_idempotency_full_total", "Requests refused at idempotency.keys_max or idempotency.producers_max",
            .oneOf("limit", "keys", "producers")),
        .gauge(
            "postrider_idempotency_gap",
            "1 after a start that found a part of what was remembered gone: repetitions may be accepted again"),
        .gauge("postrider_idempotency_in_flight", "Requests on their way or of unknown outcome; every 5 s"),
        .gauge("postrider_idempotency_keys", "Keys that are remembered; every 5 s"),
        .counter("postrider_idempotency_keys_expired_total", "Keys past idempotency.lifetime"),
        .gauge("postrider_idempotency_keys_max", "idempotency.keys_max: at it requests with a new key are refused"),
        .gauge("postrider_idempotency_producers", "Producers whose sequence is remembered; every 5 s"),
        .counter(
            "postrider_idempotency_producers_expired_total", "Producers idle for idempotency.producer_idle"),
        .gauge("postrider_idempotency_producers_max", "idempotency.producers_max: at it new producers are refused"),
        .counter("postrider_idempotency_replays_total", "Repetitions that got the first answer"),
        .counter(
            "postrider_idempotency_save_failures_total", "The store refused: segments stay until it takes them"),
    ]
}
