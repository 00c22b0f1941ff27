import Broker
import Testing

@testable import KafkaBroker

/// What may be passed through to librdkafka, entry by entry.
@Suite struct PropertyTests {
    private func settings(_ properties: [String: String]) -> KafkaBrokerSettings {
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = "127.0.0.1:1"
        settings.properties = properties
        return settings
    }

    private func refusal(
        _ properties: [String: String], features: LibraryFeatures = .installed, secret: Set<String> = []
    ) -> String? {
        var settings = settings(properties)
        settings.secretProperties = secret
        do throws(BrokerError) {
            try settings.checkFeatures(features)
            try settings.check()
            return nil
        } catch {
            return error.class == .processFatal && error.code == "invalid_configuration" ? error.detail : "\(error)"
        }
    }

    @Test(arguments: PropertyPolicy.refused.keys.sorted())
    func property_IsRefusedByName_WithTheReason(name: String) throws {
        let reason = try #require(PropertyPolicy.refusal(of: name))
        let detail = try #require(refusal([name: "1"]))
        #expect(detail == "broker.kafka.properties: \(name) cannot be set: \(reason)")
    }

    /// What each promise rests on is in the table, whoever edits it.
    @Test(arguments: [
        "acks", "request.required.acks", "enable.idempotence", "transactional.id", "enable.auto.commit",
        "auto.commit.enable", "enable.auto.offset.store", "isolation.level", "auto.offset.reset", "group.id",
        "partition.assignment.strategy", "message.timeout.ms", "delivery.timeout.ms", "transaction.timeout.ms",
        "max.in.flight", "max.in.flight.requests.per.connection", "retries", "message.send.max.retries",
        "enable.gapless.guarantee", "bootstrap.servers", "metadata.broker.list", "plugin.library.paths", "interceptors",
        "queued.min.messages", "queued.max.messages.kbytes", "queue.buffering.max.messages",
        "queue.buffering.max.kbytes", "queue.buffering.max.ms", "partitioner", "statistics.interval.ms", "stats_cb",
        "group.protocol", "group.instance.id", "delivery.report.only.error", "allow.auto.create.topics",
    ])
    func property_ThatAPromiseRestsOn_IsInTheTable(name: String) {
        #expect(PropertyPolicy.refusal(of: name) != nil)
    }

    /// A misspelled entry would refuse nothing.
    @Test func table_NamesPropertiesThatExist() {
        let newer: Set<String> = ["group.protocol", "group.remote.assignor"]
        let hidden: Set<String> = ["test.mock.num.brokers", "test.mock.broker.rtt"]
        let known = Set(PropertyPolicy.known)
        #expect(known.count > 100)
        #expect(known.isSuperset(of: ["sasl.password", "ssl.ca.location", "acks", "builtin.features"]))
        let unknown = Set(PropertyPolicy.refused.keys).subtracting(known).subtracting(newer).subtracting(hidden)
        #expect(unknown == [])
    }

    @Test(arguments: [
        ("security.protocol", "plaintext"), ("client.id", "shop"), ("client.rack", "eu-1a"), ("debug", "broker,topic"),
        ("compression.type", "lz4"), ("compression.codec", "snappy"), ("linger.ms", "20"),
        ("ssl.ca.location", "/etc/ssl/certs"), ("ssl.endpoint.identification.algorithm", "https"),
        ("socket.keepalive.enable", "true"), ("session.timeout.ms", "30000"), ("log_level", "7"),
        ("sasl.username", "me"), ("sasl.password", "secret"), ("fetch.wait.max.ms", "100"),
        ("broker.address.family", "v4"), ("connections.max.idle.ms", "540000"),
    ])
    func property_IsPassedThrough_ToEveryClient(name: String, value: String) {
        #expect(refusal([name: value]) == nil)
        for role in [ClientRole.transactionalProducer(id: "a"), .idempotentProducer, .groupConsumer(group: "g")] {
            let passed = ClientConfiguration(settings: settings([name: value]), role: role).properties
            #expect(passed.last { $0.name == name }?.value == value)
        }
    }

    @Test func wrongValue_IsRefused_InTheLibrarysWords() throws {
        for (name, value) in [
            ("linger.ms", "soon"), ("security.protocol", "carrier pigeon"), ("no.such.property", "1"),
        ] {
            let detail = try #require(refusal([name: value]))
            #expect(detail.hasPrefix("broker.kafka.properties: \(name): "))
            #expect(detail.count > name.count + 30, "\(detail)")
        }
    }

    @Test func secret_IsInNoError() throws {
        let detail = try #require(refusal(["linger.ms": "hunter2"], secret: ["linger.ms"]))
        #expect(detail == "broker.kafka.properties: linger.ms: not accepted")
        for name in [
            "sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret",
            "ssl.keystore.password", "sasl.oauthbearer.config",
        ] {
            #expect(PropertyPolicy.isSecret(name))
        }
        #expect(!PropertyPolicy.isSecret("sasl.username") && !PropertyPolicy.isSecret("ssl.key.location"))
    }

    /// What Postrider sets itself and nobody put into the table would be dropped without a word.
    @Test func property_ThatPostriderSets_IsNotDroppedSilently() {
        var dropped: [String] = []
        for role in [ClientRole.transactionalProducer(id: "a"), .idempotentProducer, .groupConsumer(group: "g")] {
            for (name, _) in ClientConfiguration(settings: settings([:]), role: role).properties
            where PropertyPolicy.refusal(of: name) == nil {
                let used = ClientConfiguration(settings: settings([name: "7"]), role: role).properties
                if used.last(where: { $0.name == name })?.value != "7" { dropped.append(name) }
            }
        }
        #expect(dropped == [])
    }

    @Test(arguments: [
        (["compression.type": "zstd"], "zstd"), (["compression.codec": "gzip"], "gzip"),
        (["security.protocol": "ssl"], "ssl"), (["security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN"], "ssl"),
        (["security.protocol": "sasl_plaintext", "sasl.mechanisms": "PLAIN"], "sasl"),
        (["security.protocol": "sasl_plaintext"], "sasl_gssapi"),
        (["security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"], "sasl_plain"),
        (["security.protocol": "sasl_plaintext", "sasl.mechanisms": "SCRAM-SHA-512"], "sasl_scram"),
        (["security.protocol": "sasl_plaintext", "sasl.mechanisms": "OAUTHBEARER"], "sasl_oauthbearer"),
        (
            [
                "security.protocol": "sasl_plaintext", "sasl.mechanisms": "OAUTHBEARER",
                "sasl.oauthbearer.method": "oidc",
            ], "oidc"
        ),
    ])
    func feature_ThatTheLibraryHasNot_IsRefusedByName(properties: [String: String], feature: String) throws {
        let all: Set<String> = [
            "gzip", "zstd", "ssl", "sasl", "sasl_gssapi", "sasl_plain", "sasl_scram", "sasl_oauthbearer",
            "oidc",
        ]
        let detail = try #require(refusal(properties, features: LibraryFeatures(names: all.subtracting([feature]))))
        #expect(detail.hasSuffix("was built without \(feature)"))
        var complete: BrokerError?
        do throws(BrokerError) {
            try settings(properties.merging(["enable.sasl.oauthbearer.unsecure.jwt": "true"]) { $1 })
                .checkFeatures(LibraryFeatures(names: all))
        } catch {
            complete = error
        }
        #expect(complete == nil)
    }

    @Test func oauthBearer_WithoutASourceOfTokens_IsRefused() throws {
        let bearer = ["security.protocol": "sasl_plaintext", "sasl.mechanisms": "OAUTHBEARER"]
        let detail = try #require(refusal(bearer, features: LibraryFeatures(names: ["sasl", "sasl_oauthbearer"])))
        #expect(detail.contains("enable.sasl.oauthbearer.unsecure.jwt"))
    }

    @Test func installedLibrary_SaysWhatItCan() {
        #expect(LibraryFeatures.installed.names.contains("snappy"))
    }
}
