import JSON
public import Primitives

/// `postrider produce`: sends its input as records, each request under a name and again and again until the gateway
/// has answered it. So nothing is lost and nothing is there twice, whatever happens to the gateway or the network; with
/// a progress file also when this process dies. One request at a time: records keep their order.
public final class ProduceRun {
    /// What was done. Counts are of this run.
    public struct Summary: Sendable, Equatable {
        public var records = 0
        /// Of the input, from its beginning on.
        public var lines = 0
        public var requests = 0
        public var repetitions = 0
        /// Known with `wait` only.
        public var delivered = 0
        public var dead = 0
        /// The gateway syncs later (`spool.sync=interval`).
        public var isBuffered = false
        /// The end of the input was reached, and all of it is accepted.
        public var isComplete = false
        public var failed: Failed?
    }

    public private(set) var summary = Summary()

    private let options: ProduceOptions
    private let repeater: Repeater
    private let stop: StopFlag
    private let tell: (String) -> Void
    private let clock: any TimeSource
    private let receipts: OutputStream?
    private var input: InputLines
    private var progress: ProduceProgress
    /// Of the progress file.
    private let lock: (any File)?

    /// - Parameters:
    ///   - input: a file descriptor.
    ///   - receipts: gets a line for each record, with its receipt.
    ///   - tell: told what goes wrong on the way.
    /// - Throws: the progress file is not for this, or the options contradict each other.
    public init(
        _ options: ProduceOptions, over transport: any Transport, input: Int32, receipts: OutputStream?,
        stop: StopFlag, clock: any TimeSource = SystemClock(), tell: @escaping (String) -> Void
    ) throws(ClientError) {
        if options.producer != nil, options.progress == nil {
            throw .input("a producer needs a progress file: without one nobody knows its next number")
        }
        self.options = options
        self.receipts = receipts
        self.stop = stop
        self.tell = tell
        self.clock = clock
        self.input = InputLines(input, stop: stop)
        repeater = Repeater(transport, stop: stop, clock: clock, tell: tell)
        lock = try options.progress.map { (path) throws(ClientError) in try ProduceProgress.lock(path) }
        let run = Self.randomName()
        var progress = ProduceProgress(
            topic: options.topic, form: options.formName, producer: options.producer, run: run)
        if let path = options.progress, let found = try ProduceProgress.load(path) {
            guard
                (found.topic, found.form, found.producer ?? "")
                    == (progress.topic, progress.form, progress.producer ?? "")
            else {
                throw .input(
                    "\(path) is for topic \(found.topic), form \(found.form), "
                        + (found.producer.map { "producer \($0)" } ?? "no producer"))
            }
            progress = found
        }
        self.progress = progress
    }

    /// 128 random bits.
    private static func randomName() -> String {
        var generator = SystemRandomNumberGenerator()
        return [generator.next(), generator.next()].map { (part: UInt64) in
            let digits = String(part, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// Returns at the end of the input, or when it is stopped between two requests (`isComplete`).
    ///
    /// - Throws: `refused`: of that request nothing is accepted, of those before everything; `gaveUp`, `stopped`:
    ///   nobody knows about that request; `input`, `io`.
    public func run() throws(ClientError) {
        try input.skip(bytes: progress.from, lines: progress.lines)
        guard input.digest == progress.digest else {
            throw .input(
                "this is not the input of the last run, of which the first \(progress.from) bytes are accepted: "
                    + "they are others here")
        }
        summary.lines = progress.lines
        do throws(ClientError) {
            var isFirst = true
            while let batch = try nextBatch() {
                try send(batch, isFirst: isFirst)
                isFirst = false
            }
        } catch {
            if let failed = summary.failed, !failed.isInDoubt { progress.to = nil }
            // Else the file still says what is in doubt.
            if progress.to == nil, summary.requests > 0 || summary.failed != nil { try save() }
            throw error
        }
        if summary.isComplete {
            progress.from = 0
            progress.lines = 0
            progress.records = 0
            progress.digest = InputDigest()
        }
        // Also where nothing was left to send: the next input begins at its beginning.
        if summary.isComplete || summary.requests > 0 { try save() }
    }

    private func save() throws(ClientError) {
        if let path = options.progress { try progress.save(path) }
    }

    /// nil at the end.
    private func nextBatch() throws(ClientError) -> ProduceBatch? {
        var batch = ProduceBatch(options, from: progress.from)
        if options.form == .record {
            // One request, which may be empty.
            guard summary.requests == 0 else {
                summary.isComplete = true
                return nil
            }
            batch.set(record: try input.rest())
            if let to = progress.to, to != batch.end { throw otherInput }
            return batch
        }
        while progress.to.map({ batch.end < $0 }) ?? !batch.isFull {
            let isPending = progress.to != nil
            if !isPending, stop.isSet { break }
            guard let line = try input.next(waits: isPending || batch.recordLines.isEmpty) else {
                if isPending { throw stop.isSet ? .stopped : otherInput }
                break
            }
            try batch.add(line)
            if let to = progress.to, batch.end > to { throw otherInput }
        }
        if !batch.recordLines.isEmpty { return batch }
        summary.isComplete = !stop.isSet
        return nil
    }

    private var otherInput: ClientError {
        .input("this is not the input of the last run: its last request ended with a line at another place")
    }

    private func send(_ batch: ProduceBatch, isFirst: Bool) throws(ClientError) {
        let isResumed = progress.to != nil
        if !isResumed {
            progress.to = batch.end
            progress.sentMs = clock.wallMilliseconds()
            try save()
        }
        let name: [(name: String, value: String)] =
            options.producer.map {
                [("Postrider-Producer", $0), ("Postrider-Sequence", "\(progress.number)")]
            } ?? [("Idempotency-Key", "\"\(progress.run)-\(progress.number)\"")]
        let age = Duration.milliseconds(max(0, clock.wallMilliseconds() - progress.sentMs))
        guard age < options.giveUp else {
            throw .gaveUp("the last request was sent first \(age.inSeconds) s ago: its name may be forgotten")
        }
        let deadline = clock.now() + (options.giveUp - age)
        defer { summary.repetitions = repeater.repetitions }
        let answer: Answer
        let earlier = repeater.repetitions
        do throws(ClientError) {
            answer = try repeater.send(batch.request(name: name), until: deadline)
        } catch {
            guard case .refused(let problem) = error else { throw error }
            // A proxy knows nothing of an earlier try.
            let isInDoubt = problem.code.isEmpty && (isResumed || repeater.repetitions > earlier)
            throw explained(problem, batch, isInDoubt: isInDoubt || Self.doubts.contains(problem.code))
        }
        if isFirst, !isResumed, repeater.repetitions == 0, answer.header("idempotent-replayed") == "true" {
            // On the process's first connection libcurl repeats nothing by itself.
            progress.to = nil
            try save()
            throw .input(
                "number \(progress.number) was used before by another run, and this input was not accepted now: "
                    + "give this one a producer of its own, or that one's progress file")
        }
        try take(answer, batch)
        let gateway = answer.header("postrider-gateway")
        let isRepeated = isResumed || repeater.repetitions > earlier
        if isRepeated, let before = progress.gateway, let gateway, gateway != before {
            tell(
                "the repeated request of lines \(progress.lines + 1) to \(progress.lines + batch.lines) was accepted "
                    + "by gateway \(plain(gateway)), those before by \(plain(before)): if that one had stored it, it "
                    + "is there twice")
        }
        progress.gateway = gateway
        progress.from = batch.end
        progress.lines += batch.lines
        progress.records += batch.recordLines.count
        progress.digest = input.digest
        progress.number += 1
        progress.to = nil
        summary.lines = progress.lines
    }

    private func take(_ answer: Answer, _ batch: ProduceBatch) throws(ClientError) {
        let root = try answer.json()
        let names = root.kind == .object ? root.member("receipts")?.elements.map(Array.init) ?? [] : []
        guard names.count == batch.recordLines.count else {
            throw .notAGateway("\(names.count) receipts for \(batch.recordLines.count) records")
        }
        summary.requests += 1
        summary.records += names.count
        if root.member("durability")?.string == "buffered" { summary.isBuffered = true }
        if let outcomes = root.member("outcomes")?.elements {
            for outcome in outcomes {
                switch outcome.member("state")?.string {
                case "delivered": summary.delivered += 1
                case "dead": summary.dead += 1
                default: break
                }
            }
        }
        if let receipts {
            try receipts.write(names.flatMap { Array(($0.string ?? "").utf8) + [UInt8(ascii: "\n")] })
        }
    }

    /// With the line that the gateway means, and what to do about numbers.
    private func explained(_ problem: Problem, _ batch: ProduceBatch, isInDoubt: Bool) -> ClientError {
        let lines = progress.lines + 1...progress.lines + max(1, batch.lines)
        for fault in problem.faults {
            guard let record = fault.record, batch.recordLines.indices.contains(record) else { continue }
            // The gateway counts the lines of the request.
            let place = " (line \(record + 1))"
            let reason = fault.reason.hasSuffix(place) ? String(fault.reason.dropLast(place.count)) : fault.reason
            summary.failed = .init(
                line: batch.recordLines[record], reason: plain(reason), lines: lines, isInDoubt: isInDoubt)
            return .refused(problem)
        }
        let advice = Self.advice[problem.code]
        guard batch.recordLines.count == 1, options.form != .record else {
            summary.failed = .init(line: nil, reason: advice, lines: lines, isInDoubt: isInDoubt)
            return .refused(problem)
        }
        // No batch is smaller.
        summary.failed = .init(
            line: batch.recordLines[0], reason: advice == Self.smaller ? nil : advice, lines: lines,
            isInDoubt: isInDoubt)
        return .refused(problem)
    }

    /// Refusals that are about the request's name: what became of an earlier one of that name stays open.
    private static let doubts: Set<String> = [
        "sequence_gap", "sequence_reused", "sequence_too_old", "idempotency_key_reused",
    ]

    private static let advice = [
        "sequence_gap":
            "the gateway does not know the requests before: it forgot the producer, or is another gateway; what it "
            + "gave receipts for is accepted. Send the rest under another producer, with a new progress file",
        "sequence_reused":
            "the input is not that of the last run, or another run uses this producer",
        "sequence_too_old": "another run uses this producer",
        "idempotency_key_reused": "the input is not that of the last run",
        "too_many_records": smaller,
        "request_too_large": smaller,
    ]

    private static let smaller = "use a smaller --batch"
}

extension ProduceRun.Summary {
    /// What was refused.
    public struct Failed: Sendable, Equatable {
        /// That the gateway named.
        public let line: Int?
        public let reason: String?
        /// Of the request: none of them is accepted.
        public let lines: ClosedRange<Int>
        /// An earlier try may be accepted, with all of its lines.
        public let isInDoubt: Bool
    }
}
