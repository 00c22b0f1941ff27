import ArgumentParser
import Client
import Gateway
import Glibc
import JSON
import Primitives

/// How a command reaches its gateway.
struct ConnectionOptions: ParsableArguments {
    @Option(help: "The gateway. Default: POSTRIDER_URL of the environment, else \(Endpoint.defaultURL).")
    var url: String?

    @Option(help: "Connect to this socket instead of the URL's host and port.")
    var unixSocket: String?

    @Option(help: "Certificates (PEM) that vouch for an https gateway, instead of the system's.")
    var caFile: String?

    @Option(help: "How long to wait for an answer, beyond what the call itself waits.")
    var timeout = Time(.seconds(40))

    func validate() throws {
        // For libcurl 0 is no limit at all.
        if timeout.duration < .milliseconds(1) { throw ValidationError("--timeout is at least 1ms") }
    }

    func endpoint() throws(ClientError) -> Endpoint {
        let url = url ?? getenv("POSTRIDER_URL").map { String(cString: $0) } ?? Endpoint.defaultURL
        do throws(Endpoint.Malformed) {
            var endpoint = try Endpoint(url)
            endpoint.unixSocket = unixSocket
            endpoint.certificates = caFile
            endpoint.answerTimeout = timeout.duration
            return endpoint
        } catch {
            throw .input(error.description)
        }
    }
}

/// A time on the command line: `5`, `0.5`, `500ms`, `10s`, `5m`, `12h`, `7d`.
struct Time: ExpressibleByArgument {
    /// Up to 365 days.
    let duration: Duration

    init(_ duration: Duration) { self.duration = duration }

    init?(argument: String) {
        let units: [(name: String, seconds: Double)] = [
            ("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400),
        ]
        let unit = units.first { argument.hasSuffix($0.name) }
        guard let number = Double(argument.dropLast(unit?.name.utf8.count ?? 0)), number >= 0,
            number * (unit?.seconds ?? 1) <= 365 * 86400
        else { return nil }
        duration = .milliseconds(Int64((number * (unit?.seconds ?? 1) * 1000).rounded()))
    }

    var defaultValueDescription: String {
        let milliseconds = duration.wholeMilliseconds
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}

/// How the commands that talk to a gateway end; docs/CLI.md lists them. (`serve` and `spool` end as `ExitReason` says.)
enum ClientExit: Int32 {
    case done = 0
    /// The gateway refused, or what was given does not do.
    case refused = 1
    /// No answer, or none of a gateway: nobody knows what became of what was sent last. Or stopped before the end.
    case unknown = 2
    /// Everything was done, and some record is a dead letter.
    case dead = 3
    /// A file or stream of this process cannot be read or written.
    case stream = 4

    init(_ error: ClientError) {
        switch error {
        case .refused, .input: self = .refused
        case .noAnswer, .notAGateway, .gaveUp, .stopped: self = .unknown
        case .io: self = .stream
        }
    }
}

/// Says what is wrong, on standard error.
func complain(_ text: String) { complainRaw("postrider: \(text)") }

/// Writes to standard output. A disk that is full, or a stream that is closed, is an error and no end without a word.
func printOut(_ text: String) throws {
    do throws(ClientError) {
        try OutputStream(STDOUT_FILENO).write(Array(text.utf8))
    } catch {
        complain(error.description)
        throw ExitCode(ClientExit.stream.rawValue)
    }
}

/// A line on standard error, for programs.
func complainRaw(_ text: String) { ServeProcess.complain(text) }

extension ParsableCommand {
    /// Runs, complains, and ends with the exit code of it.
    func exiting(_ body: () throws(ClientError) -> ClientExit) throws {
        let exit: ClientExit
        do throws(ClientError) {
            exit = try body()
        } catch {
            complain(error.description)
            exit = ClientExit(error)
        }
        if exit != .done { throw ExitCode(exit.rawValue) }
    }
}

/// A command that calls a gateway once, or a few times, and prints what it says.
protocol GatewayCommand: ParsableCommand {
    var gateway: ConnectionOptions { get }

    func perform(_ calls: Calls) throws(ClientError) -> ClientExit
}

extension GatewayCommand {
    func run() throws {
        try exiting { () throws(ClientError) in
            try perform(Calls(try Connection(try gateway.endpoint())))
        }
    }
}

struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON.")
    var json = false

    func write(_ bytes: [UInt8]) throws(ClientError) { try OutputStream(STDOUT_FILENO).write(bytes) }

    func write(_ lines: [String]) throws(ClientError) {
        try write(Array(lines.map { $0 + "\n" }.joined().utf8))
    }

    /// The gateway's own JSON, or what it means.
    func write(_ answer: Answer, _ lines: () throws(ClientError) -> [String]) throws(ClientError) {
        if json {
            try write(answer.body + [UInt8(ascii: "\n")])
        } else {
            try write(try lines())
        }
    }
}

struct ListOptions: ParsableArguments {
    @Option(help: "List at most so many.")
    var limit = 1000

    func validate() throws {
        if !(1...1_000_000).contains(limit) { throw ValidationError("--limit is from 1 to 1000000") }
    }
}

extension OutputOptions {
    /// A list with one line an item, and a word when there are more.
    func list(
        _ calls: Calls, _ target: String, _ name: String, query: [(name: String, value: String)] = [],
        _ limit: ListOptions, _ titles: [String], _ row: (JSONValue) -> [String]
    ) throws(ClientError) {
        let (items, hasMore) = try calls.list(target, name, query: query, max: limit.limit)
        if json {
            try write(JSONWriter.list(name, items, hasMore: hasMore))
            return
        }
        var table = Table(titles)
        for item in items { table.add(row(item)) }
        try write(table.lines())
        if hasMore { complain("there are more; see --limit") }
    }
}
