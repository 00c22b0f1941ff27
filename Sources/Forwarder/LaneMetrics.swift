import Broker
import CoreMetrics

/// A lane's series.
struct LaneMetrics {
    let records: Counter
    let handOvers: Counter
    let retries: Counter
    let deadLetters: Counter
    let alarms: Counter
    let timeouts: Counter
    let missingTopicWaits: Counter
    let memoryLimited: Counter
    private let breaker: Gauge
    private let batchRecordsMax: Gauge
    private let errors: [BrokerError.Class: Counter]

    init(lane: Int) {
        let lane = [("lane", String(lane))]
        records = Counter(label: "postrider_forwarder_records_total", dimensions: lane)
        handOvers = Counter(label: "postrider_forwarder_hand_overs_total", dimensions: lane)
        retries = Counter(label: "postrider_forwarder_retries_total", dimensions: lane)
        deadLetters = Counter(label: "postrider_forwarder_dead_letters_total", dimensions: lane)
        alarms = Counter(label: "postrider_forwarder_alarms_total", dimensions: lane)
        timeouts = Counter(label: "postrider_forwarder_transaction_timeouts_total", dimensions: lane)
        missingTopicWaits = Counter(label: "postrider_forwarder_missing_topic_waits_total", dimensions: lane)
        memoryLimited = Counter(label: "postrider_forwarder_memory_limited_total", dimensions: lane)
        breaker = Gauge(label: "postrider_forwarder_breaker_state", dimensions: lane)
        batchRecordsMax = Gauge(label: "postrider_forwarder_batch_records_max", dimensions: lane)
        errors = Dictionary(
            uniqueKeysWithValues: BrokerError.Class.allCases.map {
                ($0, Counter(label: "postrider_broker_errors_total", dimensions: [("class", $0.rawValue)]))
            })
        report(Breaker.State.closed)
    }

    func count(_ error: BrokerError) { errors[error.class]?.increment() }

    func report(_ state: Breaker.State) { breaker.record(state.rawValue) }

    func report(batchRecordsMax records: Int) { batchRecordsMax.record(records) }
}
