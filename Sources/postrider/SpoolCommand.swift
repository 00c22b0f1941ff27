import ArgumentParser
import Gateway
import Glibc

/// Work on a spool whose gateway is stopped.
struct SpoolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spool", abstract: "Look after the spool of a stopped gateway.",
        subcommands: [Inspect.self, Verify.self, Repair.self, Export.self, Adopt.self])
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

    @Flag(help: "Print it as JSON.")
    var json = false

    func run() throws {
        let done = try orExit { () throws(StartError) in
            try SpoolMaintenance.adopt(dataDirectory: dataDir, history == .resend ? .resend : .assumeDelivered)
        }
        try printOut(json ? done.json : done.text + "\n")
    }
}

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what is in the spool, by its headers.",
        discussion: """
            Segments, lanes, starts, how far delivery came; as fast as a start, and changes nothing. Exit code 0; 21: \
            a start would be refused; 22: a gateway runs; 1: there is no spool, or the disk refuses.
            """)

    @Option(help: "Holds the spool, as for serve.")
    var dataDir = "./data"

    @Flag(help: "Print it as JSON.")
    var json = false

    func run() throws {
        let found = try orExit { () throws(StartError) in try SpoolMaintenance.inspect(dataDirectory: dataDir) }
        try printOut(json ? found.json : found.text + "\n")
        if !found.isClean { throw ExitCode(ExitReason.spoolCorrupt.rawValue) }
    }
}

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read every byte of the spool and say what is in it.",
        discussion: """
            Changes nothing. Exit code 0: clean (a torn tail, and damage that nobody needs any more, are clean); 21: \
            records that are needed cannot be read; 22: a gateway runs; 1: there is no spool, or the disk refuses.
            """)

    @Option(help: "Holds the spool, as for serve.")
    var dataDir = "./data"

    @Flag(help: "Print it as JSON.")
    var json = false

    func run() throws {
        let found = try orExit { () throws(StartError) in try SpoolMaintenance.verify(dataDirectory: dataDir) }
        try printOut(json ? found.json : found.text + "\n")
        if !found.isClean { throw ExitCode(ExitReason.spoolCorrupt.rawValue) }
    }
}

struct Repair: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a damaged spool one that starts.",
        discussion: """
            Says what it would do. With --quarantine it does it: what can be restored is restored, the rest is \
            quarantined, with copies and a report in the spool's directory "quarantine". Exit code 0: there is nothing \
            (more) to repair; 21: there is, and --quarantine was not given; 22: a gateway runs; 1: the disk, the dead \
            letters or the limit of 1,024 ranges refuses.
            """)

    @Option(help: "Holds the spool, as for serve.")
    var dataDir = "./data"

    @Flag(help: "Accept that what cannot be read is lost.")
    var quarantine = false

    @Flag(help: "Print it as JSON.")
    var json = false

    func run() throws {
        let repair = try orExit { () throws(StartError) in
            quarantine
                ? try SpoolMaintenance.repair(dataDirectory: dataDir)
                : try SpoolMaintenance.planRepair(dataDirectory: dataDir)
        }
        try printOut(json ? repair.json : repair.text + "\n")
        if !repair.isClean { throw ExitCode(ExitReason.spoolCorrupt.rawValue) }
    }
}

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write records of the spool as NDJSON, in the form that the batch call accepts.",
        discussion: """
            In LSN order, delivered ones included; a batch is of one topic, so of several one has to be named. Changes \
            nothing. What cannot be read is skipped with a line on standard error. Exit code 0: everything was \
            written; 21: something was skipped; 22: a gateway runs; 1: several topics and none named, there is no \
            spool, or the disk refuses.
            """)

    @Option(help: "Holds the spool, as for serve.")
    var dataDir = "./data"

    @Option(help: "The first LSN.")
    var from: UInt64 = 0

    @Option(help: "The last LSN.")
    var to = UInt64.max - 1

    @Option(help: "Of which topic.")
    var topic: String?

    func validate() throws {
        if from > to || to == .max { throw ValidationError("--from must be at most --to, and that a LSN") }
    }

    func run() throws {
        do {
            let counts = try SpoolLines.write(
                dataDirectory: dataDir, from...to, topic: topic, to: STDOUT_FILENO
            ) { ServeProcess.complain("postrider: \($0)") }
            if counts.damages > 0 { throw ExitCode(ExitReason.spoolCorrupt.rawValue) }
        } catch let error as StartError {
            ServeProcess.complain("postrider: \(error)")
            throw ExitCode(error.reason.rawValue)
        } catch  where !(error is ExitCode) {
            ServeProcess.complain("postrider: \(error)")
            throw ExitCode(ExitReason.cannotStart.rawValue)
        }
    }
}

/// Says why not, and ends with the exit code of it.
private func orExit<Result>(_ body: () throws(StartError) -> Result) throws -> Result {
    do throws(StartError) {
        return try body()
    } catch {
        ServeProcess.complain("postrider: \(error)")
        throw ExitCode(error.reason.rawValue)
    }
}
