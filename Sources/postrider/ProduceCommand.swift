import ArgumentParser
import Client
import Glibc
import JSON
import Primitives

struct Produce: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "produce", abstract: "Send standard input to a topic, so that each record is there once.",
        discussion: """
            Each request has a key or a number and is repeated until the gateway has answered it, however often the \
            gateway is killed meanwhile. With --progress that holds when this process is killed, too: start it again \
            with the same file and the same input. Exit code 0: all of the input is accepted; 1: something was \
            refused, standard error names the lines; 2: gave up or was stopped, of the last request nobody knows; 3: \
            with --wait, some record is a dead letter; 4: a file or stream cannot be read or written.
            """)

    enum Form: EnumerableFlag {
        case lines, ndjson, record

        static func help(for value: Self) -> ArgumentHelp? {
            switch value {
            case .lines: "Each line is a record (default)."
            case .ndjson: "Each line is a record as JSON, as in the batch call."
            case .record: "All of the input is one record."
            }
        }
    }

    @Argument(help: "The topic.")
    var topic: String

    @OptionGroup var gateway: ConnectionOptions

    @Flag(exclusivity: .exclusive)
    var form = Form.lines

    @Option(help: "The key of every record.")
    var key: String?

    @Option(help: "What stands between key and value in each line. \\t is a tab.")
    var keySeparator: String?

    @Option(help: "The content type of the record (--record).")
    var contentType: String?

    @Option(help: "Number the requests of this producer instead of giving them keys. Needs --progress.")
    var producer: String?

    @Option(help: "Keep here how far it came; start again with the same file to go on.")
    var progress: String?

    @Option(help: "Lines in one request.")
    var batch = 500

    @Option(help: "Wait so long for the delivery of each request, and count what was delivered.")
    var wait: Time?

    @Option(
        help: "Repeat a request for so long. Default: 12h, with --producer 6d: shorter than gateways remember names.")
    var giveUpAfter: Time?

    @Flag(help: "Print each record's receipt, a line each, when it is accepted.")
    var receipts = false

    @Flag(help: "Print the summary, on standard error, as JSON.")
    var json = false

    func validate() throws {
        if !(1...ProduceOptions.batchRecordsMax).contains(batch) {
            throw ValidationError("--batch is from 1 to \(ProduceOptions.batchRecordsMax)")
        }
        if keySeparator != nil, form != .lines || key != nil {
            throw ValidationError("--key-separator is for lines, without --key")
        }
        if keySeparator == "" { throw ValidationError("--key-separator is empty") }
        if key != nil, form == .ndjson { throw ValidationError("with --ndjson each line has its own key") }
        if contentType != nil, form != .record { throw ValidationError("--content-type needs --record") }
        if producer != nil, progress == nil {
            throw ValidationError("--producer needs --progress: without it nobody knows the next number")
        }
        for (name, value) in [("--content-type", contentType), ("--producer", producer)] {
            if let value, value.isEmpty || !value.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) {
                throw ValidationError("\(name) is printable ASCII")
            }
        }
    }

    private var options: ProduceOptions {
        var options = ProduceOptions(topic: topic)
        switch form {
        case .lines: options.form = .lines
        case .ndjson: options.form = .ndjson
        case .record: options.form = .record
        }
        options.key = key
        options.keySeparator = keySeparator == "\\t" ? "\t" : keySeparator
        options.contentType = contentType
        options.producer = producer
        options.progress = progress
        options.batchRecords = batch
        options.wait = wait?.duration ?? .zero
        options.giveUpAfter = giveUpAfter?.duration
        return options
    }

    func run() throws {
        let stop = StopFlag()
        stop.setBySignals()
        try exiting { () throws(ClientError) in
            let run = try ProduceRun(
                options, over: try Connection(try gateway.endpoint()), input: STDIN_FILENO,
                receipts: receipts ? OutputStream(STDOUT_FILENO) : nil, stop: stop, tell: complain)
            do throws(ClientError) {
                try run.run()
            } catch {
                report(run.summary)
                throw error
            }
            report(run.summary)
            if !run.summary.isComplete { return .unknown }
            return run.summary.dead > 0 ? .dead : .done
        }
    }

    private func report(_ summary: ProduceRun.Summary) {
        if json {
            var writer = JSONWriter()
            writer.object { $0.summary(summary, isWaiting: wait != nil) }
            complainRaw(String(decoding: writer.bytes, as: UTF8.self))
            return
        }
        var text = "accepted: records \(summary.records), requests \(summary.requests), repeated \(summary.repetitions)"
        if wait != nil { text += ", delivered \(summary.delivered), dead \(summary.dead)" }
        if summary.isBuffered { text += "; not synced yet (spool.sync=interval)" }
        if !summary.isComplete, form != .record { text += "; of the input the first \(summary.lines) lines" }
        complain(text)
        if let failed = summary.failed {
            let line = failed.line.map { "line \($0) was refused" } ?? "the request was refused"
            let reason = failed.reason.map { ": \($0)" } ?? ""
            let (first, last) = (failed.lines.lowerBound, failed.lines.upperBound)
            let fate = failed.isInDoubt ? "an earlier try may be accepted" : "none is accepted"
            complain("\(line)\(reason); of lines \(first) to \(last) \(fate)")
        }
    }
}

extension JSONWriter {
    fileprivate mutating func summary(_ summary: ProduceRun.Summary, isWaiting: Bool) {
        var numbers = [
            ("records", summary.records), ("lines", summary.lines), ("requests", summary.requests),
            ("repetitions", summary.repetitions),
        ]
        if isWaiting { numbers += [("delivered", summary.delivered), ("dead", summary.dead)] }
        for (name, value) in numbers {
            key(name)
            integer(value)
        }
        key("buffered")
        bool(summary.isBuffered)
        key("complete")
        bool(summary.isComplete)
        key("failed")
        guard let failed = summary.failed else {
            null()
            return
        }
        object { writer in
            writer.key("in_doubt")
            writer.bool(failed.isInDoubt)
            writer.key("line")
            if let line = failed.line { writer.integer(line) } else { writer.null() }
            writer.key("first_line")
            writer.integer(failed.lines.lowerBound)
            writer.key("last_line")
            writer.integer(failed.lines.upperBound)
            writer.key("reason")
            if let reason = failed.reason { writer.string(reason) } else { writer.null() }
        }
    }
}
