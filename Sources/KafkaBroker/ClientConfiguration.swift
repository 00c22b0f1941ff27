import Broker
import CRdkafka

/// What a client of the cluster is for; decides the properties that promises rest on.
enum ClientRole: Equatable {
    /// Exactly-once hand-over of one lane.
    case transactionalProducer(id: String)
    /// At-least-once hand-over of one lane.
    case idempotentProducer
    /// Membership of one named consumer.
    case groupConsumer(group: String)
    /// Reads without a group, and never commits.
    case reader
    /// Administrative calls.
    case admin

    /// Shown in logs and in `client.id`.
    var name: String {
        switch self {
        case .transactionalProducer: "sink"
        case .idempotentProducer: "sink"
        case .groupConsumer: "consumer"
        case .reader: "reader"
        case .admin: "admin"
        }
    }

    var isConsumer: Bool {
        switch self {
        case .groupConsumer, .reader: true
        case .transactionalProducer, .idempotentProducer, .admin: false
        }
    }
}

/// The properties of one client: the operator's first, then Postrider's own, which none of the operator's can be
/// (`PropertyPolicy`).
struct ClientConfiguration {
    var settings: KafkaBrokerSettings
    var role: ClientRole
    /// Of one consumer: its share of `prefetchBytesMax`.
    var prefetchBytes: Int
    /// Of a producer: one batch for one partition.
    var batchBytes: Int
    /// How long a broker holds a fetch that finds nothing; nil: as `fetch.wait.max.ms` says, or 100 ms. It is also how
    /// long a partition that is resumed or read from elsewhere may have to wait for the fetch that was sent without it.
    var fetchWait: Duration?

    init(settings: KafkaBrokerSettings, role: ClientRole, prefetchBytes: Int = 1 << 20) {
        self.settings = settings
        self.role = role
        self.prefetchBytes = prefetchBytes
        batchBytes = settings.properties["batch.size"].flatMap { Int($0) } ?? Self.batchBytesDefault
    }

    /// librdkafka's `batch.size`.
    private static let batchBytesDefault = 1_000_000
    /// A record's frame and headers of Postrider's own, over what `limits.record_bytes_max` counts.
    private static let messageOverheadBytes = 64 << 10

    /// librdkafka keeps metadata three times as long, counted in µs in 32 bits: from 12 minutes on it forgets
    /// everything at once, and calls that look leaders up there time out.
    static let metadataRefreshMax = Duration.seconds(600)

    /// How long the cluster misses a member before its partitions go to others.
    private var sessionTimeoutMs: Int { settings.properties["session.timeout.ms"].flatMap { Int($0) } ?? 10_000 }
    private static let sessionGraceMs = 3_000

    /// Names and values in the order in which they are set, the last of a name counts.
    var properties: [(name: String, value: String)] {
        var own: [(String, String)] = [
            ("bootstrap.servers", settings.bootstrapServers),
            ("client.id", settings.properties["client.id"] ?? "postrider-\(role.name)"),
            ("socket.timeout.ms", ms(settings.socketTimeout)),
            // Small requests must not wait for an acknowledgement of the one before (Nagle).
            ("socket.nagle.disable", "true"),
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", ms(settings.reconnectMax)),
            ("topic.metadata.refresh.interval.ms", ms(min(settings.metadataRefresh, Self.metadataRefreshMax))),
            // Asking about a topic must not make it. (librdkafka obeys it in producers and admin clients too.)
            ("allow.auto.create.topics", "false"),
            // Our own callback writes them.
            ("log.queue", "false"),
            ("log.connection.close", "false"),
        ]
        switch role {
        case .transactionalProducer(let id):
            own += producer
            own += [
                ("transactional.id", id),
                ("transaction.timeout.ms", ms(settings.transactionTimeout)),
                // Must not be longer than the transaction.
                ("message.timeout.ms", ms(settings.transactionTimeout)),
            ]
        case .idempotentProducer:
            own += producer
            // No limit: a message that is given up would make a gap.
            own += [("message.timeout.ms", "0")]
        case .groupConsumer(let group):
            own += consumer
            own += [
                ("group.id", group),
                // The cooperative assignor has several bugs in librdkafka 2.0.
                ("partition.assignment.strategy", "range,roundrobin"),
                ("session.timeout.ms", String(sessionTimeoutMs)),
                // A SyncGroup waits for the group's leader, and where that is dead for the end of its session;
                // librdkafka gives it the socket's time at most, and would rejoin for ever, each time as another
                // member that is missed in its turn.
                (
                    "socket.timeout.ms",
                    String(max(sessionTimeoutMs + Self.sessionGraceMs, Int(ms(settings.socketTimeout)) ?? 0))
                ),
            ]
        case .reader:
            own += consumer
            // librdkafka wants one; nothing ever joins or commits with it.
            own += [("group.id", "\(settings.groupPrefix)postrider-reader")]
        case .admin:
            break
        }
        let taken = Set(own.map(\.0))
        let passed = settings.properties.filter { !taken.contains($0.key) }.sorted { $0.key < $1.key }
        return passed.map { ($0.key, $0.value) } + own
    }

    private var producer: [(String, String)] {
        [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("queue.buffering.max.kbytes", String(max(1, settings.producerQueueBytes >> 10))),
            ("queue.buffering.max.messages", "1000000"),
            // Whole batches only, while a hand-over is queued; its end flushes, which does not wait.
            ("linger.ms", settings.properties["linger.ms"] ?? "100"),
            ("batch.size", String(batchBytes)),
            ("message.max.bytes", String(settings.recordBytesMax + Self.messageOverheadBytes)),
            // A producer asks for ends of partitions only, and wants the real ones.
            ("isolation.level", "read_uncommitted"),
        ]
    }

    private var consumer: [(String, String)] {
        [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            // A position that is gone is told, never silently moved.
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("queued.max.messages.kbytes", String(max(1, prefetchBytes >> 10))),
            // One answer is no more than that either, unless a single batch is; librdkafka holds `fetch.max.bytes` to
            // be at least `message.max.bytes`.
            ("message.max.bytes", String(fetchBytes)),
            ("fetch.max.bytes", String(fetchBytes)),
            ("fetch.message.max.bytes", String(fetchBytes)),
            ("fetch.wait.max.ms", fetchWait.map(ms) ?? settings.properties["fetch.wait.max.ms"] ?? "100"),
            // A partition whose fetch failed is tried again as soon as a connection would be.
            ("fetch.error.backoff.ms", "100"),
        ]
    }

    private var fetchBytes: Int { min(max(1_000, prefetchBytes), 256 << 20) }

    /// - Returns: a configuration that the caller owns: `rd_kafka_new` takes it over on success, else it is destroyed
    ///   with `rd_kafka_conf_destroy`.
    /// - Throws: process-fatal, with librdkafka's own words and the property's name; never with a secret's value.
    func make() throws(BrokerError) -> OpaquePointer {
        for name in settings.properties.keys.sorted() {
            if let reason = PropertyPolicy.refusal(of: name) {
                throw .invalidProperty("\(name) cannot be set: \(reason)")
            }
        }
        guard let conf = rd_kafka_conf_new() else { throw .invalidProperty("no memory for a configuration") }
        for (name, value) in properties {
            // Settings of the other kind of client (a consumer's of a producer) warn only; unknown ones are refused.
            var reason = [CChar](repeating: 0, count: 512)
            guard rd_kafka_conf_set(conf, name, value, &reason, reason.count) != RD_KAFKA_CONF_OK else { continue }
            rd_kafka_conf_destroy(conf)
            throw .invalidProperty("\(name): \(settings.isSecret(name) ? "not accepted" : text(reason))")
        }
        return conf
    }

    private func ms(_ duration: Duration) -> String {
        String(max(1, duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000))
    }
}

/// A C string in a buffer.
func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
