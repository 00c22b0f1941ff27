import Broker
import KafkaBroker
import Records

extension Settings {
    /// Of `broker.kafka`, all but `properties`.
    static let kafkaKeys: [SettingKey] = [
        SettingKey(
            name: "broker.kafka.bootstrap_servers", help: "Some of the cluster's brokers; they name the others.",
            expected: "HOST:PORT of at least one broker, with commas between them,",
            form: "`HOST:PORT` with commas between them, IPv6 in brackets; or none",
            set: { settings, text in
                if text != "none", !areServers(text) { return nil }
                settings.kafka.bootstrapServers = text == "none" ? "" : text
                return ()
            },
            show: { $0.kafka.bootstrapServers.isEmpty ? "none" : $0.kafka.bootstrapServers }),
        SettingKey(
            name: "broker.kafka.guarantee",
            help: "exactly-once: records and checkpoint in one transaction. at-least-once: a crash may repeat a batch.",
            expected: "exactly-once or at-least-once",
            set: { settings, text in
                guard let guarantee = Guarantee(rawValue: text) else { return nil }
                settings.kafka.guarantee = guarantee
                return ()
            },
            show: { $0.kafka.guarantee.rawValue }),
        name("broker.kafka.group_prefix", \.kafka.groupPrefix, "Before a consumer's name, to make its group's.") {
            $0.isEmpty || TopicName($0) != nil
        },
        name("broker.kafka.checkpoint_topic", \.kafka.checkpointTopic, "How far each lane was handed over.", isOurs),
        name("broker.kafka.consumers_topic", \.kafka.consumersTopic, "Definitions of named consumers.", isOurs),
        flag("broker.kafka.create_topics", \.kafka.createTopics, "Whether producing creates a topic."),
        clusterCount(
            "broker.kafka.partitions_default", 1024,
            "Partitions of a topic created without a number; cluster: as its brokers are configured.",
            get: { $0.kafka.partitionsDefault.map(Int.init) }, set: { $0.kafka.partitionsDefault = $1.map(Int32.init) }
        ),
        clusterCount(
            "broker.kafka.replication_factor", 100,
            "Replicas of topics that Postrider creates; cluster: as its brokers are configured.",
            get: { $0.kafka.replicationFactor.map(Int.init) }, set: { $0.kafka.replicationFactor = $1.map(Int16.init) }
        ),
        duration(
            "broker.kafka.socket_timeout", \.kafka.socketTimeout, within: .seconds(1) ... .seconds(300),
            "A request without an answer for this long fails."),
        duration(
            "broker.kafka.transaction_timeout", \.kafka.transactionTimeout, within: .seconds(1) ... .seconds(900),
            "A transaction open for longer is ended by the cluster."),
        duration(
            "broker.kafka.reconnect_max", \.kafka.reconnectMax, within: .milliseconds(50) ... .seconds(60),
            "Longest pause between tries to connect."),
        duration(
            "broker.kafka.admin_timeout", \.kafka.adminTimeout, within: .seconds(1) ... .seconds(300),
            "For one call about topics."),
        duration(
            "broker.kafka.close_timeout", \.kafka.closeTimeout, within: .milliseconds(100) ... .seconds(60),
            "How long a client may take to close before it is left to end by itself."),
        duration(
            "broker.kafka.metadata_refresh", \.kafka.metadataRefresh, within: .seconds(1) ... .seconds(3600),
            "How old what is known of topics may get."),
        count(
            "broker.kafka.readers", \.kafka.readers, 1...64,
            "Reads without a consumer, and of records that are handed out again, at one time."),
        duration(
            "broker.kafka.offsets_recommit", \.kafka.offsetsRecommit, within: .seconds(60) ... .seconds(30 * 86_400),
            "Pause between commits of idle consumers' offsets; under the cluster's offsets.retention.minutes."
        ),
    ]

    /// Before the names of librdkafka's properties.
    static let propertyPrefix = "broker.kafka.properties."

    /// Brokers in `bootstrap_servers`.
    private static let serversMax = 100

    /// `HOST:PORT` with commas between them; an IPv6 address in brackets.
    private static func areServers(_ text: String) -> Bool {
        let servers = text.split(separator: ",", omittingEmptySubsequences: false)
        return servers.count <= serversMax
            && servers.allSatisfy { server in
                guard let colon = server.lastIndex(of: ":"), let port = UInt16(server[server.index(after: colon)...])
                else { return false }
                var host = server[..<colon]
                if host.hasPrefix("["), host.hasSuffix("]") {
                    host = host.dropFirst().dropLast()
                    return port > 0 && !host.isEmpty && host.allSatisfy { $0.isHexDigit || ":.%".contains($0) }
                }
                return port > 0 && !host.isEmpty
                    && host.utf8.allSatisfy { byte in
                        let character = Character(UnicodeScalar(byte))
                        return character.isASCII && (character.isLetter || character.isNumber)
                            || "-._".contains(character)
                    }
            }
    }

    /// Clients of the gateway may not write to it: its name says so.
    private static func isOurs(_ name: String) -> Bool { TopicName(name) != nil && name.hasPrefix("_postrider") }

    private static func name(
        _ name: String, _ path: any WritableKeyPath<Settings, String> & Sendable, _ help: String,
        _ accepts: @escaping @Sendable (String) -> Bool
    ) -> SettingKey {
        let expected =
            accepts("")
            ? "a name of letters, digits, dots, underscores and hyphens, or none,"
            : "a name that begins with _postrider"
        return SettingKey(
            name: name, help: help, expected: expected,
            set: { settings, text in
                let value = text == "none" && accepts("") ? "" : text
                guard !text.isEmpty, accepts(value) else { return nil }
                settings[keyPath: path] = value
                return ()
            },
            show: { $0[keyPath: path].isEmpty ? "none" : $0[keyPath: path] })
    }

    private static func clusterCount(
        _ name: String, _ most: Int, _ help: String, get: @escaping @Sendable (Settings) -> Int?,
        set: @escaping @Sendable (inout Settings, Int?) -> Void
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: "a whole number from 1 to \(most), or cluster,",
            form: "1 to \(showCount(most)), or cluster",
            set: { settings, text in
                guard text != "cluster" else { return set(&settings, nil) }
                guard let value = Int(text), (1...most).contains(value) else { return nil }
                return set(&settings, value)
            },
            show: { get($0).map { String($0) } ?? "cluster" })
    }
}
