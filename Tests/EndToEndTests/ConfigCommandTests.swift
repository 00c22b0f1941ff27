import Glibc
import GatewayTestSupport
import TestSupport
import Testing

/// `postrider config`, and settings from file and environment, with the real program.
@Suite struct ConfigCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func goodSettings_ArePrintedWithTheirSources() throws {
        let path = try directory.write("http:\n  threads: 3\n")
        let process = try GatewayProcess(
            in: directory, environment: ["POSTRIDER_LOG_LEVEL=debug", "POSTRIDER_SPOOL_SNYC=1"],
            command: ["config", "check", "--config", path, "--listen", "[::1]:1", "--set", "spool.lanes=2"])
        #expect(process.waitForEnd() == .exited(0))
        let lines = try process.log().split(separator: "\n").sorted()
        #expect(
            lines == [
                "http.listen=[::1]:1  # --listen", "http.threads=3       # \(path):2",
                "log.level=debug      # "
                    + "POSTRIDER_LOG_LEVEL", "spool.lanes=2        # --set",
                "warning: environment: no setting is named by POSTRIDER_SPOOL_SNYC; did you mean POSTRIDER_SPOOL_SYNC?",
            ])
    }

    @Test(arguments: [["serve"], ["config", "check"]])
    func wrongSettings_EndWith64_AndEachIsTold(command: [String]) throws {
        let path = try directory.write("http:\n  threads: 65\n  thread: 1\n")
        let process = try GatewayProcess(
            in: directory, environment: ["POSTRIDER_CONFIG=\(path)", "POSTRIDER_LOG_LEVEL=loud"], command: command)
        #expect(process.waitForEnd() == .exited(64))
        #expect(
            try process.log() == """
                postrider: \(path):2:12: http.threads: a whole number from 1 to 64 is expected, not 65
                postrider: \(path):3:3: there is no setting http.thread; did you mean http.threads?
                postrider: POSTRIDER_LOG_LEVEL: log.level: one of trace, debug, info, notice, warning, error, \
                critical, is expected, not loud

                """)
    }

    @Test func wrongSettings_AsJSON_EndWith64() throws {
        let process = try GatewayProcess(in: directory, command: ["config", "check", "--json", "--set", "a=b"])
        #expect(process.waitForEnd() == .exited(64))
        #expect(try process.log().hasPrefix(#"{"valid":false,"errors":[{"name":"a","message":"#))
    }

    @Test func serve_TakesItsSettings_FromFileAndEnvironment() throws {
        let path = try directory.write("http: {listen: \"127.0.0.1:0\"}\nlog: {format: json}\n")
        let process = try GatewayProcess(
            in: directory, environment: ["POSTRIDER_CONFIG=\(path)", "POSTRIDER_DATA_DIR=\(directory.path)/other"],
            command: ["serve"])
        #expect(try HTTPClient(port: try process.port(), owner: process).request("GET", "/healthz").status == 200)
        #expect(access("\(directory.path)/other/spool", F_OK) == 0)
    }

    @Test(arguments: ["--yaml", "--markdown", "--json"]) func reference_IsPrinted(form: String) throws {
        let process = try GatewayProcess(in: directory, command: ["config", "reference", form])
        #expect(process.waitForEnd() == .exited(0))
        #expect(try process.log().contains("sync_interval"))
    }
}
