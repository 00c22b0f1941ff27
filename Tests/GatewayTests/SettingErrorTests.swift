import Gateway
import Glibc
import TestSupport
import Testing

/// What somebody is told about wrong settings: each kind of mistake with its exact text and its place.
@Suite struct SettingErrorTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// What a file, the environment and `--set` are answered with; FILE stands for the file's path.
    private func complaint(
        _ text: String? = nil, environment: [String: String] = [:], _ assignments: [String] = [],
        _ location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let path = try text.map { try directory.write($0) }
        let inputs = SettingInputs(
            file: path, environment: environment,
            assignments: assignments.map { SettingInputs.Assignment(flag: "--set", $0) })
        let error = #expect(throws: SettingsError.self, sourceLocation: location) { try inputs.settings() }
        let description = error?.description ?? ""
        return path.map { description.replacing($0, with: "FILE") } ?? description
    }

    @Test(arguments: [
        ("spool:\n  snyc: always\n", "FILE:2:3: there is no setting spool.snyc; did you mean spool.sync?"),
        ("spol:\n  sync: always\n", "FILE:2:3: there is no setting spol.sync; did you mean spool.sync?"),
        ("lanes: 3\n", "FILE:1:1: there is no setting lanes; did you mean spool.lanes?"),
        (
            "broker.kafk.create_topics: true\n",
            "FILE:1:1: there is no setting broker.kafk.create_topics; did you mean broker.kafka.create_topics?"
        ),
        ("SPOOL.SYNC: always\n", "FILE:1:1: there is no setting SPOOL.SYNC; did you mean spool.sync?"),
        ("broker:\n  kind: redis\n", "FILE:2:9: broker.kind: embedded or kafka is expected, not redis"),
        ("http:\n  threads:\n", "FILE:2:11: http.threads: a whole number from 1 to 64 is expected, not nothing"),
        ("http: {threads: 65}\n", "FILE:1:17: http.threads: a whole number from 1 to 64 is expected, not 65"),
        (
            "spool:\n  bytes_max: 8GB\n",
            "FILE:2:14: spool.bytes_max: a size from 1 to 1024TiB such as 65536, 64KiB, 16MiB or 8GiB is expected, not "
                + "8GB; did you mean 8GiB?"
        ),
        (
            "http.idle_timeout: 30",
            "FILE:1:20: http.idle_timeout: a time such as 0ms, 100ms, 30s or 5m is expected, not 30; did you mean 30s?"
        ),
        (
            "broker.kafka.socket_timeout: 10min",
            "FILE:1:30: broker.kafka.socket_timeout: a time from 1s to 5m is expected, not 10min"
        ),
        ("http.gzip: on\n", "FILE:1:12: http.gzip: true or false is expected, not on; did you mean true?"),
        (
            "spool.bytes_max: 30s\n",
            #"FILE:1:18: spool.bytes_max: a size from 1 to 1024TiB such as 65536, 64KiB, 16MiB "#
                + "or 8GiB is expected, not 30s"
        ),
        ("spool: 5\n", "FILE:1:8: spool: a section with names and values is expected, not something else"),
        ("- spool\n", "FILE:1:1: the file: a section with names and values is expected, not something else"),
        (
            "log.level: [{a: b}]\n",
            "FILE:1:12: log.level: a value, or a list of them, is expected, not something else"
        ),
        ("http:\n  threads: 2\nhttp.threads: 3\n", "FILE:3:15: http.threads is set twice, the first time by FILE:2"),
        ("http:\n  threads: 2\n  threads: 3\n", "FILE:2:3: threads: it is there twice"),
        ("http: [\n", "FILE:2:1: YAML: did not find expected node content"),
        (
            "broker.kafka.properties.sasl.pasword: hunter2\n",
            "FILE:1:1: there is no setting broker.kafka.properties.sasl.pasword; did you mean "
                + "broker.kafka.properties.sasl.password?"
        ),
        (
            "broker.kafka.properties.enable.auto.commit: true\n",
            "FILE:1:45: broker.kafka.properties.enable.auto.commit cannot be set: only an acknowledgement commits"
        ),
        (
            "broker: {kind: kafka, kafka.bootstrap_servers: \"a:1\"}\n"
                + "broker.kafka.properties: {sasl.password: a, sasl.password_file: /b}\n",
            "FILE:2:65: broker.kafka.properties.sasl.password is set twice, the first time by FILE:2"
        ),
        (
            "broker.kafka.properties.sasl.password_file: /nowhere/p\n",
            "FILE:1:45: /nowhere/p: broker.kafka.properties.sasl.password_file: open /nowhere/p: No such file or "
                + "directory"
        ),
        (
            "http.listen: 0.0.0.0:80\n",
            "FILE:1:14: listening on 0.0.0.0 lets everybody on the network in: there is no authentication yet. Listen "
                + "on 127.0.0.1, or say --insecure-listen if something else protects this port"
        ),
    ])
    func mistakeInTheFile_IsToldWithItsPlace(text: String, expected: String) throws {
        #expect(try complaint(text) == expected)
    }

    @Test func mistakes_AreToldAllAtOnce_InTheirOrder() throws {
        let told = try complaint(
            "spool:\n  snyc: always\nhttp: 7\nlimits:\n  records_max: 0\n",
            environment: ["POSTRIDER_LOG_LEVEL": "loud"], ["http.threads=x", "foo"])
        #expect(
            told.split(separator: "\n") == [
                "FILE:2:3: there is no setting spool.snyc; did you mean spool.sync?",
                "FILE:3:7: http: a section with names and values is expected, not something else",
                "FILE:5:16: limits.records_max: a whole number from 1 to 100000 is expected, not 0",
                "POSTRIDER_LOG_LEVEL: log.level: one of trace, debug, info, notice, warning, error, critical, is "
                    + "expected, not loud",
                "--set: http.threads: a whole number from 1 to 64 is expected, not x",
                "--set wants key=value, not foo",
            ])
    }

    @Test func mistakes_ThatAreMany_AreCounted() throws {
        let lines = (1...30).map { "a\($0): 1\n" }.joined()
        let told = try complaint(lines).split(separator: "\n")
        #expect(told.count == 21)
        #expect(told.first?.hasPrefix("FILE:1:1: there is no setting a1; ") == true)
        #expect(told.last == "and 10 more")
    }

    @Test func contradiction_NamesBothValues_AndWhereTheyStand() throws {
        #expect(
            try complaint("limits:\n  request_bytes_max: 1KiB\n")
                == "FILE:2:22: limits.record_bytes_max: at most limits.request_bytes_max is expected, not 1MiB "
                + "(default); limits.request_bytes_max is 1KiB (FILE:2)")
        #expect(
            try complaint(environment: ["POSTRIDER_SPOOL_BYTES_MAX": "1MiB"])
                == "POSTRIDER_SPOOL_BYTES_MAX: spool.bytes_max: at least four segments (256MiB) is expected, not 1MiB; "
                + "spool.segment_bytes is 64MiB (default)")
        #expect(
            try complaint("forwarder:\n  retry_max: 10ms\n", ["forwarder.retry_initial=20ms"])
                == "--set: forwarder.retry_initial: at most forwarder.retry_max is expected, not 20ms; "
                + "forwarder.retry_max is 10ms (FILE:2)")
        #expect(
            try complaint("broker.kafka.properties.client.id: a\n")
                == "FILE:1:36: broker.kind: kafka where broker.kafka.properties are set is expected, not embedded "
                + "(default); broker.kafka.properties is client.id (FILE:1)")
    }

    @Test func contradiction_OfAValueThatIsWrongAnyway_IsNotTold() throws {
        // Without the first value nobody knows whether the second fits.
        #expect(
            try complaint(nil, ["limits.record_bytes_max=2M", "limits.request_bytes_max=1KiB"])
                == "--set: limits.record_bytes_max: a size from 1 to 1024TiB such as 65536, 64KiB, 16MiB or 8GiB is "
                + "expected, not 2M; did you mean 2MiB?")
    }

    @Test func property_ThatLibrdkafkaRefuses_IsToldWithItsPlace() throws {
        let told = try complaint(
            "broker:\n  kind: kafka\n  kafka:\n    bootstrap_servers: a:1\n    properties:\n      linger.ms: soon\n")
        #expect(told.hasPrefix("FILE:6:18: broker.kafka.properties: linger.ms: "))
    }

    @Test func variable_ThatMayBeTheReason_IsNamedWithTheMistake() throws {
        let told = try complaint(
            environment: ["POSTRIDER_BROKER_KIND": "kafka", "POSTRIDER_BROKER_KAFKA_BOOTSTRAP_SERVER": "a:1"])
        #expect(
            told.split(separator: "\n") == [
                "POSTRIDER_BROKER_KIND: broker.kafka.bootstrap_servers: HOST:PORT of at least one broker is expected, "
                    + "not none (default); broker.kind is kafka (POSTRIDER_BROKER_KIND)",
                "warning: environment: no setting is named by POSTRIDER_BROKER_KAFKA_BOOTSTRAP_SERVER; did you mean "
                    + "POSTRIDER_BROKER_KAFKA_BOOTSTRAP_SERVERS?",
            ])
    }

    @Test func twoVariablesOfOneProperty_AreRefused() throws {
        let name = "POSTRIDER_BROKER_KAFKA_PROPERTIES_SASL_PASSWORD"
        let kafka = ["POSTRIDER_BROKER_KIND": "kafka", "POSTRIDER_BROKER_KAFKA_BOOTSTRAP_SERVERS": "a:1"]
        #expect(
            try complaint(environment: kafka.merging([name: "hunter2", name + "_FILE": "/b"]) { $1 })
                == "\(name)_FILE: broker.kafka.properties.sasl.password is set twice, the first time by \(name)")
    }

    @Test func file_ThatIsNone_IsTold_WithoutWaiting() throws {
        let pipe = "\(directory.path)/pipe"
        try #require(mkfifo(pipe, 0o600) == 0)
        for path in [pipe, directory.path] {
            let error = #expect(throws: SettingsError.self) {
                try SettingInputs(file: path, environment: [:]).settings()
            }
            #expect(error?.description == "\(path): --config: it is no file")
        }
        let large = try directory.write(String(repeating: "#", count: 1 << 20 + 1))
        let error = #expect(throws: SettingsError.self) { try SettingInputs(file: large, environment: [:]).settings() }
        #expect(error?.description == "\(large): --config: it is larger than 1048576 bytes")
    }

    @Test(arguments: [
        ("spool.sync", "spool.sync"), ("sasl.password:hunter2", "sasl.password…"), ("p hunter2", "p…"),
        ("broker.kafka.properties.hunter2", "broker.kafka.properties.…"),
    ])
    func assignmentWithoutAValue_IsShownUpToItsName(assignment: String, shown: String) throws {
        #expect(try complaint(nil, [assignment]) == "--set wants key=value, not \(shown)")
    }

    @Test func value_IsShownOnOneLine_AndNotWhole() throws {
        let value = "\u{1B}[31m\n" + String(repeating: "x", count: 200)
        let told = try complaint(nil, ["log.level=\(value)"])
        #expect(told.hasSuffix("is expected, not ?[31m?\(String(repeating: "x", count: 94))…"))
    }

    @Test func mistakes_AsJSON_HaveTheirPlaces() throws {
        let path = try directory.write("http.threads: 65\n")
        let inputs = SettingInputs(
            file: path, environment: ["POSTRIDER_LOG_LEVEL": "loud", "POSTRIDER_X": "1"],
            assignments: [SettingInputs.Assignment(flag: "--set", "a=b")])
        let error = try #require(#expect(throws: SettingsError.self) { try inputs.settings() })
        let told = error.reportJSON
        for part in [
            #"{"valid":false,"errors":[{"name":"http.threads","message":"http.threads: a whole number from 1 to 64 "#,
            #""source":"file","file":"\#(path)","line":1,"column":15}"#,
            #""source":"environment","variable":"POSTRIDER_LOG_LEVEL"}"#, #""source":"flag","flag":"--set"}"#,
            #""warnings":["environment: no setting is named by POSTRIDER_X; "#,
        ] {
            #expect(told.contains(part), "\(part)")
        }
    }
}
