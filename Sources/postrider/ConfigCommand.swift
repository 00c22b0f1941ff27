import ArgumentParser
import Gateway

/// Settings, without starting anything.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check settings, and list what can be set.",
        subcommands: [Check.self, Reference.self])
}

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what is wrong with the settings, or what holds and where it comes from.",
        discussion: """
            Takes the same file, environment and flags as serve, and touches nothing else. Prints what is not left at \
            its default; secrets are masked. Warnings go to standard error. Exit code 0: serve would take them; 64: it \
            would not.
            """)

    @OptionGroup var options: SettingOptions

    @Flag(help: "Print defaults, too.")
    var all = false

    @Flag(help: "Print it as JSON.")
    var json = false

    func run() throws {
        let text: String
        do throws(SettingsError) {
            let settings = try options.inputs.settings()
            if !json { for warning in settings.warnings { ServeProcess.complain("warning: \(warning)") } }
            text = json ? settings.reportJSON(all: all) : settings.report(all: all)
        } catch {
            if json {
                try printOut(error.reportJSON)
                throw ExitCode.validationFailure
            }
            throw error.complain()
        }
        try printOut(text)
    }
}

struct Reference: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List every setting with its default, its form and its meaning.",
        discussion: "As text, unless another form is asked for.")

    enum Form: String, EnumerableFlag {
        case yaml, markdown, json

        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .yaml: "A commented file for --config that changes nothing, to begin with."
            case .markdown: "The page docs/CONFIGURATION.md."
            case .json: "For programs."
            }
        }
    }

    @Flag(exclusivity: .exclusive)
    var form: Form?

    func run() throws {
        let text =
            switch form {
            case .yaml: SettingsReference.yaml
            case .markdown: SettingsReference.markdown
            case .json: SettingsReference.json
            case nil: SettingsReference.text
            }
        try printOut(text)
    }
}
