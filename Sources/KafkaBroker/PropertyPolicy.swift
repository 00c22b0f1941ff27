import CRdkafka
import Glibc

/// Which librdkafka properties may be passed through. What would break a promise, or has a setting of its own, is
/// refused by name with the reason. (librdkafka's CONFIGURATION.md lists what there is.)
public enum PropertyPolicy {
    /// Why this property may not be set; nil when it may.
    public static func refusal(of name: String) -> String? { refused[name] }

    /// Whether the value is never shown, wherever it comes from.
    public static func isSecret(_ name: String) -> Bool {
        name.hasSuffix("password") || name.hasSuffix(".key.pem") || name.hasSuffix("secret")
            || name == "sasl.jaas.config" || name == "sasl.oauthbearer.config"
    }

    /// Every property of the installed librdkafka, in its order; empty when it cannot say.
    public static let known: [String] = {
        guard let table = pr_properties_text() else { return [] }
        defer { free(table) }
        return String(cString: table).split(separator: "\n").compactMap { line in
            let cells = line.split(separator: "|", maxSplits: 2, omittingEmptySubsequences: false)
            let name = cells[0].filter { $0 != " " }
            return cells.count == 3 && name.first?.isLowercase == true ? name : nil
        }
    }()

    static let refused = Dictionary(
        uniqueKeysWithValues: refusals.flatMap { reason, names in names.map { ($0, reason) } })

    /// A reason, and what it is the reason for.
    private static let refusals: [(String, [String])] = [
        ("set broker.kafka.bootstrap_servers", ["bootstrap.servers", "metadata.broker.list"]),
        ("set broker.kafka.transaction_timeout", ["transaction.timeout.ms"]),
        ("set broker.kafka.socket_timeout", ["socket.timeout.ms"]),
        ("set broker.kafka.reconnect_max", ["reconnect.backoff.ms", "reconnect.backoff.max.ms"]),
        ("set broker.kafka.metadata_refresh", ["topic.metadata.refresh.interval.ms", "metadata.max.age.ms"]),
        ("set linger.ms", ["queue.buffering.max.ms"]),
        (
            "acknowledgements are always all: a record must not die with one broker",
            ["acks", "request.required.acks"]
        ),
        ("producers are always idempotent", ["enable.idempotence"]),
        ("Postrider decides what a failed record means for those behind it", ["enable.gapless.guarantee"]),
        (
            "order within a partition depends on it",
            ["max.in.flight", "max.in.flight.requests.per.connection", "queuing.strategy", "msg_order_cmp"]
        ),
        (
            "transient failures are retried for ever, at Postrider's own pace",
            ["retries", "message.send.max.retries", "fetch.error.backoff.ms"]
        ),
        ("Postrider decides when a hand-over is given up", ["message.timeout.ms", "delivery.timeout.ms"]),
        ("it is made of the spool and the lane", ["transactional.id"]),
        ("Postrider chooses partitions as the Java client does", ["partitioner", "partitioner_cb"]),
        ("every delivery report is counted", ["delivery.report.only.error", "produce.offset.report"]),
        ("it is the consumer's name, with broker.kafka.group_prefix", ["group.id"]),
        (
            "memberships are Postrider's",
            [
                "group.instance.id", "partition.assignment.strategy", "group.protocol", "group.protocol.type",
                "group.remote.assignor",
            ]
        ),
        (
            "only an acknowledgement commits",
            [
                "enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store",
                "offset.store.method", "offset.store.path", "offset.store.sync.interval.ms",
            ]
        ),
        ("a consumer begins where its definition says", ["auto.offset.reset"]),
        ("reading is always read_committed", ["isolation.level"]),
        ("Postrider needs to know the end of a partition", ["enable.partition.eof"]),
        ("set broker.kafka.create_topics", ["allow.auto.create.topics"]),
        ("set limits.record_bytes_max", ["message.max.bytes"]),
        ("it would hide topics", ["topic.blacklist"]),
        (
            "memory is bounded by forwarder.memory_max",
            [
                "queue.buffering.max.messages", "queue.buffering.max.kbytes", "queue.buffering.backpressure.threshold",
            ]
        ),
        (
            "memory is bounded by consumers.prefetch_bytes_max",
            [
                "queued.min.messages", "queued.max.messages.kbytes", "consume.callback.max.messages",
                "fetch.max.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes",
            ]
        ),
        ("small requests must not wait for the answer to the one before", ["socket.nagle.disable"]),
        (
            "transactions need brokers that tell their versions",
            ["api.version.request", "api.version.fallback.ms", "broker.version.fallback"]
        ),
        ("no foreign code is loaded", ["plugin.library.paths", "interceptors"]),
        ("a mock cluster keeps nothing", ["test.mock.num.brokers", "test.mock.broker.rtt"]),
        ("Postrider writes librdkafka's log itself", ["log.queue", "log.connection.close"]),
        ("nothing reads librdkafka's statistics: Postrider has metrics of its own", ["statistics.interval.ms"]),
        ("signals are the process's own", ["internal.termination.signal"]),
        (
            "it is no text: only a program can set it",
            [
                "enabled_events", "error_cb", "throttle_cb", "stats_cb", "log_cb", "background_event_cb", "socket_cb",
                "connect_cb", "closesocket_cb", "open_cb", "resolve_cb", "opaque", "default_topic_conf", "consume_cb",
                "rebalance_cb", "offset_commit_cb", "dr_cb", "dr_msg_cb", "oauthbearer_token_refresh_cb",
                "ssl.certificate.verify_cb", "ssl_engine_callback_data", "ssl_key", "ssl_certificate", "ssl_ca",
            ]
        ),
        ("it says what the library can, and changes nothing", ["builtin.features"]),
    ]
}
