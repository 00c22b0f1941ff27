import ArgumentParser
import Client
import Glibc
import JSON

struct Consume: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consume", abstract: "Write a consumer's records to standard output, or run a command for each.",
        discussion: """
            A record is acknowledged only after it was written (to a file: synced) or its command ended with exit \
            code 0; what was not is handed out again. A command gets the value on standard input, and \
            POSTRIDER_TOPIC, _PARTITION, _OFFSET, _TIMESTAMP, _ATTEMPT, _KEY (or _KEY_BASE64), _HEADERS (JSON), and \
            _TOMBSTONE=1 where there is no value, in its environment; its lease is extended while it runs, and any \
            other exit code gives the record back; but 126 and 127 (no such command) end it. SIGTERM and SIGINT finish \
            what is in hand; a second one ends at once. Exit code 0: all that there was, or --max, or stopped; 1: the \
            gateway refused; 2: gave up; 4: standard output does not take it, or the command cannot be run: nothing of \
            that is acknowledged.
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case ndjson, value, raw
    }

    @Argument(help: "Topics: they define the consumer where it does not exist.")
    var topics: [String] = []

    @OptionGroup var gateway: ConnectionOptions

    @Option(help: "The consumer's name.")
    var consumer: String

    @Option(
        help: """
            Who polls. With a name that stays the same, what a killed process had in hand comes at once, not after its \
            deadline. Default: the machine's name and the process id.
            """)
    var client: String?

    @Flag(help: "Wait for more, for ever.")
    var follow = false

    @Option(help: "End after so many records.")
    var max: Int?

    @Option(help: "ndjson (a line of JSON), value (the value and a line feed) or raw (the value alone).")
    var format = Format.ndjson

    @Option(help: "Run this shell command for each record.")
    var exec: String?

    @Option(help: "Records in hand at most; with --exec it is one.")
    var batch = 100

    @Option(help: "How long a poll waits; without --follow it ends when nothing came for so long.")
    var wait = Time(.seconds(5))

    @Option(help: "Until a record whose command failed is handed out again. Default: as the gateway is set.")
    var retryDelay: Time?

    @Option(help: "Without any answer, end after so long. Default: never.")
    var giveUpAfter: Time?

    @Flag(help: "Print the summary, on standard error, as JSON.")
    var json = false

    func validate() throws {
        if !(1...ConsumeOptions.batchRecordsMax).contains(batch) {
            throw ValidationError("--batch is from 1 to \(ConsumeOptions.batchRecordsMax)")
        }
        if let max, max < 1 { throw ValidationError("--max is at least 1") }
        if follow, wait.duration < .seconds(1) { throw ValidationError("with --follow, --wait is at least 1s") }
        if exec == "" { throw ValidationError("--exec is empty") }
    }

    private var options: ConsumeOptions {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = name.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        var options = ConsumeOptions(consumer: consumer, client: client ?? "\(host.prefix(100))-\(getpid())")
        options.topics = topics
        options.follows = follow
        options.max = max
        switch format {
        case .ndjson: options.form = .ndjson
        case .value: options.form = .value
        case .raw: options.form = .raw
        }
        options.command = exec
        options.batchRecords = batch
        options.wait = wait.duration
        options.retryDelay = retryDelay?.duration
        options.giveUpAfter = giveUpAfter?.duration
        return options
    }

    func run() throws {
        let stop = StopFlag()
        stop.setBySignals()
        try exiting { () throws(ClientError) in
            let run = ConsumeRun(
                options, over: try Connection(try gateway.endpoint()), output: OutputStream(STDOUT_FILENO), stop: stop,
                tell: complain)
            do throws(ClientError) {
                try run.run()
            } catch {
                report(run.summary)
                throw error
            }
            report(run.summary)
            return .done
        }
    }

    private func report(_ summary: ConsumeRun.Summary) {
        if json {
            var writer = JSONWriter()
            writer.object { writer in
                for (name, value) in [("records", summary.records), ("failed", summary.failed), ("lost", summary.lost)]
                {
                    writer.key(name)
                    writer.integer(value)
                }
            }
            complainRaw(String(decoding: writer.bytes, as: UTF8.self))
        } else {
            complain(
                "records \(summary.records), commands failed \(summary.failed), handled but not acknowledged "
                    + "\(summary.lost)")
        }
    }
}
