import JSON
public import Primitives

/// What `consume` is told.
public struct ConsumeOptions: Sendable {
    /// How a record is written.
    public enum Form: String, Sendable, CaseIterable {
        /// A line of JSON, as polls answer.
        case ndjson
        /// The value's bytes and a line feed.
        case value
        /// The value's bytes and nothing else.
        case raw
    }

    public static let batchRecordsMax = 10_000

    public var consumer: String
    /// Define the consumer where it does not exist.
    public var topics: [String] = []
    /// Who polls.
    public var client: String
    /// Waits for more, for ever; else it ends when nothing came for `wait`.
    public var follows = false
    /// Records after which it ends; nil: no limit.
    public var max: Int?
    public var form = Form.ndjson
    /// Runs for each record instead of writing it.
    public var command: String?
    /// Records in hand at most; with a command it is one.
    public var batchRecords = 100
    /// Of one poll.
    public var wait = Duration.seconds(5)
    /// After a command failed; nil: as the gateway is set.
    public var retryDelay: Duration?
    /// Without an answer to a poll; nil: for ever.
    public var giveUpAfter: Duration?

    public init(consumer: String, client: String) {
        self.consumer = consumer
        self.client = client
    }
}

/// `postrider consume`: polls, writes each record or runs a command for it, and acknowledges only then. So each record
/// has its effect at least once, whatever is killed; with a command that does the same thing again without harm, once.
/// One thread.
public final class ConsumeRun {
    public struct Summary: Sendable, Equatable {
        /// Written, or handled by a command that ended with 0.
        public var records = 0
        /// Given back, since the command failed.
        public var failed = 0
        /// Handled, but no longer theirs to acknowledge: they come again.
        public var lost = 0
    }

    /// An acknowledgement is repeated this long; then what it names comes again. As long as a lease by default.
    private static let acknowledgePatience = Duration.seconds(30)
    /// Of a lease, for an extension to come in time though one is lost.
    private static let extensionsPerLease = 3
    /// What a shell ends with where it finds no such command, or may not run it (POSIX, 2.8.2).
    private static let noCommand: Set<Int32> = [126, 127]

    public private(set) var summary = Summary()

    private let options: ConsumeOptions
    private let transport: any Transport
    private let polls: Repeater
    private let calls: Repeater
    private let output: OutputStream
    private let stop: StopFlag
    private let clock: any TimeSource
    private let tell: (String) -> Void
    private var leaseMs: Int64?

    public init(
        _ options: ConsumeOptions, over transport: any Transport, output: OutputStream, stop: StopFlag,
        clock: any TimeSource = SystemClock(), tell: @escaping (String) -> Void
    ) {
        self.options = options
        self.transport = transport
        self.output = output
        self.stop = stop
        self.clock = clock
        self.tell = tell
        polls = Repeater(transport, stop: stop, clock: clock, tell: tell)
        // What is in hand when it is to stop is still acknowledged.
        calls = Repeater(transport, stop: StopFlag(), clock: clock, tell: tell)
    }

    private var path: String { "/v1/consumers/\(percentEncoded(options.consumer))" }

    /// Returns when there is nothing more to do, or it was stopped: with everything in hand acknowledged or given back.
    ///
    /// - Throws: `refused`, `gaveUp` of a poll; `io` when the output does not take it, or the command cannot be run:
    ///   nothing of that is acknowledged.
    public func run() throws(ClientError) {
        if options.command == nil, options.form != .raw { try output.endCutLine() }
        while !stop.isSet, left > 0 {
            let answer: Answer
            do throws(ClientError) {
                let deadline = options.giveUpAfter.map { clock.now() + $0 }
                answer = try polls.send(pollRequest, until: deadline, endsInTransfer: true, again: isWorthWaiting)
            } catch {
                if case .stopped = error { return }
                throw error
            }
            let poll = try PollAnswer(answer)
            for text in poll.skipped { tell(text) }
            guard let token = poll.token else {
                if options.follows { continue }
                return
            }
            if let command = options.command {
                for record in poll.records { try run(RecordCommand(command), on: record, token) }
            } else {
                try write(poll.records, token)
            }
        }
    }

    private var left: Int { options.max.map { max(0, $0 - summary.records) } ?? .max }

    private var pollRequest: Request {
        let most = options.command == nil ? min(options.batchRecords, left) : 1
        var target = path + "/poll?client=\(percentEncoded(options.client))&max=\(most)&wait=\(options.wait.inSeconds)"
        if options.command != nil || options.form != .ndjson { target += "&values=base64" }
        for topic in options.topics { target += "&topic=\(percentEncoded(topic))" }
        return Request("POST", target, wait: options.wait)
    }

    /// An earlier poll of this name that is still open ends with its connection; a topic comes with its first record.
    private func isWorthWaiting(_ problem: Problem) -> Bool {
        switch problem.code {
        case "client_busy", "client_left": true
        case "unknown_topic": options.follows
        default: false
        }
    }

    private func write(_ records: [DeliveredRecord], _ token: String) throws(ClientError) {
        do throws(ClientError) {
            var bytes: [UInt8] = []
            for record in records {
                switch options.form {
                case .ndjson: bytes += record.line
                case .raw: bytes += try record.value() ?? []
                case .value: bytes += (try record.value() ?? []) + [UInt8(ascii: "\n")]
                }
            }
            let lease = try lease()
            // A reader that is slow takes nothing for longer than a lease lasts.
            try output.write(bytes, every: Self.interval(lease)) { extend(token, to: lease, "what is written") }
        } catch {
            giveBack(token, delay: .zero, "\(error)")
            throw error
        }
        summary.records += records.count
        acknowledge(token, records.count)
    }

    private func run(_ command: RecordCommand, on record: DeliveredRecord, _ token: String) throws(ClientError) {
        let end: RecordCommand.End
        do throws(ClientError) {
            let lease = try lease()
            end = try command.run(on: record, try record.value(), every: Self.interval(lease)) {
                extend(token, to: lease, "offset \(record.offset)")
            }
            if case .exited(let code) = end, Self.noCommand.contains(code) {
                // No record is at fault: the others would all follow it to the dead letters.
                throw .io("the command cannot be run: exit code \(code)")
            }
        } catch {
            giveBack(token, delay: .zero, "\(error)")
            throw error
        }
        if end == .exited(0) {
            summary.records += 1
            acknowledge(token, 1)
        } else {
            summary.failed += 1
            tell("\(record.topic) partition \(record.partition) offset \(record.offset): the command ended with \(end)")
            giveBack(token, delay: options.retryDelay, "the command ended with \(end)")
        }
    }

    private static func interval(_ lease: Int64) -> Duration { .milliseconds(lease) / extensionsPerLease }

    /// Of the consumer, in milliseconds.
    private func lease() throws(ClientError) -> Int64 {
        if let leaseMs { return leaseMs }
        let answer = try calls.send(Request("GET", path), until: clock.now() + Self.acknowledgePatience)
        guard let found = try answer.json().member("ack_deadline_ms")?.int64, found > 0 else {
            throw .notAGateway("a consumer has ack_deadline_ms")
        }
        leaseMs = found
        return found
    }

    private func extend(_ token: String, to milliseconds: Int64, _ what: String) {
        do throws(ClientError) {
            let request = Self.call(path + "/extensions", token) { writer in
                writer.key("deadline_ms")
                writer.integer(milliseconds)
            }
            let answer = try transport.send(request, stop: nil)
            if !answer.isSuccess { tell("\(what): its lease is not extended: \(answer.problem)") }
        } catch {
            tell("\(what): its lease is not extended: \(error)")
        }
    }

    private func acknowledge(_ token: String, _ count: Int) {
        do throws(ClientError) {
            _ = try calls.send(Self.call(path + "/acks", token), until: clock.now() + Self.acknowledgePatience)
        } catch {
            summary.lost += count
            tell("not acknowledged, comes again: \(error)")
        }
    }

    private func giveBack(_ token: String, delay: Duration?, _ reason: String) {
        let request = Self.call(path + "/nacks", token) { writer in
            if let delay {
                writer.key("delay_ms")
                writer.integer(delay.wholeMilliseconds)
            }
            writer.key("reason")
            writer.string(String(reason.prefix(200)))
        }
        do throws(ClientError) {
            _ = try calls.send(request, until: clock.now() + Self.acknowledgePatience)
        } catch {
            tell("not given back, comes again after its deadline: \(error)")
        }
    }

    private static func call(
        _ target: String, _ token: String, _ more: (inout JSONWriter) -> Void = { _ in }
    ) -> Request {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("ack")
            writer.string(token)
            more(&writer)
        }
        return .json("POST", target, writer.bytes)
    }
}
