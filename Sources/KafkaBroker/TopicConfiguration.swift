import Broker
import Records

/// A topic's configuration as Kafka tells it (DescribeConfigs): what Postrider reads of it.
struct TopicConfiguration: Equatable {
    /// The names that are asked for. Kafka leaves out those that its version does not have.
    static let names = [
        "cleanup.policy", "max.message.bytes", "message.timestamp.type", "message.timestamp.before.max.ms",
        "message.timestamp.after.max.ms", "message.timestamp.difference.max.ms", "min.insync.replicas",
        "retention.bytes", "retention.ms", "unclean.leader.election.enable",
    ]

    var values: [String: String]

    init(_ values: [String: String]) { self.values = values }

    private func number(_ name: String) -> Int64? { values[name].flatMap { Int64($0) } }

    /// What intake holds records against.
    var limits: TopicLimits {
        TopicLimits(
            messageBytesMax: number("max.message.bytes").flatMap { Int(exactly: $0) }, timestampBounds: timestampBounds)
    }

    /// KIP-937 (Kafka 3.6) split `message.timestamp.difference.max.ms` in two; until 4.0 it stands for whichever of
    /// them is not set. A topic with `LogAppendTime` takes any timestamp, and overwrites it.
    private var timestampBounds: TimestampBounds? {
        guard values["message.timestamp.type"] != "LogAppendTime" else { return nil }
        let either = number("message.timestamp.difference.max.ms")
        func bound(_ name: String) -> Int64? {
            [number(name), either].compactMap { $0 }.first { $0 != Int64.max }
        }
        let bounds = TimestampBounds(
            beforeMs: bound("message.timestamp.before.max.ms"), afterMs: bound("message.timestamp.after.max.ms"))
        return bounds.beforeMs == nil && bounds.afterMs == nil ? nil : bounds
    }

    /// As the API shows them.
    var settings: TopicSettings {
        TopicSettings(
            retentionMs: number("retention.ms").map(Self.limit),
            retentionBytes: number("retention.bytes").map(Self.limit),
            recordBytesMax: limits.messageBytesMax.map { max(1, $0 - RecordBatchSize.overheadBytesMax) })
    }

    /// Kafka takes any negative number for no limit.
    private static func limit(_ value: Int64) -> Int64 { value < 0 ? TopicSettings.unlimited : value }

    /// What `settings` asks for, by Kafka's names.
    static func changes(_ settings: TopicSettings) -> [String: String] {
        var changes: [String: String] = [:]
        if let value = settings.retentionMs { changes["retention.ms"] = String(value) }
        if let value = settings.retentionBytes { changes["retention.bytes"] = String(value) }
        if let value = settings.recordBytesMax {
            changes["max.message.bytes"] = String(value + RecordBatchSize.overheadBytesMax)
        }
        return changes
    }

    /// `delete`, `compact`, or both.
    var cleanupPolicies: [String]? {
        values["cleanup.policy"]?.split(separator: ",").map { $0.filter { $0 != " " } }
    }

    // MARK: - Warnings

    /// What about a topic can lose data, in words for people.
    ///
    /// - Parameters:
    ///   - configuration: nil when it could not be read.
    ///   - isCompactionMeant: whoever writes there wants the last record of each key only.
    static func warnings(
        _ partitions: [KafkaMetadata.Partition], _ configuration: TopicConfiguration?, isCompactionMeant: Bool = false
    ) -> [String] {
        var warnings: [String] = []
        if let replicas = partitions.map(\.replicas.count).min(), replicas < 3 {
            warnings.append(
                "replication factor \(replicas), under 3: "
                    + (replicas < 2
                        ? "the loss of one broker's disk loses records"
                        : "records can be lost, or stop being taken, when two brokers fail"))
        }
        let offline = partitions.filter { $0.leader == nil }.map(\.partition)
        if !offline.isEmpty {
            let more = offline.count > shownMax ? " and \(offline.count - shownMax) more" : ""
            let shown = offline.prefix(shownMax).map(String.init).joined(separator: ", ")
            warnings.append("offline partitions: \(shown)\(more) have no leader")
        }
        guard let configuration else {
            return warnings + ["its configuration cannot be read: limits of records are not checked at intake"]
        }
        if let replicas = configuration.number("min.insync.replicas"), replicas < 2 {
            warnings.append(
                "min.insync.replicas \(replicas), under 2: an acknowledged record may be on one broker only")
        }
        if configuration.values["unclean.leader.election.enable"] == "true" {
            warnings.append("unclean.leader.election.enable: a broker that lacks records may become leader")
        }
        if !isCompactionMeant, configuration.cleanupPolicies?.contains("compact") == true {
            warnings.append("cleanup.policy compact: only the last record of a key is kept, and one without is refused")
        }
        return warnings
    }

    private static let shownMax = 10
}

/// What intake holds records against; nil fields: no limit.
struct TopicLimits: Hashable, Sendable {
    /// `max.message.bytes`.
    var messageBytesMax: Int?
    var timestampBounds: TimestampBounds?
}
