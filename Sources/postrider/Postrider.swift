import ArgumentParser
import Gateway

@main
enum Program {
    static func main() {
        StandardStreams.hold()
        Postrider.main()
    }
}

struct Postrider: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "postrider", abstract: "An HTTP gateway with reliable delivery in front of Apache Kafka.",
        version: Gateway.version,
        subcommands: [
            Serve.self, Produce.self, Consume.self, Topics.self, ConsumersCommand.self, ReceiptsCommand.self,
            DeadLettersCommand.self, Status.self, ConfigCommand.self, SpoolCommand.self,
        ])
}

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the gateway.",
        discussion: """
            Settings come from their defaults, a YAML file (--config), the environment (POSTRIDER_SPOOL_SYNC is \
            spool.sync) and flags; what stands later in this list goes over what stands before it.

            postrider config reference lists every setting, and --yaml makes a file to begin with. postrider config \
            check says what is wrong, or what holds and where it comes from.
            """)

    @OptionGroup var options: SettingOptions

    func run() throws {
        let settings: Settings
        do throws(SettingsError) {
            settings = try self.settings()
        } catch {
            throw error.complain()
        }
        let inputs = options.inputs
        ServeProcess.run(settings, reload: { () throws(SettingsError) in try inputs.settings() })
    }

    /// What file, environment and flags say now; read again by each call.
    ///
    /// - Throws: everything that is wrong.
    func settings() throws(SettingsError) -> Settings { try options.inputs.settings() }
}
