import Broker
import CRdkafka
import Logging
import Primitives
import Records

/// One pass over all topics of the cluster, in steps, so that whoever waits for one topic does not wait for all.
struct TopicRound {
    /// Topics that vanished and are asked for by name; the others are left to the next round.
    private static let vanishedMax = 100

    private let broker: Int32?
    private var left: [KafkaMetadata.Topic]
    private var vanished: [TopicName]

    /// nil: the cluster does not answer.
    init?(_ keeper: TopicKeeper) {
        guard let metadata = keeper.metadata(of: nil) else { return nil }
        let now = keeper.clock.now()
        broker = metadata.broker
        left = metadata.topics.filter(\.isTold)
        let names = Set(left.map(\.name))
        let left = left
        let (gone, overflowed) = keeper.catalog.withLock { catalog in
            for topic in left {
                catalog.found(topic.name, partitions: Int32(clamping: topic.partitions.count), at: now)
            }
            return (catalog.entries.keys.filter { !names.contains($0) }, catalog.takeOverflow())
        }
        vanished = Array(gone.sorted().prefix(Self.vanishedMax))
        if overflowed > 0 {
            Limit.kafkaTopics.reached()
            keeper.log.warning(
                "more topics than are remembered",
                metadata: ["forgotten": "\(overflowed)", "limit": "\(keeper.settings.topicsMax)"])
        }
    }

    /// - Returns: whether there is more to do.
    mutating func step(_ keeper: TopicKeeper) -> Bool {
        // A topic that we may not see is not listed either: only asking for it by name tells.
        if let topic = vanished.popLast() {
            // (Not to make it again: somebody deleted it.)
            if !keeper.ask(topic, creates: false) { return false }
            return !vanished.isEmpty || !left.isEmpty
        }
        let piece = Array(left.suffix(AdminClient.describedMax))
        left.removeLast(piece.count)
        keeper.describe(piece, at: broker)
        return !left.isEmpty
    }
}

extension TopicKeeper {
    /// Asks about one topic, and tells the catalog.
    ///
    /// - Parameter creates: whether it is made where it is missing and producing may make it.
    /// - Returns: false when the cluster did not answer.
    func ask(_ topic: TopicName, creates: Bool) -> Bool {
        guard var answer = metadata(of: topic) else { return false }
        if creates, settings.createTopics, answer.topics.first?.isAbsent == true, create(topic) {
            guard let again = made(topic) else { return false }
            answer = again
        }
        guard let found = answer.topics.first(where: { $0.name == topic }) else { return true }
        if found.isAbsent {
            catalog.withLock { [now = clock.now()] in $0.absent(topic, at: now) }
        } else if !found.isTold {
            // Not ours to see, or not ready: what is known stays.
            log.warning(
                "a topic cannot be looked at",
                metadata: ["topic": "\(topic)", "error": "\(KafkaError(found.error))"])
        } else {
            describe([found], at: answer.broker)
        }
        return true
    }

    /// What is told of a topic that was just made: not every broker knows of it at once.
    private func made(_ topic: TopicName) -> KafkaMetadata? {
        let deadline = clock.now() + settings.socketTimeout
        var backoff = Backoff(initial: .milliseconds(10), cap: .milliseconds(200))
        while true {
            guard let answer = metadata(of: topic) else { return nil }
            let next = clock.now() + backoff.nextDelay()
            if answer.topics.first?.isTold == true || next >= deadline || pause(until: next) { return answer }
        }
    }

    /// What about a topic can lose data.
    func warnings(_ topic: KafkaMetadata.Topic, _ configuration: TopicConfiguration?) -> [String] {
        OwnTopic(topic.name, settings) == nil
            ? TopicConfiguration.warnings(topic.partitions, configuration)
            : OwnTopic.warnings(topic.partitions, configuration, replicas: settings.replicationFactor)
    }

    /// What producing to a topic that is not there does, where that is allowed.
    private func create(_ topic: TopicName) -> Bool {
        var new = AdminClient.NewTopic()
        new.partitions = settings.partitionsDefault ?? -1
        new.replicationFactor = settings.replicationFactor ?? -1
        do throws(KafkaError) {
            try admin.create(topic, new, until: clock.now() + settings.adminTimeout)
        } catch {
            if error.code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS { return true }
            log.warning("a topic cannot be created", metadata: ["topic": "\(topic)", "error": "\(error)"])
            return false
        }
        log.notice("topic created", metadata: ["topic": "\(topic)"])
        return true
    }

    /// Reads the configuration of topics that exist, and tells the catalog.
    ///
    /// - Parameter broker: any that answers knows.
    /// - Precondition: at most `AdminClient.describedMax` topics.
    func describe(_ topics: [KafkaMetadata.Topic], at broker: Int32?) {
        var found: [TopicName: Result<TopicConfiguration, KafkaError>] = [:]
        do throws(KafkaError) {
            found = try admin.configurations(
                of: topics.map(\.name), at: broker, until: clock.now() + settings.socketTimeout)
        } catch {
            log.debug("configurations of topics cannot be read", metadata: ["error": "\(error)"])
        }
        let now = clock.now()
        catalog.withLock { [found] catalog in
            for topic in topics {
                var configuration: TopicConfiguration?
                if case .success(let read)? = found[topic.name] { configuration = read }
                catalog.found(
                    topic.name, partitions: Int32(clamping: topic.partitions.count), limits: configuration?.limits,
                    at: now)
                // Nobody produces to a topic of Postrider's own through intake, and it is always in use.
                if OwnTopic(topic.name, settings) != nil { catalog.use(topic.name) }
                catalog.warn(topic.name, warnings(topic, configuration))
            }
        }
    }
}
