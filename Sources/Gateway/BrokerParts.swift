import API
import Broker
import EmbeddedBroker
import KafkaBroker
import Outcomes
import Primitives
import Spool

/// A broker behind its protocols, whichever it is: what the gateway needs of it.
struct BrokerParts: Sendable {
    var sinks: any RecordSinkFactory
    /// Where it keeps outcomes with its hand-overs; nil: it keeps none, and the spool does.
    var outcomes: OutcomeReader?
    var source: any RecordSource
    var offsets: any OffsetStore
    var topics: any TopicAdmin
    /// For status pages: from memory, never blocks.
    var health: @Sendable () -> GatewayView.Broker
    /// After the lanes and the consumers stopped. Blocks no longer than a few seconds.
    var close: @Sendable () -> Void
}

extension BrokerParts {
    /// The one that the settings name. Blocks on the disk; never on a cluster, which may be away.
    ///
    /// - Parameter failed: it refuses for good: the process must end. On any thread.
    static func open(
        _ settings: Settings, clock: any TimeSource, timers: any Timers,
        failed: @escaping @Sendable (BrokerError) -> Void
    ) throws(BrokerError) -> Self {
        switch settings.brokerKind {
        case .embedded: try embedded(settings, clock: clock, timers: timers, failed: failed)
        case .kafka: try kafka(settings, clock: clock, timers: timers)
        }
    }

    /// SQLite in the data directory. Blocks on the disk.
    private static func embedded(
        _ settings: Settings, clock: any TimeSource, timers: any Timers,
        failed: @escaping @Sendable (BrokerError) -> Void
    ) throws(BrokerError) -> Self {
        let directory = try directory("broker", in: settings)
        let broker = try EmbeddedBroker(
            directory: directory, settings: settings.broker, clock: clock, timers: timers, failed: failed)
        let guarantee = broker.guarantee.rawValue
        return Self(
            sinks: broker, outcomes: broker.outcomes, source: broker, offsets: broker, topics: broker,
            health: { GatewayView.Broker(kind: BrokerKind.embedded.rawValue, guarantee: guarantee, reachable: true) },
            close: { broker.close() })
    }

    /// A cluster, through librdkafka. What is known of its topics is kept in the data directory, so that intake works
    /// while it is away. Blocks on the disk.
    private static func kafka(_ settings: Settings, clock: any TimeSource, timers: any Timers) throws(BrokerError)
        -> Self
    {
        let topics = try KafkaTopics(
            settings: settings.kafka, directory: try directory("kafka", in: settings), clock: clock)
        let source = KafkaSource(settings: settings.kafka)
        let offsets: KafkaOffsets
        do throws(BrokerError) {
            offsets = try KafkaOffsets(settings: settings.kafka, source: source, clock: clock, timers: timers)
        } catch {
            source.stop()
            topics.close()
            throw error
        }
        let sinks = KafkaSinks(settings: settings.kafka, maxMessageBytes: { topics.messageBytesMax(of: $0) })
        let guarantee = sinks.guarantee.rawValue
        return Self(
            sinks: sinks, outcomes: nil, source: source, offsets: offsets, topics: topics,
            health: {
                let health = topics.health
                let isAway = health.isReachable == false
                return GatewayView.Broker(
                    kind: BrokerKind.kafka.rawValue, guarantee: guarantee, reachable: health.isReachable,
                    detail: isAway ? health.lastError : nil, topicsWarned: health.topicsWarned,
                    warnings: health.ownTopicWarnings)
            },
            close: {
                offsets.stop()
                source.stop()
                topics.close()
            })
    }

    private static func directory(_ name: String, in settings: Settings) throws(BrokerError) -> String {
        let path = "\(settings.dataDirectory)/\(name)"
        do throws(FileSystemError) {
            try SystemFileSystem().createDurableDirectory(path)
        } catch {
            throw BrokerError(.processFatal, code: "directory", detail: error.description)
        }
        return path
    }
}
