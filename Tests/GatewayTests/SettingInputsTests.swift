import Gateway
import HTTPServer
import KafkaBroker
import TestSupport
import Testing

/// Where settings come from: a file, the environment and flags, what goes over what, and where each value is said to be
/// from.
@Suite struct SettingInputsTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func inputs(
        _ text: String, environment: [String: String] = [:], _ assignments: [(String, String)] = []
    ) throws -> SettingInputs {
        SettingInputs(
            file: try directory.write(text), environment: environment,
            assignments: assignments.map { SettingInputs.Assignment(flag: $0.0, $0.1) })
    }

    private func shown(_ settings: Settings, _ name: String) -> String? {
        settings.effective.first { $0.name == name }.map { "\($0.value) # \($0.source)" }
    }

    // MARK: - Precedence

    @Test func laterSource_GoesOverAnEarlierOne_AndIsSaidToBeTheSource() throws {
        let text = "log:\n  level: debug\nhttp:\n  threads: 3\nspool:\n  lanes: 4\n"
        let inputs = try inputs(
            text, environment: ["POSTRIDER_HTTP_THREADS": "5", "POSTRIDER_SPOOL_LANES": "6"],
            [("--set", "spool.lanes=7"), ("--set", "spool.lanes=8")])
        let settings = try inputs.settings()
        let path = try #require(inputs.file)
        #expect(shown(settings, "limits.records_max") == "10000 # default")
        #expect(shown(settings, "log.level") == "debug # \(path):2")
        #expect(shown(settings, "http.threads") == "5 # POSTRIDER_HTTP_THREADS")
        #expect(shown(settings, "spool.lanes") == "8 # --set")
        #expect(settings.http.threads == 5)
        #expect(settings.warnings.isEmpty)
    }

    @Test func variable_NamesTheFile_UnlessAFlagDoes() throws {
        let (one, two) = (try directory.write("http.threads: 3\n"), try directory.write("http.threads: 4\n"))
        let environment = ["POSTRIDER_CONFIG": one]
        #expect(try SettingInputs(environment: environment).settings().http.threads == 3)
        #expect(try SettingInputs(file: two, environment: environment).settings().http.threads == 4)
        #expect(try SettingInputs(environment: ["POSTRIDER_CONFIG": ""]).settings().sources.isEmpty)
        let error = #expect(throws: SettingsError.self) {
            try SettingInputs(environment: ["POSTRIDER_CONFIG": one + "x"]).settings()
        }
        #expect(error?.description.hasPrefix("\(one)x: POSTRIDER_CONFIG: ") == true)
    }

    @Test func inputs_AreReadAgain_ByEachCall() throws {
        let inputs = try inputs("log.level: debug\n")
        #expect(try inputs.settings().log.level == .debug)
        try directory.write("log.level: error\n", over: try #require(inputs.file))
        #expect(try inputs.settings().log.level == .error)
    }

    // MARK: - Every key, from everywhere

    @Test func everyKey_IsTakenFromEverySource_AsItIsShown() throws {
        let defaults = Settings()
        var lines = ""
        var environment: [String: String] = [:]
        var assignments: [SettingInputs.Assignment] = []
        for key in Settings.keys {
            let value = key.show(defaults)
            lines += "\(key.name): \(value)\n"
            environment[key.variable] = value
            assignments.append(SettingInputs.Assignment(flag: "--set", "\(key.name)=\(value)"))
        }
        let fromFile = try SettingInputs(file: try directory.write(lines), environment: [:]).settings()
        let fromEnvironment = try SettingInputs(environment: environment).settings()
        let fromFlags = try SettingInputs(environment: [:], assignments: assignments).settings()
        for (index, key) in Settings.keys.enumerated() {
            for settings in [fromFile, fromEnvironment, fromFlags] {
                #expect(key.show(settings) == key.show(defaults), "\(key.name)")
            }
            guard case .file(_, let line, _) = fromFile.sources[key.name] else {
                Issue.record("\(key.name) is not from the file")
                continue
            }
            #expect(line == index + 1)
            #expect(fromEnvironment.sources[key.name] == .environment(variable: key.variable))
            #expect(fromFlags.sources[key.name] == .flag("--set"))
        }
    }

    @Test func shownSettings_MakeTheSameSettings() throws {
        let names = ["http.threads=5", "spool.sync=interval", "broker.embedded.retention_ms=none", "log.format=json"]
        let assignments = names.map { SettingInputs.Assignment(flag: "--set", $0) }
        let settings = try SettingInputs(environment: [:], assignments: assignments).settings()
        let again = settings.effective.map { SettingInputs.Assignment(flag: "--set", "\($0.name)=\($0.value)") }
        let same = try SettingInputs(environment: [:], assignments: again).settings()
        #expect(same.effective.map(\.value) == settings.effective.map(\.value))
    }

    // MARK: - The environment

    @Test func variables_AreNoTwoSettings_AndNoneThatContainerPlatformsMake() {
        // Some are listed for producers, and again for consumers.
        let properties = Set(PropertyPolicy.known).map { "broker.kafka.properties.\($0)" }
        #expect(properties.count > 100)
        let names = Settings.keys.map(\.name) + properties + properties.map { $0 + "_file" }
        var seen: [String: String] = [:]
        for name in names {
            let variable = EnvironmentNames.variable(of: name)
            let other = seen.updateValue(name, forKey: variable)
            #expect(other == nil, "\(variable) would be both \(name) and \(other ?? "")")
            #expect(
                !EnvironmentNames.isForeign(variable, "tcp://10.0.0.1:8080"),
                "\(variable) may be set by a container platform")
        }
    }

    @Test func variable_OfAProperty_IsTheProperty() throws {
        let path = try directory.write("hunter2\n")
        let settings = try SettingInputs(environment: [
            "POSTRIDER_BROKER_KIND": "kafka", "POSTRIDER_BROKER_KAFKA_BOOTSTRAP_SERVERS": "a:1",
            "POSTRIDER_BROKER_KAFKA_PROPERTIES_SASL_USERNAME": "me",
            "POSTRIDER_BROKER_KAFKA_PROPERTIES_SASL_PASSWORD_FILE": path,
            "POSTRIDER_BROKER_KAFKA_PROPERTIES_SSL_KEY_PASSWORD": "hunter3",
        ])
        .settings()
        #expect(
            settings.kafka.properties == [
                "sasl.username": "me", "sasl.password": "hunter2", "ssl.key.password": "hunter3",
            ])
        let name = "broker.kafka.properties.sasl.password"
        #expect(shown(settings, name) == "(secret) # POSTRIDER_BROKER_KAFKA_PROPERTIES_SASL_PASSWORD_FILE")
        #expect(!settings.report(all: true).contains("hunter"))
    }

    @Test func variable_ThatNamesNothing_IsWarnedOf_WithTheNearest() throws {
        let settings = try SettingInputs(environment: [
            "POSTRIDER_SPOOL_SNYC": "hunter2", "POSTRIDER_HTTP_THREAD": "3", "POSTRIDER_PORT": "8080",
            "POSTRIDER_": "x", "OTHER": "y",
            "POSTRIDER_LOG_LEVEL": "",
        ])
        .settings()
        #expect(
            settings.warnings.filter { !$0.contains("POSTRIDER_;") && !$0.contains("POSTRIDER_PORT;") } == [
                "environment: no setting is named by POSTRIDER_HTTP_THREAD; did you mean POSTRIDER_HTTP_THREADS?",
                "environment: no setting is named by POSTRIDER_SPOOL_SNYC; did you mean POSTRIDER_SPOOL_SYNC?",
            ])
        #expect(settings.warnings.count == 4)
        #expect(settings.sources.isEmpty, "an empty variable is none")
    }

    @Test func variable_OfARefusedProperty_IsRefusedWithTheReason() {
        let variable = "POSTRIDER_BROKER_KAFKA_PROPERTIES_ENABLE_AUTO_COMMIT"
        let error = #expect(throws: SettingsError.self) {
            try SettingInputs(environment: [variable: "true"]).settings()
        }
        #expect(
            error?.description
                == "\(variable): broker.kafka.properties.enable.auto.commit cannot be set: only an acknowledgement "
                + "commits"
        )
    }

    @Test func variables_OfContainerPlatformsAndTests_AreNoMistakes() throws {
        var environment: [String: String] = [:]
        for name in [
            "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_PROTO",
            "PORT_8080_TCP_PORT", "PORT_8080_TCP_ADDR", "HTTP_SERVICE_HOST", "HTTP_PORT", "HTTP_PORT_9092_UDP_ADDR",
            "NAME", "ENV_PATH", "TEST_SEED", "URL",
        ] {
            environment["POSTRIDER_" + name] = "tcp://10.0.0.1:8080"
        }
        let settings = try SettingInputs(environment: environment).settings()
        #expect(settings.warnings.isEmpty && settings.sources.isEmpty)
    }

    // MARK: - The file

    @Test func names_AreNestedOrDotted_AndSectionsMayBeEmpty() throws {
        let settings = try inputs(
            """
            http:
              cors_origins: [https://a.example, "https://b.example"]
              # Nothing is said here.
            limits:
            spool.sync: interval
            broker.embedded:
              partitions_default: 7
              retention_bytes:   1GiB
            broker.kafka: {properties: }
            """
        ).settings()
        #expect(settings.http.corsOrigins == ["https://a.example", "https://b.example"])
        for (name, value) in [
            ("broker.embedded.partitions_default", "7"), ("broker.embedded.retention_bytes", "1GiB"),
            ("spool.sync", "interval"),
        ] {
            #expect(settings.effective.first { $0.name == name }?.value == value)
        }
    }

    @Test func secret_InAFileThatEverybodyCanRead_IsWarnedOf() throws {
        let text = """
            broker:
              kind: kafka
              kafka:
                bootstrap_servers: a:1
                properties: {sasl.username: me, sasl.password: hunter2}
            """
        let (open, closed) = (try directory.write(text, mode: 0o644), try directory.write(text, mode: 0o640))
        #expect(
            try SettingInputs(file: open, environment: [:]).settings().warnings == [
                "\(open):5: broker.kafka.properties.sasl.password stands in a file that everybody on this machine can "
                    + "read"
            ])
        #expect(try SettingInputs(file: closed, environment: [:]).settings().warnings.isEmpty)
    }

    @Test func reportOfSettings_HasWhatIsNotDefault_WithItsPlace() throws {
        #expect(try SettingInputs(environment: [:]).settings().report(all: false) == "Every setting has its default.\n")
        let inputs = try inputs(
            "http: {threads: 3}\n", environment: ["POSTRIDER_LOG_LEVEL": "debug"], [("--listen", "http.listen=[::1]:1")]
        )
        let settings = try inputs.settings()
        let path = try #require(inputs.file)
        #expect(
            settings.report(all: false) == """
                http.listen=[::1]:1  # --listen
                http.threads=3       # \(path):1
                log.level=debug      # POSTRIDER_LOG_LEVEL

                """)
        #expect(
            settings.reportJSON(all: false) == """
                {"valid":true,"settings":[\
                {"name":"http.listen","value":"[::1]:1","secret":false,"source":"flag","flag":"--listen"},\
                {"name":"http.threads","value":"3","secret":false,\
                "source":"file","file":"\(path)","line":1,"column":17},\
                {"name":"log.level","value":"debug","secret":false,\
                "source":"environment","variable":"POSTRIDER_LOG_LEVEL"}],"warnings":[]}

                """)
        #expect(settings.report(all: true).split(separator: "\n").count == Settings.keys.count)
    }
}
