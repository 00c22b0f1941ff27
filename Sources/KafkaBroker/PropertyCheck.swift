public import Broker
import CRdkafka

extension KafkaBrokerSettings {
    /// Whether clients can be made of this: no property that Postrider refuses or sets itself, values that librdkafka
    /// takes, and nothing that the installed librdkafka was built without. Connects to nothing and touches no file.
    ///
    /// - Throws: process-fatal `invalid_configuration`, with the property's name; never with a secret's value.
    public func check() throws(BrokerError) {
        try checkFeatures(LibraryFeatures.installed)
        let roles: [ClientRole] = [
            guarantee == .exactlyOnce ? .transactionalProducer(id: "check") : .idempotentProducer,
            .groupConsumer(group: "check"), .reader, .admin,
        ]
        for role in roles {
            let configuration = ClientConfiguration(settings: self, role: role)
            rd_kafka_conf_destroy(try configuration.make())
            let used = Dictionary(configuration.properties.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
            // Nothing that somebody set is dropped without a word.
            for (name, value) in properties.sorted(by: { $0.key < $1.key }) where used[name] != value {
                throw .invalidProperty("\(name) cannot be set: Postrider sets it itself")
            }
        }
    }

    /// Refuses by name what the library cannot do, instead of failing at the first connection.
    func checkFeatures(_ features: LibraryFeatures) throws(BrokerError) {
        let compression = properties["compression.codec"] ?? properties["compression.type"] ?? "none"
        if ["gzip", "zstd"].contains(compression) {
            try features.require(compression, for: "compression \(compression)")
        }
        let security = properties["security.protocol"]?.lowercased() ?? "plaintext"
        if security.hasSuffix("ssl") { try features.require("ssl", for: "security.protocol \(security)") }
        if security.hasPrefix("sasl") {
            try features.require("sasl", for: "security.protocol \(security)")
            try checkMechanism(features)
        }
    }

    private func checkMechanism(_ features: LibraryFeatures) throws(BrokerError) {
        // librdkafka's own default.
        let mechanism = (properties["sasl.mechanisms"] ?? properties["sasl.mechanism"] ?? "GSSAPI").uppercased()
        let name = "sasl.mechanisms \(mechanism)"
        switch mechanism {
        case "GSSAPI": try features.require("sasl_gssapi", for: name)
        case "PLAIN": try features.require("sasl_plain", for: name)
        case "SCRAM-SHA-256", "SCRAM-SHA-512": try features.require("sasl_scram", for: name)
        case "OAUTHBEARER":
            try features.require("sasl_oauthbearer", for: name)
            if properties["sasl.oauthbearer.method"]?.lowercased() == "oidc" {
                try features.require("oidc", for: "sasl.oauthbearer.method oidc")
            } else if properties["enable.sasl.oauthbearer.unsecure.jwt"]?.lowercased() != "true" {
                throw .invalidProperty(
                    "sasl.mechanisms OAUTHBEARER: tokens come from librdkafka itself only. Set sasl.oauthbearer.method"
                        + " to oidc; or, for trying things out, enable.sasl.oauthbearer.unsecure.jwt to true")
            }
        default: break  // librdkafka says what it does not know when a client is made.
        }
    }
}

/// What the installed librdkafka was built with (`builtin.features`).
struct LibraryFeatures {
    var names: Set<String>

    static let installed: LibraryFeatures = {
        guard let conf = rd_kafka_conf_new() else { return LibraryFeatures(names: []) }
        defer { rd_kafka_conf_destroy(conf) }
        var value = [CChar](repeating: 0, count: 1024)
        var size = value.count
        guard rd_kafka_conf_get(conf, "builtin.features", &value, &size) == RD_KAFKA_CONF_OK else {
            return LibraryFeatures(names: [])
        }
        return LibraryFeatures(names: Set(text(value).split { $0 == "," || $0 == " " }.map(String.init)))
    }()

    func require(_ feature: String, for property: String) throws(BrokerError) {
        guard !names.contains(feature) else { return }
        let version = String(cString: rd_kafka_version_str())
        throw .invalidProperty("\(property): the installed librdkafka \(version) was built without \(feature)")
    }
}

extension BrokerError {
    /// What is wrong with a property, with its name.
    static func invalidProperty(_ detail: String) -> BrokerError {
        BrokerError(.processFatal, code: "invalid_configuration", detail: "broker.kafka.properties: \(detail)")
    }
}
