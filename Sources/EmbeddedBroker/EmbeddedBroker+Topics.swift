public import Broker
public import Records
import Store

/// A deleted topic is not created again by producing to it: `knowledge` says `missing` until an explicit `create`, and
/// what was accepted before dies as `topic_deleted`. What was accepted before and is handed over only after that
/// `create` goes to the new topic.
extension EmbeddedBroker: TopicAdmin {
    public func knowledge(of topic: TopicName) -> TopicKnowledge { published.knowledge(of: topic) }

    /// What is in memory is what is committed: completes before it returns.
    public func verify(_ topic: TopicName, completion: @escaping @Sendable (TopicKnowledge) -> Void) {
        completion(published.knowledge(of: topic))
    }

    public func topics(completion: @escaping @Sendable (Result<[TopicName], BrokerError>) -> Void) {
        let published = published
        reads.submit(Job<Reader>(completion: completion) { (_) throws(JobFailure) in published.names })
    }

    public func describe(
        _ topic: TopicName, completion: @escaping @Sendable (Result<TopicDescription?, BrokerError>) -> Void
    ) {
        let published = published
        reads.submit(Job<Reader>(completion: completion) { (_) throws(JobFailure) in published.describe(topic) })
    }

    /// - Throws (by the completion): `invalid_partitions`, `invalid_topic_settings`, `too_many_topics`,
    ///   `partition_numbers_exhausted`.
    public func create(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) {
        writes.submit(
            Job<Writer>(completion: completion) { (writer) throws(JobFailure) in
                try writer.createTopic(topic, settings)
            })
    }

    /// - Throws (by the completion): `invalid_topic_settings`.
    public func configure(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) {
        writes.submit(
            Job<Writer>(completion: completion) { (writer) throws(JobFailure) in
                try writer.configureTopic(topic, settings)
            })
    }

    /// All of the partitions or none. The records' rows go in slices behind the answer, by retention.
    public func purge(
        _ topic: TopicName, below offsets: [Int32: Int64],
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) {
        writes.submit(
            Job<Writer>(completion: { [weak self] (result: Result<[Int32: Int64], BrokerError>) in
                if case .success = result { self?.retain(startingRound: false) }
                completion(result)
            }) { (writer) throws(JobFailure) in
                try writer.purge(topic, below: offsets)
            })
    }

    public func delete(_ topic: TopicName, completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void) {
        writes.submit(
            Job<Writer>(completion: { [weak self] (result: Result<Bool, BrokerError>) in
                if case .success(true) = result { self?.retain(startingRound: false) }
                completion(result)
            }) { (writer) throws(JobFailure) in
                try stored { () throws(StoreError) in try writer.deleteTopic(topic) }
            })
    }

    public func offsets(
        of topic: TopicName, atOrAfterMs timestampMs: Int64,
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) {
        let published = published
        reads.submit(
            Job<Reader>(completion: completion) { (reader) throws(JobFailure) in
                guard let state = published[topic] else { throw .refused(.unknownTopic(topic)) }
                let offsets = try stored { () throws(StoreError) in
                    try reader.snapshot { () throws(StoreError) in
                        var offsets: [Int32: Int64] = [:]
                        for (index, partition) in state.partitions.enumerated() {
                            offsets[Int32(index)] = try reader.offset(
                                partition: partition.number, atOrAfterMs: timestampMs)
                        }
                        return offsets
                    }
                }
                // Deleted meanwhile.
                guard offsets.count == state.partitions.count else { throw .refused(.unknownTopic(topic)) }
                return offsets
            })
    }
}
