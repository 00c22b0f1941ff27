extension SeriesTable {
    /// From the spool to the broker.
    static let forwarding: [SeriesDescription] = [
        .counter(
            "postrider_broker_errors_total",
            "Errors of opening a sink and of hand-overs, by what they mean: see docs/ARCHITECTURE.md",
            .oneOf("class", "retriable", "recordFatal", "sinkFatal", "fenced", "processFatal")),
        .counter(
            "postrider_forwarder_alarms_total",
            "A lane halted, the broker lost what it had, or it refuses what only somebody can put right", lane),
        .gauge("postrider_forwarder_batch_records_max", "Records that the lane's next hand-over may have", lane),
        .gauge(
            "postrider_forwarder_breaker_state", "0 closed, 1 half open (the next try decides), 2 open (it waits)", lane
        ),
        .counter("postrider_forwarder_dead_letters_total", "Records of the lane that died", lane),
        .counter("postrider_forwarder_hand_overs_total", "Hand-overs with records that were committed", lane),
        .gauge("postrider_forwarder_memory_bytes", "Records in memory over all lanes, against forwarder.memory_max"),
        .counter(
            "postrider_forwarder_memory_limited_total", "Batches that were smaller for lack of forwarder.memory_max",
            lane),
        .counter(
            "postrider_forwarder_missing_topic_waits_total", "Tries of a record whose topic is missing at the broker",
            lane),
        .counter("postrider_forwarder_records_total", "Records that were delivered", lane),
        .counter("postrider_forwarder_retries_total", "Failures after which the lane waited and tried again", lane),
        .counter(
            "postrider_forwarder_transaction_timeouts_total", "Hand-overs that took too long for the broker", lane),
        .gauge(
            "postrider_lane_failing_seconds",
            "Since the lane's first failure after its last success; there only while it fails", lane,
            .bounded("code", "the code of the lane's last failure, as in `lanes[].error` of /v1/status")),
        .gauge(
            "postrider_lane_lag_records",
            "Accepted records that are neither delivered nor dead; of recovered ones those that the lane has found so "
                + "far, and at least 1 until it has read through them", lane),
        .gauge(
            "postrider_lane_lag_seconds",
            "Age of the lane's oldest record that is neither delivered nor dead, 0 without one; never too small, too "
                + "great by at most a 16th of the greatest that the backlog had",
            lane),
        .gauge(
            "postrider_lane_state", "1 for the state that the lane is in, 0 for the others", lane,
            .oneOf("state", "opening", "forwarding", "retrying", "halted", "stopped")),
    ]

    /// What becomes of records.
    static let outcomes: [SeriesDescription] = [
        .gauge(
            "postrider_dead_letters", "Dead letters that are kept",
            .oneOf("state", "pending", "final", "redelivering")),
        .counter(
            "postrider_dead_letters_added_total", "Records that died, by the broker's reason",
            .bounded("code", "`code` in /v1/dead-letters: fixed in the program, on Kafka one for each error")),
        .gauge("postrider_dead_letters_bytes", "Bytes of the dead letters' records"),
        .counter("postrider_dead_letters_discarded_total", "Dead letters that were discarded"),
        .counter(
            "postrider_dead_letters_forgotten_total",
            "Discarded or sent again, and no longer known to receipts: beyond dead_letters.ends_kept"),
        .gauge("postrider_dead_letters_max_bytes", "dead_letters.bytes_max: at it lanes with a bad record stand"),
        .gauge(
            "postrider_dead_letters_oldest_timestamp_seconds",
            "When the oldest dead letter died, in seconds since 1970 UTC; 0 without one"),
        .counter("postrider_dead_letters_redelivered_total", "Dead letters that were sent again"),
        .gauge("postrider_receipts_bytes", "What is kept of outcomes, against receipts.bytes_max"),
        .counter(
            "postrider_receipts_early_records_total",
            "Records whose outcomes went before receipts.retention because of receipts.bytes_max"),
        .counter("postrider_receipts_expired_records_total", "Records whose outcomes went, for either reason"),
        .gauge(
            "postrider_receipts_oldest_timestamp_seconds",
            "How far back receipts reach, in seconds since 1970 UTC; 0: nothing is kept"),
        .gauge("postrider_receipts_records", "Records whose outcomes are kept"),
        .gauge("postrider_receipts_rows", "Hand-overs whose outcomes are kept"),
        .counter(
            "postrider_receipts_voided_rows_total", "Rows of hand-overs to Kafka that were not committed after all"),
    ]
}
