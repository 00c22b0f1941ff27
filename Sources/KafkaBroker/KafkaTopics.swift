public import Broker
import CRdkafka
public import Logging
public import Primitives
public import Records

/// Topics of a Kafka cluster: what is known of them at intake (`TopicKeeper`), and administrative calls (`AdminQueue`),
/// over one client.
///
/// Life: `init` reads what was known before and begins to ask; `close` once. Any thread may call; completions come on
/// the threads `kafka-topics` and `kafka-admin-N`, and on the caller's where a call is refused at once.
///
/// A topic that clients may create by producing to it (`createTopics`) is created when it is verified, before anything
/// is accepted for it: `knowledge` never says `creatable`.
public final class KafkaTopics: Sendable {
    let client: KafkaClient
    let admin: AdminClient
    let keeper: TopicKeeper
    let queue: AdminQueue
    let settings: KafkaBrokerSettings
    /// The client holds it weakly.
    private let events: ClientEvents
    let clock: any TimeSource
    let log: Logger

    /// - Parameter directory: must exist; what is known of topics is kept there.
    /// - Throws: process-fatal for a bad configuration. A cluster that does not answer is no error.
    public convenience init(
        settings: KafkaBrokerSettings, directory: String, fileSystem: any FileSystem = SystemFileSystem(),
        clock: any TimeSource = SystemClock(), log: Logger = Logger(label: "postrider.kafka.topics")
    ) throws(BrokerError) {
        try self.init(
            ClientConfiguration(settings: settings, role: .admin), directory: directory, fileSystem: fileSystem,
            clock: clock, log: log)
    }

    init(
        _ configuration: ClientConfiguration, directory: String, fileSystem: any FileSystem, clock: any TimeSource,
        log: Logger
    ) throws(BrokerError) {
        let events = ClientEvents()
        client = try KafkaClient(configuration, delegate: events, log: log)
        settings = configuration.settings
        self.clock = clock
        self.log = log
        admin = AdminClient(client: client, clock: clock)
        keeper = TopicKeeper(
            settings: settings, admin: admin, directory: directory, fileSystem: fileSystem, clock: clock, log: log)
        queue = AdminQueue(jobsMax: settings.adminCallsMax, timeout: settings.adminTimeout, clock: clock)
        self.events = events
        events.follow(keeper)
        keeper.start()
    }

    /// Whether the cluster answers. From memory.
    public var health: KafkaHealth { keeper.health }

    /// The topic's `max.message.bytes`; nil: not known. From memory.
    public func messageBytesMax(of topic: TopicName) -> Int? {
        keeper.catalog.withLock { $0.entries[topic]?.limits?.messageBytesMax }
    }

    /// Fails what waits and ends threads and client. Blocks for `closeTimeout` at most: what takes longer then ends by
    /// itself. Never from a completion.
    public func close() {
        let deadline = clock.now() + settings.closeTimeout
        let isIdle = [keeper.stop(until: deadline), queue.stop(until: deadline)].allSatisfy { $0 }
        if isIdle {
            client.close(within: max(.zero, deadline - clock.now()))
        } else {
            // The client goes with the last call that uses it.
            log.warning("calls to Kafka still hang; they are left to end by themselves")
        }
    }
}

/// What the client tells: that no broker is left is news for health.
private final class ClientEvents: KafkaClientDelegate {
    private struct Followed { weak var keeper: TopicKeeper? }

    private let followed = Lock(Followed())

    func follow(_ keeper: TopicKeeper) { followed.withLock { $0.keeper = keeper } }

    func failed(_ error: KafkaError) {
        guard let keeper = followed.withLock({ $0.keeper }) else { return }
        if error.code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || error.code == RD_KAFKA_RESP_ERR__AUTHENTICATION {
            keeper.failed(error)
            keeper.probeNow()
        }
    }
}
