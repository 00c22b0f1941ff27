@testable import Client
import Glibc
import Primitives
import TestSupport
import Testing

@Suite struct ProduceRunTests {
    private let directory: TemporaryDirectory
    private let gateway: FakeGateway

    init() throws {
        directory = try TemporaryDirectory()
        gateway = FakeGateway()
    }

    private func options(_ change: (inout ProduceOptions) -> Void = { _ in }) -> ProduceOptions {
        var options = ProduceOptions(topic: "orders")
        options.batchRecords = 3
        change(&options)
        return options
    }

    /// One process: a run over the input. - Returns: what it did, and how it failed.
    private func run(
        _ options: ProduceOptions, _ input: [UInt8], stop: StopFlag = StopFlag()
    ) throws -> (summary: ProduceRun.Summary, error: ClientError?) {
        let file = try InputFile(input, in: directory)
        gateway.died = { stop.set() }
        let run: ProduceRun
        do throws(ClientError) {
            run = try ProduceRun(
                options, over: gateway, input: file.descriptor, receipts: nil, stop: stop, tell: { _ in })
        } catch {
            return (.init(), error)
        }
        do throws(ClientError) {
            try run.run()
            return (run.summary, nil)
        } catch {
            return (run.summary, error)
        }
    }

    private func run(_ options: ProduceOptions, _ input: String) throws -> (
        summary: ProduceRun.Summary, error: ClientError?
    ) { try run(options, Array(input.utf8)) }

    private func lines(_ range: ClosedRange<Int>) -> [String] { range.map { "line-\($0)" } }

    @Test func lines_AreStoredOnceInOrder_WhenRequestsAndAnswersAreLost() throws {
        var generator = SeededGenerator(printingFor: "produce")
        var left = 12
        gateway.faults = {
            guard left > 0, Bool.random(using: &generator) else { return nil }
            left -= 1
            return [FakeGateway.Fault.before, .after, .unavailable, .inFlight].randomElement(using: &generator)
        }
        let (summary, error) = try run(options(), lines(1...25).joined(separator: "\n"))
        #expect(error == nil && summary.isComplete)
        #expect(gateway.stored == lines(1...25))
        #expect(summary.records == 25 && summary.requests == 9 && summary.repetitions == 12 - left)
        #expect(Set(gateway.names).count == 9)
    }

    /// Killed after each request, stored or not, answered or not; then started again.
    @Test(arguments: [true, false])
    func lines_AreStoredOnceInOrder_WhenTheProcessDiesAnywhere(isNumbered: Bool) throws {
        let input = lines(1...10).joined(separator: "\n")
        let deaths = [(0, false), (1, true), (1, false), (2, true), (2, false), (3, true), (3, false), (4, true)]
        for (dead, losesAnswer) in deaths {
            let gateway = FakeGateway()
            let suite = Self(directory, gateway)
            let options = options {
                $0.progress = "\(directory.path)/progress-\(isNumbered)-\(dead)-\(losesAnswer)"
                $0.producer = isNumbered ? "till-7" : nil
            }
            gateway.deadAfter = (dead, losesAnswer)
            let first = try suite.run(options, input)
            #expect(first.error != nil, "it was not killed")
            gateway.deadAfter = nil
            let second = try suite.run(options, input)
            #expect(second.error == nil && second.summary.isComplete)
            #expect(gateway.stored == lines(1...10), "dead after \(dead), loses the answer: \(losesAnswer)")
            // A finished file is for the next input.
            #expect(try suite.run(options, "next").error == nil)
            #expect(gateway.stored == lines(1...10) + ["next"])
        }
    }

    private init(_ directory: TemporaryDirectory, _ gateway: FakeGateway) {
        self.directory = directory
        self.gateway = gateway
    }

    @Test func anotherInput_IsRefused_WhenARequestIsInDoubt() throws {
        let options = options { $0.progress = directory.path + "/progress" }
        gateway.deadAfter = (1, true)
        _ = try run(options, "aaa\nbbb\nccc\nddd")
        gateway.deadAfter = nil
        let before = gateway.stored
        // Of other lengths: noticed here. Of the same: by the gateway, which compares what has one name.
        for other in ["aaaa\nbbb\nccc\nddd", "a", "aab\nbbb\nccc\nddd"] {
            #expect(try run(options, other).error != nil, "\(other)")
            #expect(gateway.stored == before)
        }
    }

    @Test func progress_IsForOneTopicAndForm() throws {
        let path = directory.path + "/progress"
        #expect(try run(options { $0.progress = path }, "a").error == nil)
        #expect(try run(options { ($0.progress, $0.topic) = (path, "others") }, "a").error != nil)
        #expect(try run(options { ($0.progress, $0.form) = (path, .ndjson) }, "1").error != nil)
        #expect(try run(options { ($0.progress, $0.producer) = (path, "p") }, "a").error != nil)
        #expect(gateway.stored == ["a"])
        let file = try SystemFileSystem().open(path, .createOrTruncate)
        try file.writeAll(Array("{}".utf8), at: 0)
        file.close()
        #expect(try run(options { $0.progress = path }, "a").error != nil)
    }

    @Test func refusal_NamesTheLine_AndLeavesTheRestToANextRun() throws {
        let options = options {
            ($0.progress, $0.producer) = (directory.path + "/progress", "till-7")
            $0.form = .ndjson
        }
        gateway.refuses = ["5"]
        let (summary, error) = try run(
            options, "{\"value\":1}\n\n{\"value\":2}\n{\"value\":3}\n\n{\"value\":4}\n{\"value\":5}\n")
        guard case .refused(let problem) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(problem.code == "invalid_records")
        #expect(gateway.stored == ["1", "2", "3"] && summary.records == 3)
        #expect(summary.failed == .init(line: 7, reason: "bad", lines: 5...7, isInDoubt: false))
        gateway.refuses = []
        // The rest may be corrected: nothing of it is stored, and its number is free.
        let corrected = "{\"value\":1}\n\n{\"value\":2}\n{\"value\":3}\n\n{\"value\":44}\n"
        #expect(try run(options, corrected).error == nil)
        #expect(gateway.stored == ["1", "2", "3", "44"])
        #expect(gateway.names.last == "till-7/2")
    }

    @Test func producer_IsRefused_WhenItsNumbersWereUsedBefore() throws {
        func options(_ file: String) -> ProduceOptions {
            self.options { ($0.producer, $0.progress) = ("till-7", "\(directory.path)/\(file)") }
        }
        #expect(try run(options("a"), "same").error == nil)
        // The same content: the gateway answers as to a repetition, and nothing is stored.
        guard case .input = try run(options("b"), "same").error else {
            Issue.record("a replay was taken for an acceptance")
            return
        }
        guard case .refused = try run(options("c"), "other").error else {
            Issue.record("a number was used twice")
            return
        }
        #expect(gateway.stored == ["same"])
        #expect(throws: ClientError.self) {
            try ProduceRun(
                self.options { $0.producer = "p" }, over: gateway, input: 0, receipts: nil, stop: StopFlag()
            ) { _ in }
        }
    }

    /// What was left of the input was nothing: the next one begins at its beginning all the same.
    @Test func nextInput_IsSentWhole_WhenTheLastRunHadNothingLeftToSend() throws {
        let options = options { ($0.progress, $0.form) = (directory.path + "/progress", .ndjson) }
        gateway.refuses = ["4"]
        let first = "{\"value\":1}\n{\"value\":2}\n{\"value\":3}\n"
        #expect(try run(options, first + "{\"value\":4}\n").error != nil)
        #expect(try run(options, first).summary.isComplete)
        #expect(try run(options, "{\"value\":5}\n{\"value\":6}\n{\"value\":7}\n{\"value\":8}\n").error == nil)
        #expect(gateway.stored == ["1", "2", "3", "5", "6", "7", "8"])
    }

    @Test func anotherInput_IsRefused_WhenAPartOfTheLastIsAccepted() throws {
        let options = options { ($0.progress, $0.form) = (directory.path + "/progress", .ndjson) }
        gateway.refuses = ["4"]
        let rest = "{\"value\":2}\n{\"value\":3}\n{\"value\":4}\n"
        #expect(try run(options, "{\"value\":1}\n" + rest).error != nil)
        gateway.refuses = []
        // As long as the last one.
        guard case .input = try run(options, "{\"value\":0}\n" + rest).error else {
            Issue.record("its beginning was passed over")
            return
        }
        #expect(gateway.stored == ["1", "2", "3"])
        #expect(try run(options, "{\"value\":1}\n" + rest).error == nil)
        #expect(gateway.stored == ["1", "2", "3", "4"])
    }

    @Test func progress_IsOneProcesss() throws {
        let options = options { $0.progress = directory.path + "/progress" }
        let first = try ProduceRun(
            options, over: gateway, input: 0, receipts: nil, stop: StopFlag(), tell: { _ in })
        guard case .input(let text) = try run(options, "a").error else {
            Issue.record("two runs have one progress file")
            return
        }
        #expect(text.contains("in use") && gateway.stored.isEmpty)
        withExtendedLifetime(first) {}
    }

    /// The gateway is what knows of the first try.
    @Test func refusalOfAProxy_LeavesInDoubt_WhatWasTriedBefore() throws {
        let options = options { $0.progress = directory.path + "/progress" }
        var faults: [FakeGateway.Fault] = [.after, .proxy]
        gateway.faults = { faults.isEmpty ? nil : faults.removeFirst() }
        let (summary, error) = try run(options, "a\nb")
        guard case .refused = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(summary.failed == .init(line: nil, reason: nil, lines: 1...2, isInDoubt: true))
        #expect(try run(options, "a\nb").error == nil)
        #expect(gateway.stored == ["a", "b"])
        // Without a try before there is no doubt.
        faults = [.proxy]
        #expect(try run(options, "c").summary.failed?.isInDoubt == false)
        #expect(try ProduceProgress.load(directory.path + "/progress")?.to == nil)
    }

    @Test func requestThatIsTooLarge_NamesItsLine_OrWhatToDo() throws {
        let large = #"{"code":"request_too_large","status":413,"title":"t","detail":"d"}"#
        for (batch, line, reason) in [(1, 1, nil), (2, nil, "use a smaller --batch")] as [(Int, Int?, String?)] {
            let server = try FakeServer([.answer(413, body: large)])
            let connection = try Connection(try Endpoint("http://127.0.0.1:\(server.port)"))
            let file = try InputFile("1\n2", in: directory)
            let run = try ProduceRun(
                options { $0.batchRecords = batch }, over: connection, input: file.descriptor, receipts: nil,
                stop: StopFlag(), tell: { _ in })
            #expect(throws: ClientError.self) { try run.run() }
            #expect(run.summary.failed == .init(line: line, reason: reason, lines: 1...batch, isInDoubt: false))
        }
    }

    @Test func repetition_IsTold_WhenAnotherGatewayTookIt() throws {
        func told(after fault: FakeGateway.Fault?) throws -> [String] {
            var texts: [String] = []
            var requests = 0
            let gateway = FakeGateway()
            gateway.faults = {
                requests += 1
                if requests == 2 { gateway.identity = "two" }
                return requests == 2 ? fault : nil
            }
            let file = try InputFile("1\n2", in: directory)
            let run = try ProduceRun(
                options { $0.batchRecords = 1 }, over: gateway, input: file.descriptor, receipts: nil,
                stop: StopFlag(), tell: { texts.append($0) })
            try run.run()
            return texts.filter { $0.contains("gateway two, those before by one") }
        }
        #expect(try told(after: .before).count == 1)
        // Sent once, it is there once.
        #expect(try told(after: nil) == [])
    }

    @Test func doubt_IsNotRepeated_WhenTheNameMayBeForgotten() throws {
        let options = options { ($0.progress, $0.giveUpAfter) = (directory.path + "/progress", .seconds(60)) }
        gateway.deadAfter = (1, true)
        _ = try run(options, "a\nb")
        gateway.deadAfter = nil
        let path = try #require(options.progress)
        var progress = try #require(try ProduceProgress.load(path))
        #expect(progress.to == 3)
        progress.sentMs -= 61_000
        try progress.save(path)
        guard case .gaveUp = try run(options, "a\nb").error else {
            Issue.record("it was repeated")
            return
        }
        #expect(gateway.stored == ["a", "b"])
    }

    @Test func records_AreWhatTheLinesAre() throws {
        #expect(try run(options(), Array("a\n\n\"é\\\r\n".utf8) + [0xFF, 0x00, 0x0A]).error == nil)
        #expect(gateway.stored == ["a", "", "\"é\\\r", "base64:/wA="])
        #expect(try run(options { $0.keySeparator = "::" }, "k::v::w\n::x").error == nil)
        #expect(gateway.stored.suffix(2) == ["k=v::w", "=x"])
        #expect(try run(options { $0.key = "k" }, "v").error == nil)
        #expect(gateway.stored.last == "k=v")
        let before = gateway.stored
        guard case .input(let text) = try run(options { $0.keySeparator = "::" }, "a::b\nc:d").error else {
            Issue.record("a line without a key was sent")
            return
        }
        #expect(text.contains("line 2") && gateway.stored == before)
        #expect(try run(options { $0.form = .record }, "all\nof it\n").error == nil)
        #expect(gateway.stored.last == "all\nof it\n")
        let empty = try run(options(), "")
        #expect(empty.error == nil && empty.summary.isComplete && empty.summary.requests == 0)
    }

    /// Somebody still writes into the pipe: what is no whole line yet is no record.
    @Test func stop_LeavesAnUnfinishedLineOut() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        #expect(write(ends[1], "a\nb", 3) == 3)
        let stop = StopFlag()
        gateway.faults = {
            stop.set()
            return nil
        }
        let options = options { $0.progress = directory.path + "/progress" }
        do {
            let run = try ProduceRun(
                options, over: gateway, input: ends[0], receipts: nil, stop: stop, tell: { _ in })
            try run.run()
            #expect(gateway.stored == ["a"] && !run.summary.isComplete)
        }
        // Nothing is in doubt, and the rest is for the next run.
        let progress = try #require(try ProduceProgress.load(directory.path + "/progress"))
        #expect(progress.to == nil && progress.from == 2 && progress.number == 2)
        gateway.faults = { nil }
        #expect(try self.run(options, "a\nb\nc").error == nil)
        #expect(gateway.stored == ["a", "b", "c"])
    }

    @Test func outcomes_AreCounted_AndAnAnswerThatIsNoGatewaysIsNone() throws {
        let dead =
            #"{"code":"records_dead_lettered","durability":"buffered","receipts":["a","b"],"outcomes":"#
            + #"[{"state":"dead"},{"state":"delivered"}]}"#
        let server = try FakeServer([.answer(422, body: dead), .answer(200, body: "<html>")])
        let connection = try Connection(try Endpoint("http://127.0.0.1:\(server.port)"))
        let file = try InputFile("1\n2\n3", in: directory)
        let options = options {
            ($0.batchRecords, $0.wait) = (2, .milliseconds(2500))
            $0.progress = directory.path + "/progress"
        }
        let run = try ProduceRun(
            options, over: connection, input: file.descriptor, receipts: nil, stop: StopFlag(), tell: { _ in })
        // A proxy's page is no acceptance, and no refusal: the request stays in doubt.
        #expect(throws: ClientError.self) { try run.run() }
        #expect(run.summary.dead == 1 && run.summary.delivered == 1 && run.summary.records == 2)
        #expect(run.summary.isBuffered && !run.summary.isComplete)
        #expect(server.seen[0].head.contains("Prefer: wait=2.5\r\n"))
        let progress = try #require(try ProduceProgress.load(directory.path + "/progress"))
        #expect(progress.from == 4 && progress.to == 5)
    }
}
