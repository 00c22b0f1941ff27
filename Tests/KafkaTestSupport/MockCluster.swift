import CRdkafka

/// librdkafka's in-process cluster: real sockets on loopback, Kafka's protocol, errors and delays at will. What it
/// cannot do is listed in `MockLimits`.
// SAFETY: the handles are used under librdkafka's own locks; `rd_kafka_mock_*` may be called from any thread.
public final class MockCluster: @unchecked Sendable {
    private let client: OpaquePointer
    private let cluster: OpaquePointer
    public let brokers: Int32

    /// `HOST:PORT` with commas between them.
    public let bootstrapServers: String

    /// - Precondition: librdkafka has memory and sockets.
    public init(brokers: Int32 = 3) {
        guard let conf = Self.quiet(), let client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nil, 0),
            let cluster = rd_kafka_mock_cluster_new(client, brokers)
        else { preconditionFailure("no mock cluster") }
        self.client = client
        self.cluster = cluster
        self.brokers = brokers
        bootstrapServers = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
    }

    /// Its client says nothing: it has no servers, and the cluster's log is nobody's.
    private static func quiet() -> OpaquePointer? {
        let conf = rd_kafka_conf_new()
        rd_kafka_conf_set(conf, "log_level", "0", nil, 0)
        return conf
    }

    deinit {
        rd_kafka_mock_cluster_destroy(cluster)
        rd_kafka_destroy(client)
    }

    public func createTopic(_ name: String, partitions: Int32 = 4) {
        rd_kafka_mock_topic_create(cluster, name, partitions, brokers)
    }

    /// What metadata says of a topic; 0: nothing is wrong with it.
    public func setError(of topic: String, to code: Int32) {
        rd_kafka_mock_topic_set_error(cluster, topic, rd_kafka_resp_err_t(rawValue: code))
    }

    /// The next requests of this kind at any broker fail with these codes, in order.
    public func pushErrors(_ kind: RequestKind, _ codes: [Int32]) {
        let errors = codes.map { rd_kafka_resp_err_t(rawValue: $0) }
        rd_kafka_mock_push_request_errors_array(cluster, kind.rawValue, errors.count, errors)
    }

    /// The next request of this kind at this broker (1…) is answered with this code after a delay. With code 0 and a
    /// delay over the client's socket time-out the request is done and its acknowledgement lost.
    public func pushError(_ kind: RequestKind, _ code: Int32, afterMs: Int32, broker: Int32) {
        pr_mock_push_error_rtt(cluster, broker, kind.rawValue, rd_kafka_resp_err_t(rawValue: code), afterMs)
    }

    /// Every request of this kind fails with this code until `allow`, but at one broker.
    public func deny(_ kind: RequestKind, _ code: Int32, exceptAt broker: Int32) {
        // A broker that had an error of its own does not look at those of the cluster.
        pushError(kind, 0, afterMs: 0, broker: broker)
        pushErrors(kind, Array(repeating: code, count: 10_000))
    }

    /// Ends `deny` and `pushErrors`.
    public func allow(_ kind: RequestKind) { rd_kafka_mock_clear_request_errors(cluster, kind.rawValue) }

    /// Closes the broker's connections and refuses new ones.
    public func setDown(_ broker: Int32) { rd_kafka_mock_broker_set_down(cluster, broker) }
    public func setUp(_ broker: Int32) { rd_kafka_mock_broker_set_up(cluster, broker) }

    /// Every answer of this broker takes this long: over the client's socket time-out it is frozen.
    public func setRoundTrip(_ broker: Int32, milliseconds: Int32) {
        rd_kafka_mock_broker_set_rtt(cluster, broker, milliseconds)
    }

    public func setLeader(of topic: String, partition: Int32, to broker: Int32) {
        rd_kafka_mock_partition_set_leader(cluster, topic, partition, broker)
    }

    /// - Parameter kind: `transaction` or `group`.
    public func setCoordinator(_ kind: String, of key: String, to broker: Int32) {
        rd_kafka_mock_coordinator_set(cluster, kind, key, broker)
    }
}

/// Kinds of requests by Kafka's API keys.
public enum RequestKind: Int16, Sendable, CaseIterable {
    case produce = 0
    case fetch = 1
    case listOffsets = 2
    case metadata = 3
    case offsetCommit = 8
    case offsetFetch = 9
    case findCoordinator = 10
    case joinGroup = 11
    case heartbeat = 12
    case leaveGroup = 13
    case syncGroup = 14
    case createTopics = 19
    case initProducerID = 22
    case addPartitionsToTransaction = 24
    case endTransaction = 26
}
