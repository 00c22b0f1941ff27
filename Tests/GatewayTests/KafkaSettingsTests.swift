import Broker
import Gateway
import GatewayTestSupport
import KafkaBroker
import TestSupport
import Testing

/// Settings of a Kafka cluster: properties of librdkafka, secrets in files, the YAML file.
@Suite struct KafkaSettingsTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// - Returns: its path.
    private func file(_ text: String, mode: UInt32 = 0o600) throws -> String {
        try directory.write(text, mode: mode)
    }

    private func load(_ text: String) throws -> Settings {
        try SettingInputs(file: try file(text), environment: [:]).settings()
    }

    private func loadError(_ text: String, _ location: SourceLocation = #_sourceLocation) throws -> String {
        let path = try file(text)
        let inputs = SettingInputs(file: path, environment: [:])
        let error = #expect(throws: SettingsError.self, sourceLocation: location) { try inputs.settings() }
        let description = error?.description ?? ""
        #expect(description.hasPrefix("\(path):"), sourceLocation: location)
        return description
    }

    private func shownProperties(_ settings: Settings) -> [String] {
        let prefix = "broker.kafka.properties."
        return settings.effective.filter { $0.name.hasPrefix(prefix) }
            .map { "\($0.name.dropFirst(prefix.count))=\($0.value)" }
    }

    // MARK: - Properties

    @Test func property_IsPassedThrough() throws {
        var settings = Settings()
        try settings.set("broker.kafka.properties.security.protocol=ssl")
        try settings.set("broker.kafka.properties.client.id=a=b")
        #expect(settings.kafka.properties == ["security.protocol": "ssl", "client.id": "a=b"])
    }

    @Test func property_ThatAPromiseRestsOn_IsRefusedWithTheReason() throws {
        for name in ["acks", "isolation.level", "group.id", "plugin.library.paths"] {
            var settings = Settings()
            let reason = try #require(PropertyPolicy.refusal(of: name))
            for assignment in ["\(name)=1", "\(name)_file=/etc/hostname"] {
                let error = #expect(throws: SettingsError.self) {
                    try settings.set("broker.kafka.properties.\(assignment)")
                }
                #expect(error == .refusedProperty(name, reason: reason))
                #expect(error?.description.contains("broker.kafka.properties.\(name) cannot be set: ") == true)
            }
            #expect(settings.kafka.properties.isEmpty)
        }
    }

    @Test func property_ThatIsMisspelled_NamesTheNearest() {
        var settings = Settings()
        let error = #expect(throws: SettingsError.self) { try settings.set("broker.kafka.properties.sasl.pasword=a") }
        #expect(
            error
                == .unknownKey(
                    "broker.kafka.properties.sasl.pasword", nearest: "broker.kafka.properties.sasl.password"))
    }

    // MARK: - Secrets

    @Test(arguments: [
        ("secret\n", "secret"), ("secret", "secret"), ("secret\r\n", "secret"), ("two\nlines\n", "two\nlines"),
        (" a \n", " a "), ("secret\n\n", "secret\n"),
    ])
    func secret_IsReadFromAFile_WithoutTheLastLineFeed(text: String, value: String) throws {
        var settings = Settings()
        try settings.set("broker.kafka.properties.sasl.password_file=\(try file(text))")
        #expect(settings.kafka.properties == ["sasl.password": value])
        #expect(settings.warnings.isEmpty)
    }

    @Test func secret_IsShownNowhere() throws {
        var settings = Settings()
        try settings.set("broker.kafka.properties.sasl.password=hunter2")
        // Not a secret by its name, but from a file.
        try settings.set("broker.kafka.properties.sasl.username_file=\(try file("hunter2"))")
        try settings.set("broker.kafka.properties.client.id=shop")
        #expect(
            shownProperties(settings) == ["client.id=shop", "sasl.password=(secret)", "sasl.username=(secret)"])
        #expect(settings.warnings == ["--set: broker.kafka.properties.sasl.password stands in the list of processes"])
        for report in [settings.report(all: true), settings.reportJSON(all: true)] {
            #expect(report.contains("sasl.password") && !report.contains("hunter2"))
        }
        let shown = Settings.keys.map { $0.show(settings) } + settings.warnings
        #expect(!shown.contains { $0.contains("hunter2") })
        let error = #expect(throws: SettingsError.self) {
            try settings.set("broker.kafka.properties.sasl.password:hunter2")
        }
        #expect(error?.description.contains("hunter2") == false)
        try settings.set("broker.kafka.properties.sasl.username=open")
        #expect(shownProperties(settings).last == "sasl.username=open")
    }

    @Test func secret_ThatEverybodyCanRead_IsWarnedOf() throws {
        var settings = Settings()
        let path = try file("secret", mode: 0o644)
        try settings.set("broker.kafka.properties.sasl.password_file=\(path)")
        #expect(settings.warnings.count == 1)
        #expect(settings.warnings.first?.contains(path) == true)
        #expect(settings.warnings.first?.contains("secret") == false)
    }

    @Test func secret_ThatCannotBeRead_IsAnErrorWithItsPath() throws {
        let large = try file(String(repeating: "x", count: 1 << 20 + 1))
        for path in ["\(directory.path)/absent", directory.path, try file(""), try file("\n"), large] {
            var settings = Settings()
            let error = #expect(throws: SettingsError.self) {
                try settings.set("broker.kafka.properties.sasl.password_file=\(path)")
            }
            #expect(error?.description.hasPrefix("\(path): broker.kafka.properties.sasl.password_file: ") == true)
        }
    }

    // MARK: - The file

    @Test func file_SetsWhatItNames() throws {
        let secret = try file("hunter2\n")
        let settings = try load(
            """
            # A comment
            broker:
              kind: kafka
              kafka:
                bootstrap_servers: [kafka-1:9093, "kafka-2:9093"]
                guarantee: at-least-once
                create_topics: true
                partitions_default: 6
                properties:
                  security.protocol: sasl_ssl
                  sasl:
                    mechanisms: SCRAM-SHA-512
                    username: postrider
                  sasl.password_file: \(secret)
            """)
        #expect(settings.brokerKind == .kafka)
        #expect(settings.kafka.bootstrapServers == "kafka-1:9093,kafka-2:9093")
        #expect(settings.kafka.guarantee == .atLeastOnce)
        #expect(settings.kafka.createTopics)
        #expect(settings.kafka.partitionsDefault == 6)
        #expect(
            settings.kafka.properties == [
                "security.protocol": "sasl_ssl", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "postrider",
                "sasl.password": "hunter2",
            ])
        try settings.check()
    }

    @Test func emptyFile_SetsNothing() throws {
        for text in ["", "# nothing\n", "{}\n", "broker: {kafka: {}}\n"] {
            #expect(try load(text).kafka.properties.isEmpty)
        }
    }

    @Test func unknownName_NamesTheNearest() throws {
        let description = try loadError("broker:\n  kafka:\n    bootstrap_server: a:1\n")
        #expect(description.contains("broker.kafka.bootstrap_server; did you mean broker.kafka.bootstrap_servers?"))
        let property = try loadError("broker:\n  kafka:\n    properties:\n      ssl.ca.locatoin: /a\n")
        #expect(property.contains("did you mean broker.kafka.properties.ssl.ca.location?"))
    }

    @Test(arguments: [
        "broker:\n  kafka:\n    guarantee: twice\n", "broker:\n  kafka:\n    guarantee:\n",
        "broker:\n  kafka:\n    properties:\n      acks: 1\n", "broker:\n  kafka:\n    socket_timeout: [1s, {a: b}]\n",
        "broker:\n  kafka:\n    ? [a, b]\n    : c\n", "just text\n", "- a\n- b\n",
    ])
    func wrongValue_IsRefused(text: String) throws {
        #expect(try !loadError(text).isEmpty)
    }

    @Test func brokenYAML_IsTold_WithoutItsText() throws {
        let head = "broker:\n  kafka:\n    properties:\n      sasl.password: "
        for tail in ["\"hunter2\n", "[hunter2\n", "hunter2\n   bad: indent\n", "&a hunter2\n      x: *hunter2\n"] {
            let description = try loadError(head + tail)
            #expect(!description.contains("hunter2"), "\(description)")
        }
        #expect(try loadError("broker:\n\tkind: kafka\n").contains(":2:1: YAML: "))
        #expect(try loadError("broker:\n  kind: kafka\n  kind: embedded\n").contains("kind"))
    }

    @Test func fileThatGrowsByAliases_IsRefused() throws {
        var text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        var above = "a"
        for name in ["b", "c", "d", "e", "f", "g", "h"] {
            let items = Array(repeating: "k%: *\(above)", count: 10).enumerated()
                .map { $0.element.replacing("%", with: String($0.offset)) }
            text += "\(name): &\(name) {\(items.joined(separator: ", "))}\n"
            above = name
        }
        #expect(try loadError(text).contains("more than"))
    }

    @Test func absentFile_IsTold() {
        let inputs = SettingInputs(file: "\(directory.path)/absent.yaml", environment: [:])
        let error = #expect(throws: SettingsError.self) { try inputs.settings() }
        #expect(error?.description.hasPrefix("\(directory.path)/absent.yaml: --config: ") == true)
    }
}
