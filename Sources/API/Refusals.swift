import Broker
import Consumers
import HTTPServer
import JSON
import Records
import Spool

// Every error of the modules below, as what a client is told. One place, so that a status means one thing.

extension Problem {
    /// Why records were not accepted.
    ///
    /// - Parameter estimate: seconds until the backlog that is in the way may be gone; nil where nothing is known.
    init(_ refusal: SpoolRefusal, retryAfterSeconds estimate: Int?) {
        let outcome: ProduceOutcome = refusal.outcomeUnknown ? .unknown : .notAccepted
        switch refusal {
        case .quota(let bytesMax):
            self.init(
                507, "spool_full", "The spool is full",
                "spool.bytes_max is \(bytesMax) bytes; room comes as records reach the broker")
        case .topicBacklog(let topic, let lane):
            self.init(
                507, "topic_backlog", "The topic's backlog has to be delivered first",
                "\(topic) belongs to lane \(lane), which the broker does not take records from; its records were put "
                    + "aside so that other lanes go on, and more of its topics are taken when those are delivered")
        case .laneDamaged(let topic, let lane):
            self.init(
                503, "spool_corruption", "The topic's records in the spool are damaged",
                "\(topic) belongs to lane \(lane), which cannot read its records; an operator has to repair the spool")
        case .closed(let code):
            self.init(503, code, "Nothing is accepted now", "an operator has to decide; see /readyz")
        case .noSpace(let wasWritten):
            self.init(
                507, "disk_full", "The disk is full",
                wasWritten
                    ? "a part of these records was written, and there is no space to undo it; only a start of the "
                        + "gateway before there is space again would find them"
                    : "records are accepted again when there is space")
        case .stalled(let wasWritten):
            self.init(
                503, "sync_stalled", "The disk does not answer",
                wasWritten
                    ? "a sync of these records takes longer than spool.sync_timeout" : "a sync before this one hangs")
        case .failed:
            self.init(503, "sync_failed", "The disk failed", "the gateway is about to stop; it recovers at its start")
        case .queueFull:
            self.init(503, "overloaded", "Too much is waiting for the disk", "the queue before the disk is full")
        case .tooLarge(let bytesMax):
            self.init(
                413, "request_too_large", "The request is too large", "\(bytesMax) bytes with overhead fit a segment")
        case .stopping:
            self.init(503, "stopping", "The gateway is stopping", "it accepts nothing any more")
        }
        self.outcome = outcome
        if status != 413 {
            retryable = true
            retryAfterSeconds =
                switch refusal {
                case .closed, .laneDamaged: 60
                case .topicBacklog: estimate ?? 30
                case .quota: estimate ?? 5
                case .noSpace: 5
                default: 1
                }
        }
    }

    init(_ error: BrokerError) {
        if error.code == "broker_denied" || error.code.hasSuffix("_authorization_failed") {
            // What was withdrawn may be given back.
            self.init(
                503, "broker_denied", "The broker does not let the gateway do it", "\(error.code): \(error.detail)",
                retryable: true, retryAfterSeconds: 5)
            return
        }
        if error.code == "too_many_consumers" {
            self.init(
                503, "too_many_consumers", "Too many consumers are in use", "consumers.max_active: \(error.detail)",
                retryable: true, retryAfterSeconds: 5)
            return
        }
        let status = error.class == .recordFatal ? 422 : 503
        self.init(status, "broker_unavailable", "The broker did not do it", "\(error.code): \(error.detail)")
        retryable = error.class == .retriable
        if status == 503 { retryAfterSeconds = 1 }
    }

    /// Of calls about topics, where some of the broker's refusals are the request's fault.
    init(topic error: BrokerError) {
        switch error.code {
        case "unknown_topic": self.init(404, error.code, "There is no such topic", error.detail)
        case "unknown_partition": self.init(404, error.code, "There is no such partition", error.detail)
        case "offset_out_of_range": self.init(400, error.code, "The offset is out of range", error.detail)
        case "invalid_partitions", "invalid_topic_settings":
            self.init(400, "invalid_field", "A parameter is not valid", error.detail)
        case "too_many_topics":
            self.init(
                429, "limit_reached", "A limit is reached", "topics: \(error.detail)", retryable: true,
                retryAfterSeconds: 1)
        default: self.init(error)
        }
    }

    static func unknownTopic(_ topic: TopicName) -> Problem {
        Problem(404, "unknown_topic", "There is no such topic", "\(topic) does not exist")
    }

    init(_ error: ConsumerError) {
        switch error {
        case .unknownConsumer(let name):
            self.init(
                404, error.code, "There is no such consumer", "\(name) is not defined; PUT it, or poll with ?topic=")
        case .unknownTopic(let name):
            self.init(404, error.code, "There is no such topic", "\(name) does not exist")
        case .conflict(let name, let reason):
            self.init(409, error.code, "The consumer is defined otherwise", "\(name): \(reason)")
        case .leasesLost(let result):
            self.init(
                409, error.code, "Some deliveries are no longer yours",
                "they were past their deadline, given back, of an older delivery, or never handed out; with the "
                    + "others it is done")
            extra = { writer in
                writer.key("results")
                writer.array { writer in
                    for outcome in result.outcomes { writer.string(outcome.rawValue) }
                }
                writer.committed(result.committed)
            }
        case .clientBusy(let client):
            self.init(409, error.code, "This client is polling already", "a poll of client \(client) is waiting")
        case .clientLeft:
            self.init(409, error.code, "The client left", "nothing was leased")
        case .invalid(let field, let reason):
            self = .invalid(field, reason, code: error.code)
        case .unreadable(let name):
            self.init(
                500, error.code, "The definition cannot be read",
                "\(name) was stored by a newer version; delete it, or replace it with ?replace=true")
        case .unavailable(let broker):
            self.init(broker)
            // A topic was deleted, and the consumer is about to hear of it: then the leases there are lost, and what
            // was in the same commit with them goes through.
            if broker.code == "unknown_topic" { (status, retryable, retryAfterSeconds) = (503, true, 1) }
        case .unverified:
            self.init(
                503, error.code, "The consumers are not known yet",
                "their definitions are read from the broker, which does not answer")
        case .activeElsewhere(let name):
            self.init(
                409, error.code, "The consumer is in use elsewhere",
                "members of the group of \(name) that are not this gateway's keep its offsets from being changed; "
                    + "nothing was changed")
        case .limitReached(let limit):
            self.init(429, error.code, "A limit is reached", "consumers.\(limit)")
        case .stopping:
            self.init(503, error.code, "The gateway is stopping", "or the consumer is being replaced")
        }
        if error.isRetriable {
            retryable = true
            if status == 429 || status == 503 { retryAfterSeconds = retryAfterSeconds ?? 1 }
        }
    }

    /// A body that is no JSON.
    init(_ error: JSONError) {
        self.init(
            400, "malformed_json", "The body is not valid JSON", error.description,
            parts: [Part(pointer: error.pointer, reason: "\(error.reason.rawValue) at byte \(error.position)")])
    }
}

extension Spool {
    /// A refusal as its client is told of it, with when to come back by what the lanes settle now.
    func problem(_ refusal: SpoolRefusal) -> Problem {
        Problem(refusal, retryAfterSeconds: retryAfterSeconds(refusal))
    }
}

extension JSONWriter {
    /// `"committed":[{topic, partition, offset}]`: the next offsets to read, as Kafka counts.
    mutating func committed(_ offsets: [TopicPartition: Int64]) {
        key("committed")
        array { writer in
            for (partition, offset) in offsets.sorted(by: { $0.key < $1.key }) {
                writer.object { writer in
                    writer.place(partition)
                    writer.key("offset")
                    writer.integer(offset)
                }
            }
        }
    }

    /// `"topic":…,"partition":…`
    mutating func place(_ partition: TopicPartition) {
        key("topic")
        string(partition.topic.text)
        key("partition")
        integer(partition.partition)
    }
}
