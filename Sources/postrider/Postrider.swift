import ArgumentParser
import Gateway

@main
struct Postrider: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "postrider", abstract: "An HTTP gateway with reliable delivery in front of Apache Kafka.",
        version: Gateway.version,
        subcommands: [
            Serve.self, Produce.self, Consume.self, Topics.self, ConsumersCommand.self, ReceiptsCommand.self,
            DeadLettersCommand.self, Status.self, SpoolCommand.self,
        ])
}

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the gateway.",
        discussion: "Settings (--set key=value):\n\n"
            + Settings.keys.map { "  \($0.name)=\($0.show(Settings()))  \($0.help)" }.joined(separator: "\n")
            + "\n  broker.kafka.properties.NAME=VALUE  Passed through to librdkafka."
            + "\n  broker.kafka.properties.NAME_file=PATH  The same, with the value read from a file.")

    @Option(help: "Where to listen, as HOST:PORT; HOST is a numeric address.")
    var listen = "127.0.0.1:8080"

    @Option(help: "Holds the spool, the embedded broker and the dead letters.")
    var dataDir = "./data"

    @Flag(help: "Listen beyond loopback, where there is no authentication yet.")
    var insecureListen = false

    @Option(help: "A YAML file with settings; flags come over it.")
    var config: String?

    @Option(help: "Where records go: embedded (default) or kafka. As --set broker.kind=…")
    var broker: String?

    @Option(help: "Of the Kafka cluster: HOST:PORT,… As --set broker.kafka.bootstrap_servers=…")
    var bootstrapServers: String?

    @Option(name: .customLong("set"), help: "A setting, as key=value; may be repeated.")
    var assignments: [String] = []

    func run() throws {
        ServeProcess.run(try settings())
    }

    /// - Throws: `ValidationError` with what to change.
    func settings() throws -> Settings {
        var settings = Settings()
        settings.dataDirectory = dataDir
        settings.insecureListen = insecureListen
        do throws(SettingsError) {
            try settings.listen(on: listen)
            if let config { try settings.load(file: config) }
            if let broker { try settings.set("broker.kind=\(broker)") }
            if let bootstrapServers { try settings.set("broker.kafka.bootstrap_servers=\(bootstrapServers)") }
            for assignment in assignments { try settings.set(assignment) }
            try settings.check()
        } catch {
            throw ValidationError(error.description)
        }
        return settings
    }
}
