import ArgumentParser
import Gateway

/// Work on a spool whose gateway is stopped.
struct SpoolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spool", abstract: "Look after the spool of a stopped gateway.", subcommands: [Adopt.self])
}

struct Adopt: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Decide what becomes of the records of a restored or copied spool.",
        discussion: """
            After a start that ended in spool_history_unknown: the broker's checkpoints come from a process that \
            this spool does not know, so it was restored from a backup, or a copy of it ran elsewhere. The decision \
            is about what the spool holds now, and each lane uses it once, at its next start.
            """)

    enum History: String, EnumerableFlag {
        case assumeDelivered, resend

        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .assumeDelivered: "Nothing that the spool holds is sent: what was not delivered is lost."
            case .resend: "What this spool does not know to be delivered is sent: some of it may be there twice."
            }
        }
    }

    @Option(help: "Holds the spool, as for serve.")
    var dataDir = "./data"

    @Flag(exclusivity: .exclusive)
    var history: History

    func run() throws {
        do throws(StartError) {
            print(
                try SpoolMaintenance.adopt(
                    dataDirectory: dataDir, history == .resend ? .resend : .assumeDelivered))
        } catch {
            ServeProcess.complain("postrider: \(error)")
            throw ExitCode(error.reason.rawValue)
        }
    }
}
