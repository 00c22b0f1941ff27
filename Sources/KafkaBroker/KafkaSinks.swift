public import Broker
public import Logging
import Primitives
public import Records

/// Opens the sinks of lanes on a Kafka cluster. Any thread may call.
public final class KafkaSinks: RecordSinkFactory {
    public let guarantee: Guarantee
    /// librdkafka keeps a copy of what is under way.
    public let memoryFactor = 2

    private let settings: KafkaBrokerSettings
    private let log: Logger
    private let limits: BatchLimits
    private let interruption = Interruption()
    private let poller = IdlePoller()

    /// - Parameter maxMessageBytes: a topic's `max.message.bytes`; nil where it is not known. Called on lanes' threads,
    ///   from memory.
    public init(
        settings: KafkaBrokerSettings, maxMessageBytes: @escaping @Sendable (TopicName) -> Int? = { _ in nil },
        log: Logger = Logger(label: "postrider.kafka")
    ) {
        self.settings = settings
        self.log = log
        limits = BatchLimits(maxMessageBytes: maxMessageBytes)
        guarantee = settings.guarantee
    }

    /// Creates the topic of checkpoints where it is missing.
    ///
    /// - Throws: process-fatal when the configuration is wrong or the cluster does not grant the guarantee; retriable
    ///   whenever the cluster does not answer, after `transactionTimeout` at the latest, and when the checkpoint could
    ///   not be read to its end.
    public func openSink(
        spool: SpoolID, lane: Int
    ) throws(BrokerError) -> (sink: any RecordSink, previous: SinkCheckpoint?) {
        let producer = try SinkProducer(
            settings, spool: spool, lane: lane, limits: limits, interruption: Interruption(parent: interruption))
        do throws(BrokerError) {
            // The topic first: creating it may take a while, and whoever has initialized should begin soon.
            let topic = try OwnTopic(named: settings.checkpointTopic, settings)
            try topic.ensure(producer.client, settings, interruption, log)
            if guarantee == .exactlyOnce { try TransactionalSink.initialize(producer) }
            let reader = CheckpointReader(settings: settings, interruption: interruption)
            let previous = try reader.read(spool: spool, lane: lane, end: producer.client)
            poller.add(producer)
            switch guarantee {
            case .exactlyOnce: return (TransactionalSink(producer), previous)
            case .atLeastOnce: return (IdempotentSink(producer), previous)
            }
        } catch {
            producer.close()
            throw error.class == .processFatal ? refused(error) : error
        }
    }

    private func refused(_ error: BrokerError) -> BrokerError {
        guard error.code.hasPrefix("unsupported") else { return error }
        return BrokerError(
            .processFatal, code: error.code,
            detail: "the cluster does not grant the guarantee \(guarantee.rawValue): \(error.detail)")
    }

    /// The process stops: openings that are under way, later ones, and hand-overs end within about a second with a
    /// retriable error. Any thread; never blocks.
    public func interrupt() { interruption.interrupt() }
}
