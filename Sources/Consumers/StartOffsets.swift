import Broker
import Records

/// Resolves where a new consumer begins, for every partition of its topics, one topic after the other. A topic that
/// producing to it would create is created: a consumer may be there before the first record, or before the hand-over of
/// the first.
enum StartOffsets {
    typealias Completion = @Sendable (Result<[TopicPartition: Int64], ConsumerError>) -> Void

    /// Completes on one of the broker's threads. - Parameter topics: bounded by `topicsPerConsumerMax`.
    static func resolve(
        _ topics: ArraySlice<TopicName>, from: StartPosition, admin: any TopicAdmin,
        known: [TopicPartition: Int64] = [:], wasCreated: Bool = false, completion: @escaping Completion
    ) {
        guard let topic = topics.first else { return completion(.success(known)) }
        admin.describe(topic) { result in
            let description: TopicDescription
            switch result {
            case .failure(let error): return completion(.failure(.unavailable(error)))
            case .success(nil):
                if wasCreated { return completion(.failure(.unknownTopic(topic))) }
                return make(topic, admin) { problem in
                    if let problem { return completion(.failure(problem)) }
                    resolve(
                        topics, from: from, admin: admin, known: known, wasCreated: true, completion: completion)
                }
            case .success(let found?): description = found
            }
            // Nothing is guessed: a consumer that began elsewhere would skip or repeat records.
            if let silent = description.partitions.first(where: { $0.lowWatermark == nil || $0.highWatermark == nil }) {
                let detail = "the leader of \(silent.place(topic)) does not tell its offsets"
                return completion(
                    .failure(.unavailable(BrokerError(.retriable, code: "leader_not_available", detail: detail))))
            }
            var offsets = known
            switch from {
            case .earliest:
                for partition in description.partitions {
                    offsets[partition.place(topic)] = partition.lowWatermark
                }
            case .latest:
                for partition in description.partitions {
                    offsets[partition.place(topic)] = partition.highWatermark
                }
            case .time(let ms):
                return admin.offsets(of: topic, atOrAfterMs: ms) { found in
                    var offsets = known
                    switch found {
                    case .failure(let error): completion(.failure(.unavailable(error)))
                    case .success(let byPartition):
                        // One that is not among them has nothing at or after the time.
                        for partition in description.partitions {
                            offsets[partition.place(topic)] =
                                byPartition[partition.partition] ?? partition.highWatermark
                        }
                        resolve(
                            topics.dropFirst(), from: from, admin: admin, known: offsets, completion: completion)
                    }
                }
            }
            resolve(topics.dropFirst(), from: from, admin: admin, known: offsets, completion: completion)
        }
    }

    /// What producing to the topic would do. - Parameter completion: nil when it is there.
    private static func make(
        _ topic: TopicName, _ admin: any TopicAdmin, completion: @escaping @Sendable (ConsumerError?) -> Void
    ) {
        admin.verify(topic) { knowledge in
            switch knowledge {
            case .known: completion(nil)
            case .missing: completion(.unknownTopic(topic))
            case .unverified:
                completion(
                    .unavailable(
                        BrokerError(
                            .retriable, code: "topic_unverified", detail: "\(topic) cannot be checked now")))
            case .creatable:
                admin.create(topic, settings: TopicSettings()) { created in
                    if case .failure(let error) = created { return completion(.unavailable(error)) }
                    completion(nil)
                }
            }
        }
    }
}

extension PartitionDescription {
    fileprivate func place(_ topic: TopicName) -> TopicPartition { TopicPartition(topic: topic, partition: partition) }
}
