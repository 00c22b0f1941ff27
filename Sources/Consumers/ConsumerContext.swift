import Broker
import Logging
import CoreMetrics
import Primitives

/// What all consumers of a process share.
struct ConsumerContext: Sendable {
    let source: any RecordSource
    let offsets: any OffsetStore
    let topics: any TopicAdmin
    let submitter: any RecordSubmitter
    let clock: any TimeSource
    let timers: any Timers
    let epoch: UInt32
    let settings: ConsumersSettings
    let slots: FetchSlots
    /// Where each state machine's jitter comes from: a seeded one makes it replayable.
    let makeJitter: @Sendable () -> any RandomNumberGenerator & Sendable
    let serials = Lock<UInt64>(0)
    let log = Logger(label: "postrider.consumers")
    let metrics = ConsumerMetrics()

    /// Names an answer for ever, with the epoch.
    func nextSerial() -> UInt64 {
        serials.withLock { serial in
            serial += 1
            return serial
        }
    }
}

/// Without the consumer's name: there may be ten thousand.
struct ConsumerMetrics: Sendable {
    let delivered = Counter(label: "postrider_consumer_records_delivered_total")
    let redelivered = Counter(label: "postrider_consumer_records_redelivered_total")
    let acknowledged = Counter(label: "postrider_consumer_records_acknowledged_total")
    let expired = Counter(label: "postrider_consumer_leases_expired_total")
    let givenBack = Counter(label: "postrider_consumer_records_given_back_total")
    let deadLettered = Counter(label: "postrider_consumer_dead_letters_total")
    let deadLetterErrors = Counter(label: "postrider_consumer_dead_letter_errors_total")
    let windowsFull = Counter(label: "postrider_consumer_windows_full_total")
    let fetchErrors = Counter(label: "postrider_consumer_fetch_errors_total")
    let commitErrors = Counter(label: "postrider_consumer_commit_errors_total")
}
