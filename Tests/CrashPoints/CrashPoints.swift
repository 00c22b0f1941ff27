import ArgumentParser
import Broker
import Gateway

/// A gateway that kills itself at a named point of a hand-over, so that tests of what a crash leaves behind need no
/// luck. The points are in this executable only: the product has none.
@main
struct CrashPoints: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "postrider-crash-points", subcommands: [Serve.self])
}

struct Serve: ParsableCommand {
    @Option var listen = "127.0.0.1:8080"
    @Option var dataDir = "./data"
    @Option(name: .customLong("set")) var assignments: [String] = []
    @Option(help: "One of \(HandOverPoint.allCases.map(\.rawValue).joined(separator: ", ")).") var crashAt: String
    @Option(help: "Dies when the point is passed for this time, counted over all lanes.") var passage = 1

    func run() throws {
        guard let point = HandOverPoint(rawValue: crashAt) else { throw ValidationError("no such point: \(crashAt)") }
        var settings = Settings()
        settings.dataDirectory = dataDir
        do {
            try settings.listen(on: listen)
            for assignment in assignments { try settings.set(assignment) }
        } catch {
            throw ValidationError(error.description)
        }
        let bomb = Bomb(at: point, passage: passage)
        ServeProcess.run(settings, sinks: { ExplosiveSinks($0, bomb) })
    }
}
