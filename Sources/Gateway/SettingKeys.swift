import API
import Consumers
import DeadLetters
import EmbeddedBroker
import Forwarder
import HTTPServer
import Journal
import KafkaBroker
import Outcomes
import Spool
import Telemetry

extension Settings {
    private static let requestAges = Duration.seconds(1)...Duration.seconds(366 * 24 * 3600)

    static let upToTheBroker: [SettingKey] = [
        SettingKey(
            name: "data_dir",
            help: "Holds the spool, the embedded broker and dead letters. Made when missing; its parent must exist.",
            expected: "a path", set: setDataDirectory, show: { $0.dataDirectory }),

        SettingKey(
            name: "http.listen",
            help: "Where to listen. HOST is a numeric address, IPv6 in brackets; port 0: the system chooses one.",
            expected: "HOST:PORT with a numeric address", form: "`HOST:PORT`", set: setListen,
            show: { "\($0.http.address.contains(":") ? "[\($0.http.address)]" : $0.http.address):\($0.http.port)" }),
        flag(
            "http.insecure_listen", \.insecureListen,
            "Listen beyond loopback, where there is no authentication yet."),
        count("http.connections_max", \.http.connectionsMax, 16...1_000_000, "Open connections."),
        count(
            "http.connections_per_address_max", \.http.perAddressConnectionsMax, 0...1_000_000,
            "Open connections from one address, of IPv6 from one /64; 0 is no limit."),
        count("http.threads", \.http.threads, 1...64, "Event loops."),
        bytes(
            "http.header_bytes_max", \.http.connectionMemoryBytes,
            "Request line and headers of a connection, and the header fields of its responses."),
        bytes("http.body_memory_max", \.http.bodyMemoryMax, "Bodies of all requests in flight together."),
        bytes(
            "http.response_memory_max", \.http.responseMemoryMax,
            "Responses of all requests in flight together. One record as JSON may take six times its bytes."),
        duration("http.idle_timeout", \.http.idleTimeout, "A connection on which nothing moves is closed."),
        duration("http.header_timeout", \.http.headerTimeout, "For the headers of a request."),
        count(
            "http.body_rate_min", \.http.bodyRateMin, 0...1_000_000,
            "Bytes of a body a second, on the average; looked at after http.header_timeout."),
        duration("http.request_timeout", \.http.requestTimeout, "For a whole request, its response included."),
        flag(
            "http.trace_headers", \.limits.traceHeaders,
            "Keep traceparent and tracestate of a produce request as headers of its records."),
        flag("http.gzip", \.http.gzip, "Compress answers of text for clients that accept gzip."),
        list(
            "http.cors_origins", \.http.corsOrigins, HTTPServerSettings.areOrigins, "origins such as https://a.example",
            "Origins whose web pages may call (CORS)."),
        list(
            "http.allowed_hosts", \.http.allowedHosts, HTTPServerSettings.areHosts, "host names or addresses",
            "Names in Host besides those of loopback; none: any, but on loopback no other."),
        duration("http.stop_timeout", \.stopTimeout, "How long a graceful stop waits for requests in flight."),

        count("spool.lanes", \.spool.lanes, 1...SpoolSettings.lanesMax, "Forwarding threads; fixed at creation."),
        bytes64("spool.bytes_max", \.spool.bytesMax, "Bytes in the spool; beyond it records are refused with 507."),
        count(
            "spool.high_water_percent", \.spool.highWaterPercent, 1...100,
            "Of spool.bytes_max; from there on a lane that stands still is parked."),
        bytes64(
            "spool.parked_bytes_max", \.spool.parkedBytesMax, least: 0,
            "Bytes of parked records, besides spool.bytes_max; 0 parks no lane."),
        duration("spool.park_after", \.spool.parkAfter, "A lane that delivers nothing for so long stands still."),
        bytes("spool.segment_bytes", \.spool.journal.segmentBytes, "Length of a segment file."),
        bytes("spool.group_bytes_max", \.spool.journal.groupBytesMax, "Requests gathered into one sync."),
        bytes("spool.tail_bytes_max", \.spool.journal.tailBytesMax, "Recent records kept in memory for the forwarder."),
        bytes("spool.reserve_bytes", \.spool.journal.reserveBytes, "Kept free for bookkeeping on a full disk."),
        flag(
            "spool.zero_fill", \.spool.journal.zeroFill,
            "Fill segments with zeros ahead of time: faster syncs for twice the bytes written."),
        flag(
            "spool.allow_network_file_system", \.allowNetworkFileSystem,
            "Start although the data directory is on NFS, SMB or alike; else that is refused."),
        duration("spool.commit_delay", \.spool.journal.commitDelay, "Waits for company before a sync."),
        duration("spool.sync_timeout", \.spool.journal.syncTimeout, "After it, waiting requests get 503 unknown."),
        count(
            "spool.outcome_waits_max", \.spool.outcomeWaitsMax, 0...1_000_000,
            "Requests that wait for outcomes; more are answered at once."),
        SettingKey(
            name: "spool.sync", help: "always: 202 after the sync. interval: before it, said as buffered.",
            expected: "always or interval",
            set: { settings, text in
                switch text {
                case "always": settings.spool.journal.sync = .always
                case "interval": settings.spool.journal.sync = .interval(settings.syncInterval)
                default: return nil
                }
                return ()
            },
            show: { if case .always = $0.spool.journal.sync { "always" } else { "interval" } }),
        SettingKey(
            name: "spool.sync_interval", help: "With spool.sync=interval: the longest time before a sync.",
            expected: "a time such as 100ms or 1s", form: "time; more than 0ms", unit: .time,
            set: { settings, text in
                guard let duration = parseDuration(text), duration > .zero else { return nil }
                settings.syncInterval = duration
                // By itself it never weakens the policy.
                if case .interval = settings.spool.journal.sync { settings.spool.journal.sync = .interval(duration) }
                return ()
            },
            show: { showDuration($0.syncInterval) }),

        count("forwarder.batch_records_max", \.forwarder.batchRecordsMax, 1...100_000, "Records in one hand-over."),
        bytes("forwarder.batch_bytes_max", \.forwarder.batchBytesMax, "Bytes in one hand-over."),
        count(
            "forwarder.drain_records_max", \.forwarder.drainRecordsMax, 1...1_000_000,
            "Records in one hand-over while a lane drains a backlog."),
        bytes(
            "forwarder.drain_bytes_max", \.forwarder.drainBytesMax,
            "Bytes in one hand-over while a lane drains a backlog."),
        duration(
            "forwarder.hand_over_interval", \.forwarder.handOverInterval,
            "Under load, a lane begins hand-overs at most this often."),
        bytes(
            "forwarder.memory_max", \.forwarder.memoryMax,
            "Records in memory over all lanes, copies of the broker's client included."),
        duration("forwarder.retry_initial", \.forwarder.retryInitial, "First pause after a failure."),
        duration("forwarder.retry_max", \.forwarder.retryMax, "Longest pause after failures."),
        duration(
            "forwarder.missing_topic_timeout", \.forwarder.missingTopicTimeout,
            "How long a topic must be missing at the broker before records of it die."),
        duration(
            "forwarder.stop_timeout", \.forwarder.stopTimeout,
            "How long a graceful stop lets hand-overs end before it interrupts them."),

        duration("receipts.retention", \.receipts.retention, "How long receipts tell where records are, at least."),
        bytes64(
            "receipts.bytes_max", \.receipts.bytesMax,
            "What is kept for receipts; past it the oldest is forgotten sooner."),
        count(
            "receipts.in_memory", \.spool.outcomesInMemory, 0...10_000_000,
            "Delivered records whose receipts need no disk."),

        SettingKey(
            name: "broker.kind", help: "Where records go: embedded, or kafka.", expected: "embedded or kafka",
            set: { settings, text in
                guard let kind = BrokerKind(rawValue: text) else { return nil }
                settings.brokerKind = kind
                return ()
            },
            show: { $0.brokerKind.rawValue }),
        SettingKey(
            name: "broker.embedded.partitions_default", help: "Partitions of a topic created on first produce.",
            expected: "a whole number from 1 to 1024", form: "1 to 1,024",
            set: { settings, text in
                guard let value = Int32(text), (1...1024).contains(value) else { return nil }
                settings.broker.partitionsDefault = value
                return ()
            },
            show: { String($0.broker.partitionsDefault) }),
        flag("broker.embedded.create_topics", \.broker.createTopics, "Whether producing creates a topic."),
        optionalCount(
            "broker.embedded.retention_ms", \.broker.retentionMs,
            "Milliseconds after which records go; none keeps them."),
        optionalBytes(
            "broker.embedded.retention_bytes", \.broker.retentionBytes, "Bytes of a partition that are kept; none: all."
        ),
        optionalBytes("broker.embedded.bytes_max", \.broker.quotaBytes, "Size of the broker's file; none: no limit."),
    ]

    static let behindTheBroker: [SettingKey] = [
        bytes64("dead_letters.bytes_max", \.deadLetters.bytesMax, "Size of the dead-letter store."),
        count(
            "dead_letters.ends_kept", \.deadLetters.endsKept, 0...10_000_000,
            "Dead letters sent again or discarded that receipts know."),

        duration(
            "idempotency.lifetime", \.spool.idempotency.lifetime, within: Self.requestAges,
            "For so long a key answers repetitions."),
        count(
            "idempotency.keys_max", \.spool.idempotency.keysMax, 1...100_000_000,
            "Keys that are remembered; a request with another is refused with 503."),
        count(
            "idempotency.producers_max", \.spool.idempotency.producersMax, 1...100_000,
            "Producers whose sequence is remembered; another one is refused with 503."),
        duration(
            "idempotency.producer_idle", \.spool.idempotency.producerIdle, within: Self.requestAges,
            "A producer that sent nothing for so long is forgotten, and begins at 1."),

        duration("consumers.ack_deadline", \.consumers.ackDeadlineDefault, "For consumers that name none."),
        count("consumers.max_in_flight", \.consumers.maxInFlightDefault, 1...100_000, "For consumers that name none."),
        duration("consumers.nack_delay", \.consumers.nackDelayDefault, "For nacks that name none."),
        duration("consumers.nack_delay_max", \.consumers.nackDelayMax, "Longest delay a nack may ask for."),
        count("consumers.polls_waiting_max", \.consumers.pollsWaitingMax, 1...1_000_000, "Polls waiting at one time."),
        bytes(
            "consumers.prefetch_bytes_max", \.kafka.prefetchBytesMax,
            "Kafka: records fetched ahead, over all consumers."),
        count(
            "consumers.max_active", \.kafka.consumersActiveMax, 1...10_000,
            "Kafka: consumers with a live membership at one time."),
        duration("consumers.idle_close", \.consumers.idleClose, "When an unused consumer leaves its group."),

        bytes("limits.request_bytes_max", \.limits.requestBytesMax, "A request in one piece."),
        bytes("limits.record_bytes_max", \.limits.recordBytesMax, "Key, value and headers of a record."),
        count("limits.records_max", \.limits.recordsMax, 1...100_000, "Records in one request."),
        duration("limits.wait_max", \.limits.waitMax, "Longest wait of a poll, and of Prefer: wait."),

        SettingKey(
            name: "log.level", help: "The least severe level that is written.",
            expected: "one of " + LogLevel.allCases.map(\.rawValue).joined(separator: ", ") + ",",
            set: { settings, text in
                guard let level = LogLevel(rawValue: text) else { return nil }
                settings.log.level = level
                return ()
            },
            show: { $0.log.level.rawValue }),
        SettingKey(
            name: "log.format", help: "auto: text for people on a terminal, JSON lines otherwise.",
            expected: "auto, text or json",
            set: { settings, text in
                if text == "auto" {
                    settings.log.format = nil
                    return ()
                }
                guard let format = LogFormat(rawValue: text) else { return nil }
                settings.log.format = format
                return ()
            },
            show: { $0.log.format?.rawValue ?? "auto" }),
        value(
            "log.requests", \.http.requestLog.kept,
            "Requests that are told of: none, errors (from 400 on), those and slow ones, or all.",
            "none, errors, slow+errors or all", parse: { RequestLogSettings.Kept(rawValue: $0) },
            show: { $0.rawValue }),
        duration(
            "log.slow_request", \.http.requestLog.slow, "A request is slow that takes longer, its waits not counted."),
        count(
            "log.repeats_max", \.log.repeatsMax, 0...1_000_000,
            "Lines of one kind within 10 s; more are counted. 0: no limit."),
    ]
    private static func setDataDirectory(_ settings: inout Settings, _ text: String) -> Void? {
        guard !text.isEmpty, text.utf8.count <= pathBytesMax, text.utf8.allSatisfy({ $0 >= 32 }) else { return nil }
        settings.dataDirectory = text
        return ()
    }

    /// Room for the names below it within PATH_MAX.
    private static let pathBytesMax = 3_072

    private static func setListen(_ settings: inout Settings, _ text: String) -> Void? {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        settings.http.address = String(text[..<colon].drop { $0 == "[" }.prefix { $0 != "]" })
        settings.http.port = port
        return ()
    }
}
