import CRdkafka
import Primitives
import Records

/// What a broker says of the cluster (Metadata request), taken over: the C memory is free again.
struct KafkaMetadata {
    struct Partition: Hashable {
        var partition: Int32
        /// nil: none, the partition is offline.
        var leader: Int32?
        var replicas: [Int32]
        var inSyncReplicas: [Int32]
    }

    struct Topic {
        var name: TopicName
        /// `NO_ERROR`, or why there is no more to tell.
        var error: rd_kafka_resp_err_t
        /// By number.
        var partitions: [Partition]

        var isAbsent: Bool {
            [
                RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
            ].contains(error)
        }

        /// It exists, and its partitions are told. (A leader or replica that is away is an error of a partition.)
        var isTold: Bool {
            !partitions.isEmpty
                && [
                    RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                    RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
                ].contains(error)
        }
    }

    /// Ids of all of the cluster's brokers.
    var brokers: [Int32]
    /// The one that answered, or any where that is not known: it is there, so it can be asked more.
    var broker: Int32?
    var topics: [Topic]
}

extension KafkaClient {
    /// Asks any broker. Blocks.
    ///
    /// - Parameter topic: nil for every topic that we may see.
    func metadata(of topic: TopicName?, within limit: Duration) throws(KafkaError) -> KafkaMetadata {
        var asked: OpaquePointer?
        if let topic {
            asked = rd_kafka_topic_new(handle, topic.text, nil)
            guard asked != nil else { throw KafkaError(rd_kafka_last_error()) }
        }
        defer { if let asked { rd_kafka_topic_destroy(asked) } }
        var answer: UnsafePointer<rd_kafka_metadata>?
        try check(rd_kafka_metadata(handle, topic == nil ? 1 : 0, asked, &answer, limit.timeoutMs))
        guard let answer else { throw KafkaError(RD_KAFKA_RESP_ERR__BAD_MSG) }
        defer { rd_kafka_metadata_destroy(answer) }
        let metadata = answer.pointee
        let topics = UnsafeBufferPointer(start: metadata.topics, count: Int(metadata.topic_cnt))
        let brokers = UnsafeBufferPointer(start: metadata.brokers, count: Int(metadata.broker_cnt)).map(\.id)
        let broker = brokers.first { $0 == metadata.orig_broker_id } ?? brokers.first
        return KafkaMetadata(
            brokers: brokers, broker: broker, topics: topics.compactMap(KafkaMetadata.Topic.init))
    }

    /// Of the last metadata; nil before it, and for clusters that have none (before Kafka 0.10.1). Does not ask.
    var clusterID: String? {
        guard let id = rd_kafka_clusterid(handle, 0) else { return nil }
        defer { rd_kafka_mem_free(handle, id) }
        return String(cString: id)
    }
}

extension KafkaMetadata.Topic {
    /// nil for a name that Kafka itself would not take.
    fileprivate init?(_ topic: rd_kafka_metadata_topic) {
        guard let name = TopicName(String(cString: topic.topic)) else { return nil }
        self.name = name
        error = topic.err
        partitions = UnsafeBufferPointer(start: topic.partitions, count: Int(topic.partition_cnt)).map { partition in
            KafkaMetadata.Partition(
                partition: partition.id, leader: partition.leader < 0 ? nil : partition.leader,
                replicas: Array(UnsafeBufferPointer(start: partition.replicas, count: Int(partition.replica_cnt))),
                inSyncReplicas: Array(UnsafeBufferPointer(start: partition.isrs, count: Int(partition.isr_cnt))))
        }.sorted { $0.partition < $1.partition }
    }
}

extension Duration {
    /// For librdkafka's calls: at least 1 ms, since 0 and −1 have meanings of their own.
    var timeoutMs: Int32 { Int32(clamping: max(1, wholeMilliseconds)) }
}
