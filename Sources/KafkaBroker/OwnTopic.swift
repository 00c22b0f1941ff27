import Broker
import CRdkafka
import Logging
import Primitives
import Records

/// A compacted topic in which Postrider keeps what is its own: checkpoints, or definitions of consumers.
struct OwnTopic {
    let name: TopicName
    /// In use; a topic that somebody made with fewer is refused.
    let partitions: Int32
    /// What it is made with.
    let configuration: [String: String]

    /// nil: none of Postrider's.
    init?(_ name: TopicName, _ settings: KafkaBrokerSettings) {
        switch name.text {
        case settings.checkpointTopic:
            (partitions, configuration) = (CheckpointTopic.partitions, CheckpointTopic.configuration)
        case settings.consumersTopic:
            (partitions, configuration) = (DefinitionsTopic.partition + 1, DefinitionsTopic.configuration)
        default: return nil
        }
        self.name = name
    }

    /// - Throws: process-fatal for a name that Kafka would not take.
    init(named text: String, _ settings: KafkaBrokerSettings) throws(BrokerError) {
        guard let name = TopicName(text), let topic = OwnTopic(name, settings) else {
            throw BrokerError(
                .processFatal, code: "invalid_configuration", detail: "a topic cannot be named \(text)")
        }
        self = topic
    }

    /// Makes the topic where the cluster does not have it. Blocks, `socketTimeout` and where it is made `adminTimeout`
    /// at most.
    ///
    /// - Throws: process-fatal when somebody made it with too few partitions, or when it may never be made; else
    ///   retriable.
    func ensure(
        _ client: KafkaClient, _ settings: KafkaBrokerSettings, _ interruption: Interruption, _ log: Logger
    ) throws(BrokerError) {
        var count = try client.partitions(of: name, Patience(settings.socketTimeout, interruption))
        if count == nil {
            let patience = Patience(settings.adminTimeout, interruption)
            let isOurs = try create(client, settings, patience)
            while count == nil, let slice = try patience.next() {
                count = try client.partitions(of: name, patience)
                if count == nil { rd_kafka_poll(client.handle, slice) }
            }
            guard count != nil else { throw .timedOut("waiting for \(name) to exist") }
            if isOurs {
                log.notice(
                    "created a topic of Postrider's own",
                    metadata: [
                        "topic": "\(name)", "partitions": "\(partitions)",
                        "replication": "\(settings.replicationFactor.map(String.init) ?? "the cluster's default")",
                    ])
            }
        }
        guard let count, count >= partitions else {
            throw BrokerError(
                .processFatal, code: "checkpoint_topic_invalid",
                detail: "topic \(name) has \(count ?? 0) partitions and needs \(partitions): add partitions to it")
        }
    }

    /// - Returns: false: somebody else was faster, or the cluster makes topics by itself only.
    private func create(
        _ client: KafkaClient, _ settings: KafkaBrokerSettings, _ patience: Patience
    ) throws(BrokerError) -> Bool {
        let clock = SystemClock()
        let new = AdminClient.NewTopic(
            partitions: partitions, replicationFactor: settings.replicationFactor ?? -1, configuration: configuration)
        // Asked again as long as nobody answers: that it exists is an answer too.
        while let slice = try patience.next(Patience.requestSlice) {
            do throws(KafkaError) {
                try AdminClient(client: client, clock: clock)
                    .create(name, new, until: clock.now() + .milliseconds(Int64(slice)))
                return true
            } catch {
                switch error.code {
                case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE: return false
                case RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT: continue
                default: throw ErrorTable.brokerError(KafkaError(error.code, "creating \(name): \(error.text)"))
                }
            }
        }
        throw .timedOut("creating \(name)")
    }

    /// What about the topic, as it is, can lose what is kept there; in words for people.
    ///
    /// - Parameters:
    ///   - configuration: nil when it could not be read.
    ///   - replicas: asked for by `replicationFactor`.
    static func warnings(
        _ partitions: [KafkaMetadata.Partition], _ configuration: TopicConfiguration?, replicas: Int16?
    ) -> [String] {
        var warnings = TopicConfiguration.warnings(partitions, configuration, isCompactionMeant: true)
        if let replicas, replicas > 3, let found = partitions.map(\.replicas.count).min(), found < replicas {
            warnings.append("replication factor \(found), under the \(replicas) of broker.kafka.replication_factor")
        }
        if let policies = configuration?.cleanupPolicies, policies != ["compact"] {
            warnings.append(
                "cleanup.policy \(policies.joined(separator: ",")), not compact: retention removes what Postrider "
                    + "must find again")
        }
        return warnings
    }
}
