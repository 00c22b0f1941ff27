public import CoreMetrics

/// The bounds of queues, buffers and tables that load can reach, by the name of their setting or, where no setting
/// reaches them, a name of their own. Each counts how often it was reached, `postrider_limit_reached_total{limit=…}`:
/// one place that says what ran out. docs/ARCHITECTURE.md, "Limits", says what happens at each.
///
/// Not here: what only one request's own content can break (sizes, numbers of records, depth), which its answer names,
/// and caches, which are always full.
public enum Limit: String, CaseIterable, Sendable {
    // HTTPServer
    case connections = "http.connections_max"
    case connectionsPerAddress = "http.connections_per_address_max"
    case requestRatePerAddress = "http.requests_per_second_per_address"
    case requestsPerAddress = "http.requests_per_address_max"
    case addresses = "http.addresses_max"
    case bodyMemory = "http.body_memory_max"
    case responseMemory = "http.response_memory_max"
    case parkedRequests = "parked_requests"
    // API
    case lookups = "lookups_waiting"
    // Journal, Spool
    case spoolQueue = "spool_queue_bytes"
    case spoolBytes = "spool.bytes_max"
    case topicBacklog = "spool.high_water_percent"
    case parkedBytes = "spool.parked_bytes_max"
    case outcomeWaits = "spool.outcome_waits_max"
    case idempotencyKeys = "idempotency.keys_max"
    case idempotencyProducers = "idempotency.producers_max"
    // Forwarder, DeadLetters
    case forwarderMemory = "forwarder.memory_max"
    case missingTopics = "missing_topics"
    case deadLetterBytes = "dead_letters.bytes_max"
    // EmbeddedBroker
    case brokerBytes = "broker.embedded.bytes_max"
    case brokerJobs = "broker_jobs_queued"
    case brokerTopics = "broker_topics"
    case brokerWatches = "broker_watches"
    // KafkaBroker
    case kafkaAdminCalls = "kafka_admin_calls"
    case kafkaVerifications = "kafka_topic_verifications"
    case kafkaTopics = "kafka_topics"
    case kafkaConsumers = "consumers.max_active"
    case kafkaConsumerCalls = "kafka_consumer_calls"
    case kafkaOffsetCalls = "kafka_offset_calls"
    case kafkaReads = "kafka_reads"
    case kafkaWatches = "kafka_watches"
    case kafkaProducerQueue = "kafka_producer_queue"
    // Consumers
    case consumers = "consumers.consumers_max"
    case polls = "consumers.polls_waiting_max"
    case pollsPerConsumer = "consumers.polls_waiting_per_consumer_max"
    case commitsPerConsumer = "consumers.commits_waiting_per_consumer_max"
    case administrations = "consumers.administrations_waiting_max"
    case pollsFetching = "consumers.polls_fetching_max"
    case pollMemory = "consumers.poll_memory"
    case inFlight = "consumers.max_in_flight"
    case window = "consumers.window_offsets_max"
    // Gateway
    case consumerLooks = "consumer_looks"

    /// Counts one more time. Any thread; a look-up in the metrics' registry, so not for a path that is taken often:
    /// whoever refuses thousands a second keeps the `counter`.
    public func reached() { counter.increment() }

    /// Makes all series, at 0: an alarm on one that is missing would never come. Once metrics are there.
    public static func registerAll() {
        for limit in allCases { limit.counter.increment(by: 0) }
    }

    public var counter: Counter { Counter(label: "postrider_limit_reached_total", dimensions: [("limit", rawValue)]) }
}
