import ArgumentParser
import Gateway

/// A gateway that breaks promise 1 on purpose, to show that Scripts/crash-test can fail: it answers before the sync, on
/// files that forget what was not synced.
@main
struct EarlyAck: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "postrider-early-ack", subcommands: [Serve.self])
}

struct Serve: ParsableCommand {
    @Option var listen = "127.0.0.1:8080"
    @Option var dataDir = "./data"
    @Option(name: .customLong("set")) var assignments: [String] = []

    func run() throws {
        var settings = Settings()
        settings.dataDirectory = dataDir
        do {
            try settings.listen(on: listen)
            for assignment in assignments + ["spool.sync=interval", "spool.sync_interval=500ms"] {
                try settings.set(assignment)
            }
        } catch {
            throw ValidationError(error.description)
        }
        ServeProcess.run(settings, fileSystem: WithholdingFileSystem())
    }
}
