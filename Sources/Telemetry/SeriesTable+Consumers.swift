extension SeriesTable {
    private static let consumer = SeriesDescription.Label.bounded(
        "consumer", "the first 200 consumers by name; the others of the first 1,000 together are `other`")

    static let consumers: [SeriesDescription] = [
        .counter("postrider_consumer_commit_errors_total", "Commits of offsets that failed"),
        .counter(
            "postrider_consumer_dead_letter_errors_total",
            "Records whose deliveries are used up and that could not be sent to the dead-letter topic"),
        .counter(
            "postrider_consumer_dead_letters_total", "Records sent to dead-letter topics after max_deliveries"),
        .gauge(
            "postrider_consumer_dead_letters_waiting",
            "Records whose deliveries are used up and that are not in the dead-letter topic yet; every 15 s", consumer),
        .counter("postrider_consumer_fetch_errors_total", "Fetches for polls that failed"),
        .gauge(
            "postrider_consumer_lag_records",
            "Offsets from the committed one to the end of the partition, also of a consumer that nobody polls; every "
                + "15 s, of the first 1,000 consumers by name: with more, postrider_limit_reached_total has "
                + "`consumer_looks`. On Kafka, markers of transactions count",
            .bounded("consumer", "the consumer's name; beyond 1,000 partitions of all consumers `other`, added up"),
            .bounded("topic", "the topic, with the consumer's name only"),
            .bounded("partition", "the partition, with the consumer's name only"), seriesMax: 1_001),
        .counter("postrider_consumer_leases_expired_total", "Deliveries that were not acknowledged in time"),
        .counter(
            "postrider_consumer_looks_failed_total",
            "Consumers whose lag could not be found out, because the broker did not answer, and looks that did not "
                + "even find out which there are; their series are missing until it does"),
        .gauge(
            "postrider_consumer_oldest_unacknowledged_seconds",
            "Age, by its timestamp, of the oldest record that was handed out and is not acknowledged; there only while "
                + "there is one. Looked at every 15 s",
            consumer),
        .gauge("postrider_consumer_open_deliveries", "Records handed out and not acknowledged; every 15 s", consumer),
        .gauge("postrider_consumer_polls_waiting", "Polls that wait for records; every 15 s", consumer),
        .counter("postrider_consumer_records_acknowledged_total", "Records acknowledged, over all consumers"),
        .counter(
            "postrider_consumer_records_delivered_total", "Records handed out, over all consumers, again included"),
        .counter("postrider_consumer_records_given_back_total", "Records that clients gave back (nacks)"),
        .counter("postrider_consumer_records_redelivered_total", "Records handed out again"),
        .counter(
            "postrider_consumer_windows_full_total",
            "Partitions of which nothing new is handed out before older records are acknowledged"),
        .gauge("postrider_consumers", "Consumers that are defined; every 15 s, missing until the broker has said it"),
    ]

    static let embedded: [SeriesDescription] = [
        .histogram("postrider_broker_commit_seconds", "Each transaction of the embedded broker", buckets: diskSeconds),
        .counter("postrider_broker_expired_records_total", "Records that retention removed"),
        .counter(
            "postrider_broker_failures_total", "Transactions and checkpoints of the file that failed",
            .bounded("reason", "kinds of SQLite's errors, and `checkpoint`")),
        .counter("postrider_broker_record_bytes_total", "Bytes of records that were stored"),
        .counter("postrider_broker_records_total", "Records that were stored"),
        .gauge(
            "postrider_broker_transaction_jobs",
            "Hand-overs, commits and other calls that shared the last transaction"),
        .counter("postrider_broker_transactions_total", "Transactions"),
        .counter("postrider_broker_watches_refused_total", "Reads with a wait that found too many others waiting"),
    ]

    private static let errorCode = SeriesDescription.Label.bounded(
        "code", "one for each error of Kafka and librdkafka that Postrider tells apart")

    static let kafka: [SeriesDescription] = [
        .counter("postrider_kafka_admin_calls_failed_total", "Calls about topics that failed"),
        .counter("postrider_kafka_admin_calls_refused_total", "Calls about topics that found too many others waiting"),
        .counter("postrider_kafka_alarms_total", "Errors that do not pass by themselves", errorCode),
        .gauge(
            "postrider_kafka_clients_closing", "Clients whose end takes longer than broker.kafka.close_timeout"),
        .counter(
            "postrider_kafka_clients_failed_total",
            "Clients that could not be made: a configuration, or no threads or files left"),
        .counter(
            "postrider_kafka_consumer_calls_refused_total",
            "Fetches and commits that found 10,000 others waiting for the same consumer"),
        .counter(
            "postrider_kafka_consumer_pauses_total",
            "Partitions that wait because nobody takes what was fetched of them"),
        .gauge("postrider_kafka_consumers_live", "Memberships in groups, against consumers.max_active"),
        .counter("postrider_kafka_consumers_refused_total", "Memberships refused at consumers.max_active"),
        .counter(
            "postrider_kafka_errors_total", "Errors of Kafka and librdkafka that any part met", errorCode,
            .oneOf("class", "retriable", "recordFatal", "sinkFatal", "fenced", "processFatal")),
        .counter(
            "postrider_kafka_offsets_recommit_errors_total", "Idle consumers whose offsets were not committed again"),
        .counter("postrider_kafka_offsets_recommitted_total", "Idle consumers whose offsets were committed again"),
        .gauge(
            "postrider_kafka_own_topic_warnings",
            "What about the topics of checkpoints and definitions can lose what is kept there"),
        .gauge("postrider_kafka_reachable", "1: the cluster answered the last question; 0: it did not"),
        .counter("postrider_kafka_reads_refused_total", "Reads that found too many others waiting"),
        .counter(
            "postrider_kafka_topic_verifications_refused_total",
            "Requests about an unknown topic that found too many others waiting for an answer"),
        .counter("postrider_kafka_topic_verifications_total", "Requests that waited for an answer about a topic"),
        .gauge("postrider_kafka_topics_known", "Topics that intake knows"),
        .gauge("postrider_kafka_topics_warned", "Topics that are written to and can lose data"),
        .counter("postrider_kafka_watches_refused_total", "Reads with a wait that found too many others waiting"),
    ]
}
