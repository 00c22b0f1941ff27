public import Broker
import CRdkafka
import Logging
import Primitives
public import Records

extension KafkaTopics: TopicAdmin {
    public func knowledge(of topic: TopicName) -> TopicKnowledge { keeper.knowledge(of: topic) }

    public func verify(_ topic: TopicName, completion: @escaping @Sendable (TopicKnowledge) -> Void) {
        keeper.verify(topic, completion: completion)
    }

    public func topics(completion: @escaping @Sendable (Result<[TopicName], BrokerError>) -> Void) {
        queue.submit(completion: completion) { [self] deadline throws(BrokerError) in
            do throws(KafkaError) {
                return try client.metadata(of: nil, within: left(deadline)).topics
                    .filter(\.isTold).map(\.name).sorted()
            } catch {
                throw ErrorTable.brokerError(error)
            }
        }
    }

    public func describe(
        _ topic: TopicName, completion: @escaping @Sendable (Result<TopicDescription?, BrokerError>) -> Void
    ) {
        queue.submit(completion: completion) { [self] deadline throws(BrokerError) in
            try stated(topic) { () throws(KafkaError) in
                guard let (found, broker) = try find(topic, until: deadline) else { return nil }
                let configuration = try configuration(of: topic, at: broker, until: deadline)
                let ends = watermarks(of: found, until: deadline)
                return TopicDescription(
                    name: topic,
                    partitions: found.partitions.map { partition in
                        PartitionDescription(
                            partition: partition.partition, leader: partition.leader, replicas: partition.replicas,
                            inSyncReplicas: partition.inSyncReplicas, lowWatermark: ends.low[partition.partition],
                            highWatermark: ends.high[partition.partition])
                    },
                    settings: configuration?.settings ?? TopicSettings(),
                    warnings: keeper.warnings(found, configuration))
            }
        }
    }

    /// Replicas are `replicationFactor`, and partitions that are not asked for `partitionsDefault`, or the cluster's
    /// defaults (Kafka 2.4 and newer). Intake knows the topic when this completes.
    ///
    /// - Throws (by the completion): `invalid_partitions`, `invalid_topic_settings`, `broker_refused` (a policy of the
    ///   cluster, fewer brokers than replicas), `broker_denied`.
    public func create(
        _ topic: TopicName, settings requested: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) {
        queue.submit(completion: completion) { [self] deadline throws(BrokerError) in
            try stated(topic) { () throws(KafkaError) in
                var new = AdminClient.NewTopic()
                new.partitions = requested.partitions ?? settings.partitionsDefault ?? -1
                new.replicationFactor = settings.replicationFactor ?? -1
                new.configuration = TopicConfiguration.changes(requested)
                do throws(KafkaError) {
                    try admin.create(topic, new, until: deadline)
                } catch {
                    guard error.code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS else { throw error }
                    return false
                }
                learn(topic, [:], until: deadline)
                return true
            }
        }
    }

    /// What somebody else changes at the same moment may be undone (`AdminClient.configure`).
    ///
    /// - Throws (by the completion): `invalid_topic_settings`, `broker_refused`, `broker_denied`.
    public func configure(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) {
        queue.submit(completion: completion) { [self] deadline throws(BrokerError) in
            try stated(topic) { () throws(KafkaError) in
                guard try find(topic, until: deadline) != nil else { return false }
                let changes = TopicConfiguration.changes(settings)
                if changes.isEmpty { return true }
                guard try change(topic, changes, until: deadline) else { return false }
                learn(topic, changes, until: deadline)
                return true
            }
        }
    }

    /// Kafka decides for each partition: an offset past the end, and a partition that is not there, refuse the whole
    /// call before anything is removed, but a leader that fails then leaves the others purged. Repeating is safe.
    ///
    /// - Throws (by the completion): also `broker_refused` (a compacted topic), `broker_denied`.
    public func purge(
        _ topic: TopicName, below offsets: [Int32: Int64],
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) {
        queue.submit(completion: completion) { [self] deadline throws(BrokerError) in
            try checkPurge(topic, offsets, until: deadline)
            return try stated(topic) { () throws(KafkaError) in
                var lows: [Int32: Int64] = [:]
                for (partition, result) in try admin.deleteRecords(topic, below: offsets, until: deadline) {
                    lows[partition] = try result.get()
                }
                return lows
            }
        }
    }

    public func delete(_ topic: TopicName, completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void) {
        queue.submit(completion: completion) { [self] deadline throws(BrokerError) in
            try stated(topic) { () throws(KafkaError) in
                var existed = true
                do throws(KafkaError) {
                    try admin.delete(topic, until: deadline)
                } catch {
                    guard error.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART else { throw error }
                    existed = false
                }
                keeper.catalog.withLock { [now = clock.now()] in $0.absent(topic, at: now) }
                return existed
            }
        }
    }

    public func offsets(
        of topic: TopicName, atOrAfterMs timestampMs: Int64,
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) {
        queue.submit(completion: completion) { [self] deadline throws(BrokerError) in
            guard let found = try stated(topic, { () throws(KafkaError) in try find(topic, until: deadline) }) else {
                throw .unknownTopic(topic)
            }
            return try stated(topic) { () throws(KafkaError) in
                let partitions = found.topic.partitions.map(\.partition)
                // Negative times mean other things to Kafka.
                let times = try admin.offsets(of: topic, partitions, at: max(0, timestampMs), until: deadline)
                let ends = try admin.offsets(of: topic, partitions, at: AdminClient.endTime, until: deadline)
                var offsets: [Int32: Int64] = [:]
                for partition in partitions {
                    let (found, end) = (try times[partition]?.get() ?? -1, try ends[partition]?.get() ?? -1)
                    offsets[partition] = found >= 0 ? found : end
                }
                return offsets
            }
        }
    }

    // MARK: - Parts of calls

    private func left(_ deadline: MonotonicInstant) -> Duration { deadline - clock.now() }

    /// Kafka's refusals in the API's words.
    private func stated<Answer>(
        _ topic: TopicName, _ body: () throws(KafkaError) -> Answer
    ) throws(BrokerError) -> Answer {
        do throws(KafkaError) {
            return try body()
        } catch {
            throw BrokerError(topic: topic, error)
        }
    }

    /// For so long brokers may differ about what was just made or changed: each learns of it by itself, with Kafka 4.0
    /// half a second later than the one that was asked to.
    private static let spreadMax = Duration.seconds(2)

    /// nil: there is no such topic. One that intake knows is asked for again for `spreadMax`.
    private func find(
        _ topic: TopicName, until deadline: MonotonicInstant
    ) throws(KafkaError) -> (topic: KafkaMetadata.Topic, broker: Int32?)? {
        let end = min(deadline, clock.now() + Self.spreadMax)
        var backoff = Backoff(initial: .milliseconds(10), cap: .milliseconds(200))
        while true {
            let answer = try client.metadata(of: topic, within: left(deadline))
            if let found = answer.topics.first(where: { $0.name == topic }), !found.isAbsent {
                guard found.isTold else { throw KafkaError(found.error) }
                return (found, answer.broker)
            }
            let next = clock.now() + backoff.nextDelay()
            guard case .known = keeper.knowledge(of: topic), next < end else { return nil }
            queue.pause(until: next)
        }
    }

    /// nil: not ours to read, or the cluster has no such call.
    private func configuration(
        of topic: TopicName, at broker: Int32?, until deadline: MonotonicInstant
    ) throws(KafkaError) -> TopicConfiguration? {
        let told: Result<TopicConfiguration, KafkaError>?
        do throws(KafkaError) {
            told = try admin.configurations(of: [topic], at: broker, until: deadline)[topic]
        } catch {
            told = .failure(error)
        }
        switch told {
        case .success(let configuration)?: return configuration
        case .failure(let error)?
        where error.code != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            && error.code != RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
            throw error
        case .failure?, nil: return nil
        }
    }

    /// Of the partitions whose leaders tell.
    private func watermarks(
        of topic: KafkaMetadata.Topic, until deadline: MonotonicInstant
    ) -> (low: [Int32: Int64], high: [Int32: Int64]) {
        // A partition without a leader would be waited for.
        let led = topic.partitions.filter { $0.leader != nil }.map(\.partition)
        func offsets(_ time: Int64) -> [Int32: Int64] {
            do throws(KafkaError) {
                return try admin.offsets(of: topic.name, led, at: time, until: deadline).compactMapValues {
                    if case .success(let offset) = $0, offset >= 0 { offset } else { nil }
                }
            } catch {
                log.info(
                    "watermarks cannot be read", metadata: ["topic": "\(topic.name)", "error": "\(error)"])
                return [:]
            }
        }
        return (offsets(AdminClient.beginningTime), offsets(AdminClient.endTime))
    }

    private func checkPurge(
        _ topic: TopicName, _ offsets: [Int32: Int64], until deadline: MonotonicInstant
    ) throws(BrokerError) {
        guard let found = try stated(topic, { () throws(KafkaError) in try find(topic, until: deadline) }) else {
            throw .unknownTopic(topic)
        }
        let partitions = Set(found.topic.partitions.map(\.partition))
        if let unknown = offsets.keys.sorted().first(where: { !partitions.contains($0) }) {
            throw BrokerError(
                .recordFatal, code: "unknown_partition",
                detail: "\(topic)/\(unknown): the topic has partitions 0 to \(partitions.count - 1)")
        }
        let ends = try stated(topic) { () throws(KafkaError) in
            try admin.offsets(of: topic, Array(offsets.keys), at: AdminClient.endTime, until: deadline)
        }
        for (partition, offset) in offsets.sorted(by: { $0.key < $1.key }) {
            let end = try stated(topic) { () throws(KafkaError) in try ends[partition]?.get() ?? 0 }
            guard offset >= 0, offset <= end else {
                throw BrokerError(
                    .recordFatal, code: "offset_out_of_range",
                    detail: "\(topic)/\(partition): \(offset) is not within 0 to \(end)")
            }
        }
    }

    /// - Returns: false when there is no such topic, also after `spreadMax`.
    private func change(
        _ topic: TopicName, _ changes: [String: String], until deadline: MonotonicInstant
    ) throws(KafkaError) -> Bool {
        let end = min(deadline, clock.now() + Self.spreadMax)
        var backoff = Backoff(initial: .milliseconds(10), cap: .milliseconds(200))
        while true {
            do throws(KafkaError) {
                try admin.configure(topic, changes, until: deadline)
                return true
            } catch {
                guard error.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART else { throw error }
            }
            let next = clock.now() + backoff.nextDelay()
            guard next < end else { return false }
            queue.pause(until: next)
        }
    }

    /// Waits until a broker tells of the topic that was just made or changed, so that intake does from now on. Not an
    /// error when none does in time: it will be verified.
    private func learn(_ topic: TopicName, _ changes: [String: String], until deadline: MonotonicInstant) {
        let spread = clock.now() + Self.spreadMax
        var backoff = Backoff(initial: .milliseconds(10), cap: .milliseconds(200))
        while true {
            let next = clock.now() + backoff.nextDelay()
            do throws(KafkaError) {
                if let (found, broker) = try find(topic, until: deadline) {
                    var isTold = next >= spread
                    if !isTold { isTold = try tells(of: topic, changes, at: broker, until: deadline) }
                    if isTold { return keeper.describe([found], at: broker) }
                }
            } catch {
                log.debug("a topic is not told of yet", metadata: ["topic": "\(topic)", "error": "\(error)"])
            }
            guard next < deadline else { return }
            queue.pause(until: next)
        }
    }

    /// Whether the broker has heard of the changes, as far as it lets us see.
    private func tells(
        of topic: TopicName, _ changes: [String: String], at broker: Int32?, until deadline: MonotonicInstant
    ) throws(KafkaError) -> Bool {
        if changes.isEmpty { return true }
        guard let told = try configuration(of: topic, at: broker, until: deadline) else { return true }
        return changes.allSatisfy { told.values[$0.key] == $0.value }
    }
}
