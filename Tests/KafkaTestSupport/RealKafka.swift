import CRdkafka
import Glibc

/// The cluster named by `POSTRIDER_TEST_KAFKA` (`HOST:PORT,…`), for what librdkafka's mock cannot do (`MockLimits`).
/// Others may use it at the same time: topics and spools have names of their own.
public enum RealKafka {
    public static let bootstrapServers = getenv("POSTRIDER_TEST_KAFKA").map { String(cString: $0) }
    public static var isConfigured: Bool { bootstrapServers != nil }

    /// A topic of one's own, created.
    ///
    /// - Precondition: the cluster answers within half a minute.
    public static func makeTopic(
        _ prefix: String = "test", partitions: Int32 = 2, configuration: [String: String] = [:]
    ) -> String {
        let topic = "\(prefix)-\(UInt64.random(in: .min ... .max))"
        create(topic, partitions: partitions, configuration: configuration)
        return topic
    }

    public static func create(_ topic: String, partitions: Int32, configuration: [String: String] = [:]) {
        var new = rd_kafka_NewTopic_new(topic, partitions, -1, nil, 0)
        defer { rd_kafka_NewTopic_destroy(new) }
        for (name, value) in configuration { rd_kafka_NewTopic_set_config(new, name, value) }
        must(administer { client, queue in rd_kafka_CreateTopics(client, &new, 1, nil, queue) })
        waitUntilKnown(topic)
    }

    /// Brokers learn of a topic one after the other. One that does not answer is not waited for: it may be gone.
    public static func waitUntilKnown(_ topic: String) { waitUntil(topic, isKnown: true) }

    private static func waitUntil(_ topic: String, isKnown: Bool) {
        for server in (bootstrapServers ?? "").split(separator: ",") {
            wait(
                until: isKnown ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, of: topic,
                String(server))
        }
    }

    private static func wait(until state: rd_kafka_resp_err_t, of topic: String, _ server: String) {
        let client = producer(["bootstrap.servers": server, "log_level": "0"])
        defer { rd_kafka_destroy(client) }
        guard let handle = rd_kafka_topic_new(client, topic, nil) else { preconditionFailure("no topic handle") }
        defer { rd_kafka_topic_destroy(handle) }
        let deadline = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < deadline {
            var found: UnsafePointer<rd_kafka_metadata>?
            // Asks the broker that it has a connection with: that one.
            guard rd_kafka_metadata(client, 0, handle, &found, 5_000) == RD_KAFKA_RESP_ERR_NO_ERROR,
                let metadata = found
            else { return }
            defer { rd_kafka_metadata_destroy(metadata) }
            let topics = UnsafeBufferPointer(start: metadata.pointee.topics, count: Int(metadata.pointee.topic_cnt))
            if let description = topics.first, description.err == state { return }
            usleep(20_000)
        }
        preconditionFailure("\(server) does not hear of what became of \(topic)")
    }

    public static func delete(_ topic: String) {
        must(delete([topic]))
        waitUntil(topic, isKnown: false)
    }

    /// That one is not there is no error. - Returns: whether the cluster answered.
    @discardableResult
    public static func delete(_ topics: [String]) -> Bool {
        if topics.isEmpty { return true }
        var old = topics.map { rd_kafka_DeleteTopic_new($0) }
        defer { rd_kafka_DeleteTopic_destroy_array(&old, old.count) }
        return administer { client, queue in rd_kafka_DeleteTopics(client, &old, old.count, nil, queue) }
    }

    private static func must(_ isAnswered: Bool) { precondition(isAnswered, "the cluster did not answer") }

    private static func administer(_ call: (OpaquePointer, OpaquePointer) -> Void) -> Bool {
        let client = producer()
        defer { rd_kafka_destroy(client) }
        guard let queue = rd_kafka_queue_new(client) else { preconditionFailure("no queue") }
        defer { rd_kafka_queue_destroy(queue) }
        call(client, queue)
        guard let event = rd_kafka_queue_poll(queue, 30_000) else { return false }
        defer { rd_kafka_event_destroy(event) }
        return rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR
    }

    private static func producer(_ properties: [String: String] = [:]) -> OpaquePointer {
        let conf = rd_kafka_conf_new()
        let all = properties.merging(["bootstrap.servers": bootstrapServers ?? ""]) { own, _ in own }
        for (name, value) in all { rd_kafka_conf_set(conf, name, value, nil, 0) }
        guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nil, 0) else { preconditionFailure("no producer") }
        return client
    }

    /// Another program's transaction with one record on a partition, left open.
    // SAFETY: librdkafka's handle may be used from any thread.
    public final class OpenTransaction: @unchecked Sendable {
        private let client: OpaquePointer

        public init(topic: String, partition: Int32) {
            client = RealKafka.producer(["transactional.id": topic + String(UInt64.random(in: .min ... .max))])
            Self.must(rd_kafka_init_transactions(client, 30_000))
            Self.must(rd_kafka_begin_transaction(client))
            let code = pr_produce_by_name(client, topic, partition, "other", 5, "x", 1, 0, nil, nil)
            guard code == RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_flush(client, 30_000) == RD_KAFKA_RESP_ERR_NO_ERROR
            else { preconditionFailure("the cluster did not take a record") }
        }

        public func commit() { Self.must(rd_kafka_commit_transaction(client, 30_000)) }

        deinit { rd_kafka_destroy(client) }

        private static func must(_ error: OpaquePointer?) {
            if let error { preconditionFailure(String(cString: rd_kafka_error_string(error))) }
        }
    }
}
