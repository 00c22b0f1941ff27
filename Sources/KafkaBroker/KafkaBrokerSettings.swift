public import Broker

/// How to reach a Kafka cluster and what to ask of it. Every limit has its default here.
public struct KafkaBrokerSettings: Sendable {
    /// `HOST:PORT` with commas between them.
    public var bootstrapServers = ""
    public var guarantee = Guarantee.exactlyOnce
    /// librdkafka properties passed through (TLS, SASL and the like), checked by `PropertyPolicy`.
    public var properties: [String: String] = [:]
    /// Properties whose values were read from files: shown no more than those that `PropertyPolicy.isSecret` names.
    public var secretProperties: Set<String> = []

    /// Put before a consumer's name to make its group id.
    public var groupPrefix = ""
    /// Compacted; holds how far each lane of each spool was handed over.
    public var checkpointTopic = "_postrider_checkpoints"
    /// Compacted; holds the definitions of named consumers.
    public var consumersTopic = "_postrider_consumers"

    /// Whether producing to an unknown topic creates it.
    public var createTopics = false
    /// Partitions of a topic created without a number; nil: the cluster's `num.partitions`.
    public var partitionsDefault: Int32?
    /// Replicas of topics that Postrider creates; nil: the cluster's `default.replication.factor`.
    public var replicationFactor: Int16?

    /// A request without an answer for this long fails, and its connection is closed (`socket.timeout.ms`).
    public var socketTimeout = Duration.seconds(5)
    /// A transaction open for longer is aborted by the broker (`transaction.timeout.ms`).
    public var transactionTimeout = Duration.seconds(15)
    /// Longest pause between tries to connect (`reconnect.backoff.max.ms`).
    public var reconnectMax = Duration.seconds(2)
    /// How long one administrative call may take, its wait for the calls before it included.
    public var adminTimeout = Duration.seconds(10)
    /// How long a start waits for the definitions of consumers. Later they are told when they are there.
    public var definitionsWait = Duration.seconds(3)
    /// Administrative calls waiting; more are refused as retriable `broker_busy`.
    public var adminCallsMax = 256
    /// Requests that wait until Kafka has been asked about a topic; more are told that it cannot be checked now.
    public var verificationsMax = 1_000
    /// Topics that are remembered. Beyond it Kafka is asked again for each request to one of the others.
    public var topicsMax = 50_000
    /// Time between two looks whether the cluster answers.
    public var probeInterval = Duration.seconds(5)
    /// Time between two warnings about topics that can lose data.
    public var warningInterval = Duration.seconds(3600)
    /// How long a client may take to close before it is left to end by itself.
    public var closeTimeout = Duration.seconds(5)
    /// How old what is known of topics may get (`topic.metadata.refresh.interval.ms`).
    public var metadataRefresh = Duration.seconds(60)

    /// Key, value and headers of the largest record (`limits.record_bytes_max`); `message.max.bytes` follows from it.
    public var recordBytesMax = 1 << 20
    /// Bytes of records queued in one producer (`queue.buffering.max.kbytes`): at least a hand-over, within
    /// `forwarder.memory_max`.
    public var producerQueueBytes = 64 << 20
    /// Bytes fetched ahead over all consumers; each has its share (`queued.max.messages.kbytes`).
    public var prefetchBytesMax = 64 << 20
    /// Named consumers with a live membership at one time.
    public var consumersActiveMax = 200
    /// How long a revoked partition's commits under way are waited for.
    public var revocationDrain = Duration.seconds(5)
    /// How long a fetch may take, once there is something to fetch.
    public var readTimeout = Duration.seconds(10)
    /// A named consumer that goes back by at most so many offsets reads them again beside its stream; farther back the
    /// stream itself begins there.
    public var rereadOffsetsMax: Int64 = 10_000
    /// Threads, each with a client, for reads without a group and records that are handed out again.
    public var readers = 4
    /// Reads waiting for one of them; more are refused (`too_many_reads`).
    public var readsWaitingMax = 1_000
    /// Bytes that one of them has fetched and not looked at (`queued.max.messages.kbytes`).
    public var readerBytes = 1 << 20
    /// Reads that wait for records at one time; more are refused (`too_many_watches`).
    public var watchesMax = 10_000
    /// How often committed offsets of consumers without members are committed again, unchanged: a cluster forgets
    /// those of empty groups (`offsets.retention.minutes`, 7 days).
    public var offsetsRecommit = Duration.seconds(24 * 3600)
    /// Whether the cluster has DeleteGroups (Kafka 1.1). librdkafka 2.0 aborts the process where it asks one that has
    /// not, as its mock cluster: then the offsets of forgotten consumers stay until they expire.
    public var deletesGroups = true

    public init() {}

    /// Whether the value of a property is never shown.
    public func isSecret(_ name: String) -> Bool {
        PropertyPolicy.isSecret(name) || secretProperties.contains(name)
    }
}
