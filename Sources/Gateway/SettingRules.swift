import API
import Broker
import Consumers
import DeadLetters
import EmbeddedBroker
import Forwarder
import HTTPServer
import Journal
import KafkaBroker
import Spool

/// What values have to be so that they work together, beyond what their kind allows. One table makes the check at the
/// start and the list in the reference.
struct SettingRule: Sendable {
    /// The setting that an error names.
    var key: String
    /// Those that it depends on; empty: a bound of its own.
    var others: [String]
    /// In words: "KEY: … is expected".
    var expected: String
    /// The bound as the other settings make it, where that takes arithmetic.
    var bound: (@Sendable (Settings) -> String)?
    var holds: @Sendable (Settings) -> Bool
}

extension Settings {
    /// A frame's length is 32 bits on disk, and a JSON text's position is 32 bits in memory.
    private static let frameBytesMax = 1 << 30
    /// Between the longest wait and the end of a request, so that the wait's own answer gets out.
    private static let requestTimeAfterWait = Duration.seconds(30)
    /// What the spool adds to a record at most: its fixed fields, its length and its topic's name.
    private static let recordOverheadBytes = 300
    /// librdkafka's limits of a consumer's queue.
    private static let prefetchBytesRange = 1 << 20...1 << 30

    /// Stands for all of them in rules.
    private static let properties = String(propertyPrefix.dropLast())

    static let rules: [SettingRule] = spoolRules + httpRules + forwarderRules + brokerRules + consumerRules

    private static let spoolRules = [
        rule(
            "spool.bytes_max", "at least four segments", with: ["spool.segment_bytes"],
            bound: { showBytes($0.spool.bytesMaxLeast) }
        ) { $0.spool.bytesMax >= $0.spool.bytesMaxLeast },
        limit("spool.group_bytes_max", "at most 1GiB") { $0.spool.journal.groupBytesMax <= frameBytesMax },
        limit("spool.sync_timeout", "more than 0ms") { $0.spool.journal.syncTimeout > .zero },
        rule("spool.commit_delay", "less than spool.sync_timeout", with: ["spool.sync_timeout"]) {
            $0.spool.journal.commitDelay == .zero || $0.spool.journal.commitDelay < $0.spool.journal.syncTimeout
        },
        limit("spool.park_after", "more than 0ms") { $0.spool.parkAfter > .zero },
        limit("limits.request_bytes_max", "at most 1GiB") { $0.limits.requestBytesMax <= frameBytesMax },
        rule(
            "limits.request_bytes_max",
            "with \(recordOverheadBytes) bytes for each of limits.records_max less than a segment",
            with: ["limits.records_max", "spool.segment_bytes"], bound: { showBytes(Int64(requestBytesMost($0))) }
        ) { $0.limits.requestBytesMax <= requestBytesMost($0) },
        rule("limits.record_bytes_max", "at most limits.request_bytes_max", with: ["limits.request_bytes_max"]) {
            $0.limits.recordBytesMax <= $0.limits.requestBytesMax
        },
        rule("dead_letters.bytes_max", "at least limits.record_bytes_max", with: ["limits.record_bytes_max"]) {
            $0.deadLetters.bytesMax >= Int64($0.limits.recordBytesMax)
        },
    ]

    /// What is left of a segment; nothing when its records' overhead alone is larger.
    static func requestBytesMost(_ settings: Settings) -> Int {
        max(0, settings.spool.journal.appendBytesMax - recordOverheadBytes * settings.limits.recordsMax)
    }

    private static let httpRules = [
        rule("http.request_timeout", "at least 30s more than limits.wait_max", with: ["limits.wait_max"]) {
            $0.http.requestTimeout >= $0.limits.waitMax + requestTimeAfterWait
        },
        limit("http.idle_timeout", "at least 1s") { $0.http.idleTimeout >= .seconds(1) },
        limit("http.header_timeout", "at least 1s") { $0.http.headerTimeout >= .seconds(1) },
        rule("http.header_timeout", "at most http.request_timeout", with: ["http.request_timeout"]) {
            $0.http.headerTimeout <= $0.http.requestTimeout
        },
        rule("http.body_memory_max", "at least limits.request_bytes_max", with: ["limits.request_bytes_max"]) {
            $0.http.bodyMemoryMax >= $0.limits.requestBytesMax
        },
        rule(
            "http.response_memory_max", "at least the largest answer with one record of limits.record_bytes_max",
            with: ["limits.record_bytes_max"], bound: { "\($0.limits.recordAnswerBytesMax) bytes" }
        ) { $0.http.responseMemoryMax >= $0.limits.recordAnswerBytesMax },
        limit("http.header_bytes_max", "at least 4KiB") { $0.http.connectionMemoryBytes >= 4096 },
        rule("http.connections_max", "at least http.threads", with: ["http.threads"]) {
            $0.http.connectionsMax >= $0.http.threads
        },
        rule(
            "http.requests_per_second_per_address", "more than 0 where http.requests_burst_per_address is set",
            with: ["http.requests_burst_per_address"]
        ) { $0.http.perAddressRequestsPerSecond > 0 || $0.http.perAddressBurst == 0 },
    ]

    private static let forwarderRules = [
        limit("forwarder.retry_initial", "more than 0ms") { $0.forwarder.retryInitial > .zero },
        rule("forwarder.retry_initial", "at most forwarder.retry_max", with: ["forwarder.retry_max"]) {
            $0.forwarder.retryInitial <= $0.forwarder.retryMax
        },
        rule(
            "forwarder.drain_records_max", "at least forwarder.batch_records_max",
            with: ["forwarder.batch_records_max"]
        ) { $0.forwarder.drainRecordsMax >= $0.forwarder.batchRecordsMax },
        rule("forwarder.drain_bytes_max", "at least forwarder.batch_bytes_max", with: ["forwarder.batch_bytes_max"]) {
            $0.forwarder.drainBytesMax >= $0.forwarder.batchBytesMax
        },
    ]

    private static let brokerRules = [
        rule(
            "broker.embedded.retention_bytes", "at most broker.embedded.bytes_max", with: ["broker.embedded.bytes_max"]
        ) { $0.broker.retentionBytes ?? 0 <= $0.broker.quotaBytes ?? .max },
        rule(
            "broker.kind", "kafka where broker.kafka.bootstrap_servers is set", with: ["broker.kafka.bootstrap_servers"]
        ) { $0.brokerKind == .kafka || $0.kafka.bootstrapServers.isEmpty },
        rule("broker.kind", "kafka where \(properties) are set", with: [properties]) {
            $0.brokerKind == .kafka || $0.kafka.properties.isEmpty
        },
        rule("broker.kafka.bootstrap_servers", "HOST:PORT of at least one broker", with: ["broker.kind"]) {
            $0.brokerKind != .kafka || !$0.kafka.bootstrapServers.isEmpty
        },
        rule(
            "broker.kafka.consumers_topic", "another topic than for checkpoints",
            with: ["broker.kafka.checkpoint_topic"]
        ) { $0.brokerKind != .kafka || $0.kafka.checkpointTopic != $0.kafka.consumersTopic },
        rule(
            "broker.kafka.socket_timeout", "less than broker.kafka.transaction_timeout",
            with: ["broker.kafka.transaction_timeout"]
        ) { $0.brokerKind != .kafka || $0.kafka.socketTimeout < $0.kafka.transactionTimeout },
    ]

    private static let consumerRules = [
        limit("consumers.ack_deadline", "from 1s to 12h") {
            ($0.consumers.ackDeadlineMin...$0.consumers.ackDeadlineMax).contains($0.consumers.ackDeadlineDefault)
        },
        rule("consumers.nack_delay", "at most consumers.nack_delay_max", with: ["consumers.nack_delay_max"]) {
            $0.consumers.nackDelayDefault >= .zero && $0.consumers.nackDelayDefault <= $0.consumers.nackDelayMax
        },
        limit("consumers.idle_close", "more than 0ms") { $0.consumers.idleClose > .zero },
        limit("consumers.prefetch_bytes_max", "from 1MiB to 1GiB") {
            $0.brokerKind != .kafka || prefetchBytesRange.contains($0.kafka.prefetchBytesMax)
        },
    ]

    private static func rule(
        _ key: String, _ expected: String, with others: [String], bound: (@Sendable (Settings) -> String)? = nil,
        holds: @escaping @Sendable (Settings) -> Bool
    ) -> SettingRule {
        SettingRule(key: key, others: others, expected: expected, bound: bound, holds: holds)
    }

    private static func limit(
        _ key: String, _ expected: String, holds: @escaping @Sendable (Settings) -> Bool
    ) -> SettingRule {
        SettingRule(key: key, others: [], expected: expected, bound: nil, holds: holds)
    }
}

extension Settings {
    /// What cannot work together, after everything was set. Nothing that passes here makes a module trap.
    ///
    /// - Throws: the first contradiction.
    public func check() throws(SettingsError) {
        if let first = contradictions().first { throw first.error }
    }

    /// Everything that cannot work together.
    ///
    /// - Parameter keys: settings that have no right value yet: what depends on them is left out.
    func contradictions(without keys: Set<String> = []) -> [SettingProblem] {
        var found = Self.rules.filter { keys.isDisjoint(with: $0.others + [$0.key]) && !$0.holds(self) }
            .map { contradiction(of: $0) }
        if !insecureListen, !http.listensOnLoopback, keys.isDisjoint(with: ["http.listen", "http.insecure_listen"]) {
            found.append(
                SettingProblem(
                    key: "http.listen", source: sources["http.listen"], error: .insecureListen(address: http.address)))
        }
        // librdkafka is asked last: it judges all properties together.
        guard brokerKind == .kafka, found.isEmpty, keys.isEmpty else { return found }
        do throws(BrokerError) {
            try completed.kafka.check()
        } catch {
            let concerned = kafka.properties.keys.filter { error.detail.contains($0) }.max { $0.count < $1.count }
            let key = concerned.map { Self.propertyPrefix + $0 }
            found.append(
                SettingProblem(key: key, source: key.flatMap { sources[$0] }, error: .properties(error.detail)))
        }
        return found
    }

    private func contradiction(of rule: SettingRule) -> SettingProblem {
        let others = rule.others.map { "; \($0) is \(shown($0)) (\(source(of: $0) ?? .builtIn))" }.joined()
        let isDefault = sources[rule.key] == nil ? " (default)" : ""
        return SettingProblem(
            key: rule.key,
            // Where nobody set it, another one made it wrong.
            source: ([rule.key] + rule.others).lazy.compactMap { source(of: $0) }.first,
            error: .contradiction(
                key: rule.key, expected: rule.expected + (rule.bound.map { " (\($0(self)))" } ?? ""),
                found: "not \(shown(rule.key))\(isDefault)\(others)"))
    }

    /// Of properties their names only.
    private func shown(_ name: String) -> String {
        Self.keysByName[name]?.show(self) ?? kafka.properties.keys.sorted().joined(separator: ", ")
    }

    private func source(of name: String) -> SettingSource? {
        guard name == Self.properties else { return sources[name] }
        return kafka.properties.keys.sorted().lazy.compactMap { sources[Self.propertyPrefix + $0] }.first
    }
}
