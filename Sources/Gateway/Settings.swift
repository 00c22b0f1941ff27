public import API
import Broker
public import Consumers
public import DeadLetters
public import EmbeddedBroker
public import Forwarder
public import HTTPServer
import Journal
public import KafkaBroker
public import Outcomes
public import Spool
public import Telemetry

/// Where records go.
public enum BrokerKind: String, Sendable, CaseIterable {
    case embedded, kafka
}

/// Everything that can be set, typed. `Settings.keys` names each value; `SettingInputs` takes them from a file, the
/// environment and flags.
public struct Settings: Sendable {
    public var http = HTTPServerSettings()
    public var spool = SpoolSettings()
    public var forwarder = ForwarderSettings()
    public var brokerKind = BrokerKind.embedded
    public var broker = EmbeddedBrokerSettings()
    public var kafka = KafkaBrokerSettings()
    public var deadLetters = DeadLettersSettings()
    public var receipts = OutcomesSettings()
    public var consumers = ConsumersSettings()
    public var limits = APISettings()
    public var log = LogSettings()
    /// Holds `spool`, `broker` and `dead-letters`.
    public var dataDirectory = "./data"
    /// Allows a data directory on NFS, SMB and their like.
    public var allowNetworkFileSystem = false
    /// Allows to listen beyond loopback, where there is no authentication yet.
    public var insecureListen = false
    /// With the policy `interval`: the longest time before a sync. Kept while the policy is `always`.
    public var syncInterval = Duration.milliseconds(100)
    /// After SIGTERM: how long everything is served on, with `/readyz` saying no.
    public var drainDelay = Duration.zero
    /// How long a graceful stop waits for requests in flight.
    public var stopTimeout = Duration.seconds(10)
    /// What somebody should know about how this was set, for the log: names that mean nothing, secrets that others
    /// can read.
    public internal(set) var warnings: [String] = []
    /// Where each value comes from, by name; of a property of librdkafka without `_file`. The others are defaults.
    public internal(set) var sources: [String: SettingSource] = [:]

    public init() { http.port = 8080 }

    /// Where to listen, as `HOST:PORT`; an IPv6 address in brackets.
    public mutating func listen(on text: String) throws(SettingsError) {
        try set("http.listen", to: text, from: .flag("--listen"))
    }

    /// librdkafka's own limit of a sink's queue.
    private static let producerQueueBytesMax = 1 << 40

    /// With the limits that follow from others.
    public var completed: Settings {
        var settings = self
        settings.http.bodyBytesMax = limits.requestBytesMax
        settings.limits.traceBytesMax = min(limits.traceBytesMax, appendBytesLeft)
        settings.http.discardBytesMax = max(http.discardBytesMax, 2 * limits.requestBytesMax)
        // The broker's own limit must not be the lower one by accident, nor refuse the dead letter of what it took.
        settings.broker.recordBytesMax = max(
            broker.recordBytesMax, limits.recordBytesMax + DeadLetterRecord.headersBytesMax)
        // As the embedded broker's: dead letters of consumers have more headers.
        settings.kafka.recordBytesMax = limits.recordBytesMax + DeadLetterRecord.headersBytesMax
        // The forwarder counts librdkafka's copies in its memory: a queue holds what it hands over.
        settings.kafka.producerQueueBytes = min(
            max(forwarder.memoryMax, 2 * settings.kafka.recordBytesMax), Self.producerQueueBytesMax)
        settings.broker.outcomes = receipts
        settings.consumers.pollWaitMax = limits.waitMax
        settings.consumers.pollsWaitingPerConsumerMax = min(
            consumers.pollsWaitingPerConsumerMax, consumers.pollsWaitingMax)
        return settings
    }

    /// What the largest request leaves of an append to the journal.
    private var appendBytesLeft: Int {
        Self.requestBytesMost(self) - limits.requestBytesMax
    }
}

public struct LogSettings: Sendable {
    public var level = LogLevel.info
    /// nil: text on a terminal, JSON lines otherwise.
    public var format: LogFormat?
    /// Lines of one kind within ten seconds; 0: no limit.
    public var repeatsMax = LogOptions.repeatsMaxDefault

    public init() {}
}

/// The levels of swift-log.
public enum LogLevel: String, Sendable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
}
