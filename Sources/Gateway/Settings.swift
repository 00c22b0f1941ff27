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

/// Everything that can be set, typed. `Settings.keys` names each value for `--set key=value`; the environment and the
/// reference page are generated from the same table later.
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
    /// What somebody should know about how this was set, for the log: secrets that others can read.
    public internal(set) var warnings: [String] = []

    public init() { http.port = 8080 }

    /// Where to listen, as `HOST:PORT`; an IPv6 address in brackets.
    public mutating func listen(on text: String) throws(SettingsError) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw .malformed(key: "--listen", value: text, expected: "HOST:PORT with a numeric address")
        }
        http.address = String(text[..<colon].drop { $0 == "[" }.prefix { $0 != "]" })
        http.port = port
    }

    /// A frame's length is 32 bits on disk, and a JSON text's position is 32 bits in memory.
    private static let frameBytesMax = 1 << 30
    /// Between the longest wait and the end of a request, so that the wait's own answer gets out.
    private static let requestTimeAfterWait = Duration.seconds(30)

    /// What cannot work together, after everything was set. Nothing that passes here makes a module trap.
    public func check() throws(SettingsError) {
        try checkSpool()
        try checkHTTP()
        try checkConsumers()
        try checkBroker()
        if forwarder.retryInitial <= .zero || forwarder.retryInitial > forwarder.retryMax {
            throw .outOfRange(key: "forwarder.retry_initial", expected: "more than 0ms and at most forwarder.retry_max")
        }
        if forwarder.drainRecordsMax < forwarder.batchRecordsMax {
            throw .outOfRange(key: "forwarder.drain_records_max", expected: "at least forwarder.batch_records_max")
        }
        if forwarder.drainBytesMax < forwarder.batchBytesMax {
            throw .outOfRange(key: "forwarder.drain_bytes_max", expected: "at least forwarder.batch_bytes_max")
        }
        if !insecureListen, !http.listensOnLoopback {
            throw .insecureListen(address: http.address)
        }
    }

    private func checkSpool() throws(SettingsError) {
        if spool.bytesMax < spool.bytesMaxLeast {
            throw .outOfRange(
                key: "spool.bytes_max",
                expected: "at least four segments (\(spool.bytesMaxLeast) bytes with spool.segment_bytes as it is)")
        }
        if limits.requestBytesMax > Self.frameBytesMax
            || limits.requestBytesMax + Self.recordOverheadBytes * limits.recordsMax > spool.journal.appendBytesMax
        {
            throw .outOfRange(
                key: "limits.request_bytes_max",
                expected: "at most 1GiB, and with the overhead of its records less than a segment")
        }
        if spool.journal.groupBytesMax > Self.frameBytesMax {
            throw .outOfRange(key: "spool.group_bytes_max", expected: "at most 1GiB")
        }
        if spool.journal.syncTimeout <= .zero {
            throw .outOfRange(key: "spool.sync_timeout", expected: "more than 0ms")
        }
        if spool.parkAfter <= .zero {
            throw .outOfRange(key: "spool.park_after", expected: "more than 0ms")
        }
        if limits.recordBytesMax > limits.requestBytesMax {
            throw .outOfRange(key: "limits.record_bytes_max", expected: "at most limits.request_bytes_max")
        }
    }

    private func checkHTTP() throws(SettingsError) {
        if http.requestTimeout < limits.waitMax + Self.requestTimeAfterWait {
            throw .outOfRange(key: "http.request_timeout", expected: "at least 30 s more than limits.wait_max")
        }
        for (key, time) in [("http.idle_timeout", http.idleTimeout), ("http.header_timeout", http.headerTimeout)]
        where time < .seconds(1) {
            throw .outOfRange(key: key, expected: "at least 1s")
        }
        if http.bodyMemoryMax < limits.requestBytesMax {
            throw .outOfRange(key: "http.body_memory_max", expected: "at least limits.request_bytes_max")
        }
        if http.responseMemoryMax < limits.recordAnswerBytesMax {
            throw .outOfRange(
                key: "http.response_memory_max",
                expected: "at least \(limits.recordAnswerBytesMax) bytes, the largest answer with one record of "
                    + "limits.record_bytes_max,")
        }
        if http.connectionMemoryBytes < 4096 {
            throw .outOfRange(key: "http.header_bytes_max", expected: "at least 4096 bytes")
        }
        if http.connectionsMax < http.threads {
            throw .outOfRange(key: "http.connections_max", expected: "at least http.threads")
        }
    }

    private func checkConsumers() throws(SettingsError) {
        let (least, most) = (consumers.ackDeadlineMin, consumers.ackDeadlineMax)
        if consumers.ackDeadlineDefault < least || consumers.ackDeadlineDefault > most {
            throw .outOfRange(
                key: "consumers.ack_deadline", expected: "from \(showDuration(least)) to \(showDuration(most))")
        }
        if consumers.nackDelayDefault < .zero || consumers.nackDelayDefault > consumers.nackDelayMax {
            throw .outOfRange(key: "consumers.nack_delay", expected: "at most consumers.nack_delay_max")
        }
        if consumers.idleClose <= .zero {
            throw .outOfRange(key: "consumers.idle_close", expected: "more than 0ms")
        }
    }

    /// librdkafka's own limits: of a sink's queue, and of a consumer's.
    private static let (producerQueueBytesMax, prefetchBytesRange) = (1 << 40, 1 << 20...1 << 30)

    private func checkBroker() throws(SettingsError) {
        guard brokerKind == .kafka else {
            if !kafka.bootstrapServers.isEmpty || !kafka.properties.isEmpty {
                throw .outOfRange(key: "broker.kind", expected: "kafka, as broker.kafka says how to reach a cluster,")
            }
            return
        }
        if kafka.bootstrapServers.isEmpty {
            throw .outOfRange(key: "broker.kafka.bootstrap_servers", expected: "HOST:PORT of at least one broker")
        }
        if kafka.checkpointTopic == kafka.consumersTopic {
            throw .outOfRange(key: "broker.kafka.consumers_topic", expected: "another topic than for checkpoints")
        }
        if kafka.socketTimeout >= kafka.transactionTimeout {
            throw .outOfRange(
                key: "broker.kafka.socket_timeout", expected: "less than broker.kafka.transaction_timeout")
        }
        if !Self.prefetchBytesRange.contains(kafka.prefetchBytesMax) {
            throw .outOfRange(key: "consumers.prefetch_bytes_max", expected: "from 1MiB to 1GiB")
        }
        do throws(BrokerError) {
            try completed.kafka.check()
        } catch {
            throw .properties(error.detail)
        }
    }

    /// With the limits that follow from others.
    public var completed: Settings {
        var settings = self
        settings.http.bodyBytesMax = limits.requestBytesMax
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

    /// What the spool adds to a record at most: its fixed fields, its length and its topic's name.
    private static let recordOverheadBytes = 300
}

public struct LogSettings: Sendable {
    public var level = LogLevel.info
    /// nil: people's on a terminal, JSON lines otherwise.
    public var format: LogFormat?

    public init() {}
}

/// The levels of swift-log.
public enum LogLevel: String, Sendable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
}

/// A setting that cannot be taken, in words for whoever set it.
public enum SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
    case unknownKey(String, nearest: String)
    case malformed(key: String, value: String, expected: String)
    case outOfRange(key: String, expected: String)
    case insecureListen(address: String)
    /// `--set` without `=`.
    case noValue(String)
    /// A property of librdkafka that would break a promise, or has a setting of its own.
    case refusedProperty(String, reason: String)
    /// What librdkafka does not take, in its words, with the property's name.
    case properties(String)
    /// A file that was named, and what is wrong with it.
    case file(String, String)

    public var description: String {
        switch self {
        case .unknownKey(let key, let nearest): "there is no setting \(key); did you mean \(nearest)?"
        case .malformed(let key, let value, let expected): "\(key): \(expected) is expected, not \(value)"
        case .outOfRange(let key, let expected): "\(key): \(expected) is expected"
        case .insecureListen(let address):
            "listening on \(address) lets everybody on the network in: there is no authentication yet. Listen on "
                + "127.0.0.1, or say --insecure-listen if something else protects this port"
        case .noValue(let text): "--set wants key=value, not \(text)"
        case .refusedProperty(let name, let reason): "\(Settings.propertyPrefix)\(name) cannot be set: \(reason)"
        case .properties(let detail): detail
        case .file(let path, let problem): "\(path): \(problem)"
        }
    }
}
