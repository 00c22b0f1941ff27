import ArgumentParser
import Gateway

/// The flags that set something, for every command that takes settings.
struct SettingOptions: ParsableArguments {
    @Option(help: "A YAML file with settings. Default: POSTRIDER_CONFIG, else none.")
    var config: String?

    @Option(help: .of("http.listen"))
    var listen: String?

    @Option(help: .of("data_dir"))
    var dataDir: String?

    @Flag(help: .of("http.insecure_listen"))
    var insecureListen = false

    @Option(help: .of("broker.kind"))
    var broker: String?

    @Option(help: .of("broker.kafka.bootstrap_servers"))
    var bootstrapServers: String?

    @Option(
        name: .customLong("set"), help: ArgumentHelp("A setting; may be repeated.", valueName: "name=value"))
    var assignments: [String] = []

    /// The file, the environment and these flags.
    var inputs: SettingInputs {
        let values = [
            "--listen": listen, "--data-dir": dataDir, "--insecure-listen": insecureListen ? "true" : nil,
            "--broker": broker, "--bootstrap-servers": bootstrapServers,
        ]
        let flags = SettingsReference.flags.compactMap { flag, key -> SettingInputs.Assignment? in
            guard let value = values[flag] ?? nil else { return nil }
            return SettingInputs.Assignment(flag: flag, "\(key)=\(value)")
        }
        let others = assignments.map { SettingInputs.Assignment(flag: "--set", $0) }
        return SettingInputs(file: config, assignments: flags + others)
    }
}

extension ArgumentHelp {
    fileprivate static func of(_ key: String) -> ArgumentHelp { ArgumentHelp(SettingsReference.help(of: key)) }
}

extension SettingsError {
    /// Says what is wrong, a line each, and gives the exit code for it: that of wrong flags (`EX_USAGE`).
    func complain() -> ExitCode {
        for line in description.split(separator: "\n") { ServeProcess.complain("postrider: \(line)") }
        return .validationFailure
    }
}
