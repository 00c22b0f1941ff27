/// Which librdkafka properties may be passed through. What would break a promise, or has a setting of its own, is
/// refused by name with the reason.
public enum PropertyPolicy {
    /// Why this property may not be set; nil when it may.
    public static func refusal(of name: String) -> String? { refused[name] }

    /// Whether the value is never shown.
    public static func isSecret(_ name: String) -> Bool {
        name.hasSuffix("password") || name.hasSuffix(".key.pem") || name.hasSuffix("secret")
            || name == "sasl.jaas.config"
            || name == "sasl.oauthbearer.config"
    }

    static let refused: [String: String] = [
        "bootstrap.servers": "set broker.kafka.bootstrap_servers",
        "metadata.broker.list": "set broker.kafka.bootstrap_servers",
        "acks": "acknowledgements are always all: a record must not die with one broker",
        "request.required.acks": "acknowledgements are always all: a record must not die with one broker",
        "enable.idempotence": "producers are always idempotent",
        "enable.gapless.guarantee": "Postrider decides what a failed record means for those behind it",
        "max.in.flight": "order within a partition depends on it",
        "max.in.flight.requests.per.connection": "order within a partition depends on it",
        "retries": "transient failures are retried for ever",
        "message.send.max.retries": "transient failures are retried for ever",
        "message.timeout.ms": "Postrider decides when a hand-over is given up",
        "delivery.timeout.ms": "Postrider decides when a hand-over is given up",
        "transactional.id": "it is made of the spool and the lane",
        "transaction.timeout.ms": "set broker.kafka.transaction_timeout",
        "partitioner": "Postrider chooses partitions as the Java client does",
        "group.id": "it is the consumer's name",
        "group.instance.id": "memberships are Postrider's",
        "partition.assignment.strategy": "memberships are Postrider's",
        "enable.auto.commit": "only an acknowledgement commits",
        "auto.commit.enable": "only an acknowledgement commits",
        "auto.commit.interval.ms": "only an acknowledgement commits",
        "enable.auto.offset.store": "only an acknowledgement commits",
        "offset.store.method": "only an acknowledgement commits",
        "auto.offset.reset": "a consumer begins where its definition says",
        "isolation.level": "reading is always read_committed",
        "enable.partition.eof": "Postrider needs to know the end of a partition",
        "queue.buffering.max.messages": "memory is bounded by forwarder.memory_max",
        "queue.buffering.max.kbytes": "memory is bounded by forwarder.memory_max",
        "queued.min.messages": "memory is bounded by consumers.prefetch_bytes_max",
        "queued.max.messages.kbytes": "memory is bounded by consumers.prefetch_bytes_max",
        "fetch.max.bytes": "memory is bounded by consumers.prefetch_bytes_max",
        "fetch.message.max.bytes": "memory is bounded by consumers.prefetch_bytes_max",
        "max.partition.fetch.bytes": "memory is bounded by consumers.prefetch_bytes_max",
        "socket.timeout.ms": "set broker.kafka.socket_timeout",
        "plugin.library.paths": "no foreign code is loaded",
        "test.mock.num.brokers": "a mock cluster keeps nothing",
    ]
}
