@testable import Client
import Glibc
import JSON
import Primitives
import TestSupport
import Testing

/// Answers polls with what it is given, and keeps what else it is asked for.
private final class FakeConsumer: Transport {
    var polls: [[(offset: Int, value: String)]]
    var ackDeadlineMs = 30_000
    private(set) var calls: [(target: String, body: JSONValue)] = []
    private(set) var polled: [String] = []
    /// Told of each call.
    var sees: (String) -> Void = { _ in }

    init(_ polls: [[(offset: Int, value: String)]]) { self.polls = polls }

    func send(_ request: Request, stop: StopFlag?) throws(ClientError) -> Answer {
        let target = String(request.target.split(separator: "?")[0])
        sees(target)
        if request.method == "GET" {
            return Answer(status: 200, body: Array(#"{"ack_deadline_ms":\#(ackDeadlineMs)}"#.utf8))
        }
        if target.hasSuffix("/poll") {
            polled.append(request.target)
            return Answer(status: 200, body: Array(next(isText: !request.target.contains("values=base64")).utf8))
        }
        calls.append(
            (String(target.split(separator: "/").last ?? ""), try Answer(status: 200, body: request.body ?? []).json()))
        return Answer(status: 200, body: Array(#"{"committed":[]}"#.utf8))
    }

    private func next(isText: Bool) -> String {
        guard !polls.isEmpty else { return #"{"ack":null,"records":[]}"# }
        let records = polls.removeFirst().map { offset, value in
            let written =
                isText
                ? #""value":\#(value)"#
                : #""value_base64":"\#(String(decoding: Base64.encode(Array(value.utf8)[...]), as: UTF8.self))""#
            return
                #"{"topic":"orders","partition":0,"offset":\#(offset),"timestamp":"t","key":"k\#(offset)",\#(written),"#
                + #""headers":[{"name":"a","value":"b"}],"delivery":{"id":"d\#(offset)","attempt":2,"deadline":"t"}}"#
        }
        return #"{"ack":"token-\#(polled.count)","records":[\#(records.joined(separator: ","))]}"#
    }
}

@Suite struct ConsumeRunTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private var path: String { directory.path + "/output" }

    private func output() throws -> String {
        let file = try SystemFileSystem().open(path, .readOnly)
        defer { file.close() }
        return String(decoding: try file.read(Int(try file.size()), at: 0), as: UTF8.self)
    }

    /// - Parameter descriptor: of the output; nil: the file.
    private func run(
        _ consumer: FakeConsumer, to descriptor: Int32? = nil, stop: StopFlag = StopFlag(),
        _ change: (inout ConsumeOptions) -> Void = { _ in }
    ) -> (summary: ConsumeRun.Summary, error: ClientError?) {
        var options = ConsumeOptions(consumer: "shop", client: "me")
        options.wait = .zero
        change(&options)
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(file) }
        let run = ConsumeRun(
            options, over: consumer, output: OutputStream(descriptor ?? file), stop: stop, tell: { _ in })
        do throws(ClientError) {
            try run.run()
            return (run.summary, nil)
        } catch {
            return (run.summary, error)
        }
    }

    @Test func records_AreAcknowledged_OnlyWhenTheyWereWritten() throws {
        let consumer = FakeConsumer([[(0, "{\"a\":\n1}"), (1, "2")], [(2, "3")]])
        var writtenThen: [String] = []
        consumer.sees = { target in
            // try?: what cannot be read is missed below.
            if target.hasSuffix("/acks") { writtenThen.append((try? output()) ?? "") }
        }
        let (summary, error) = run(consumer) { $0.topics = ["orders", "x.y"] }
        #expect(error == nil && summary.records == 3)
        let lines = try output().split(separator: "\n").map(String.init)
        #expect(lines.count == 3 && lines[0].contains(#""value":{"a": 1},"#) && lines[2].contains(#""offset":2"#))
        #expect(writtenThen.map { $0.split(separator: "\n").count } == [2, 3])
        #expect(consumer.calls.map(\.target) == ["acks", "acks"])
        #expect(consumer.calls.map { $0.body.cell("ack") } == ["token-1", "token-2"])
        #expect(consumer.polled[0].hasSuffix("?client=me&max=100&wait=0.0&topic=orders&topic=x.y"))
    }

    @Test func values_AreWrittenAsTheyAre() throws {
        #expect(run(FakeConsumer([[(0, "a b"), (1, "")]])) { $0.form = .value }.error == nil)
        #expect(run(FakeConsumer([[(0, "c\n\u{0}"), (1, "d")]])) { $0.form = .raw }.error == nil)
        #expect(try output() == "a b\n\nc\n\u{0}d")
    }

    @Test func records_AreGivenBack_WhenTheOutputDoesNotTakeThem() throws {
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        close(ends[0])
        let full = open("/dev/full", O_WRONLY | O_CLOEXEC)
        for descriptor in [ends[1], full] {
            let consumer = FakeConsumer([[(0, "1")], [(1, "2")]])
            let (summary, error) = run(consumer, to: descriptor)
            guard case .io = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(summary.records == 0 && consumer.polled.count == 1)
            #expect(consumer.calls.map(\.target) == ["nacks"])
            #expect(consumer.calls[0].body.cell("ack") == "token-1" && consumer.calls[0].body.cell("delay_ms") == "0")
            close(descriptor)
        }
    }

    @Test func max_IsNotPassed() throws {
        let consumer = FakeConsumer([[(0, "1"), (1, "2")], [(2, "3")], [(3, "4")]])
        #expect(run(consumer) { ($0.max, $0.follows) = (3, true) }.summary.records == 3)
        #expect(
            consumer.polled.map { $0.contains("max=3&") } == [true, false] && consumer.polled[1].contains("max=1&"))
    }

    @Test func command_HasTheRecord_AndItsExitCodeDecides() throws {
        let consumer = FakeConsumer([[(5, "good \u{0} value")], [(6, "bad")], [(7, "last")]])
        let script = """
            { echo "$POSTRIDER_TOPIC $POSTRIDER_PARTITION $POSTRIDER_OFFSET $POSTRIDER_KEY $POSTRIDER_ATTEMPT"
            echo "$POSTRIDER_HEADERS"; cat; } > '\(directory.path)/'$POSTRIDER_OFFSET
            [ $POSTRIDER_OFFSET != 6 ] || exit 7
            [ $POSTRIDER_OFFSET != 7 ] || kill -9 $$
            """
        let (summary, error) = run(consumer) { ($0.command, $0.retryDelay) = (script, .seconds(2)) }
        #expect(error == nil && summary == .init(records: 1, failed: 2, lost: 0))
        let seen = try SystemFileSystem().open(directory.path + "/5", .readOnly)
        let text = String(decoding: try seen.read(Int(try seen.size()), at: 0), as: UTF8.self)
        #expect(text == "orders 0 5 k5 2\n[{\"name\":\"a\",\"value\":\"b\"}]\ngood \u{0} value")
        #expect(consumer.calls.map(\.target) == ["acks", "nacks", "nacks"])
        #expect(consumer.calls[1].body.cell("delay_ms") == "2000")
        #expect(
            consumer.calls.dropFirst().map { $0.body.cell("reason") } == [
                "the command ended with exit code 7", "the command ended with signal 9",
            ])
        // One at a time, so that no lease runs out behind another.
        #expect(consumer.polled.allSatisfy { $0.contains("max=1&") })
    }

    /// A typo must not make dead letters of everything.
    @Test(arguments: ["nonexistent-command-of-a-test", "exec /etc/passwd"])
    func consume_Ends_WhenTheCommandCannotBeRun(command: String) throws {
        let consumer = FakeConsumer([[(0, "1")], [(1, "2")]])
        let (summary, error) = run(consumer) { $0.command = command + " 2>&-" }
        guard case .io = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(summary == .init() && consumer.polled.count == 1)
        #expect(consumer.calls.map(\.target) == ["nacks"])
    }

    /// Who reads the pipe takes a while for what is more than it holds.
    @Test func lease_IsExtended_WhileTheReaderIsSlow() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let value = String(repeating: "x", count: 200_000)
        let consumer = FakeConsumer([[(0, value)]])
        consumer.ackDeadlineMs = 300
        let readable = ends[0]
        let read = Lock(0)
        let extensions = Monitor(0)
        let reader = WorkerThread(name: "reader") {
            _ = extensions.wait(until: patienceEnd()) { $0 >= 2 ? true : nil }
            var bytes = [UInt8](repeating: 0, count: 8192)
            while true {
                let count = Glibc.read(readable, &bytes, bytes.count)
                if count <= 0 { return }
                read.withLock { $0 += count }
            }
        }
        consumer.sees = { target in
            if target.hasSuffix("/extensions") { extensions.withLock { $0 += 1 } }
            extensions.broadcast()
        }
        let (summary, error) = run(consumer, to: ends[1]) { $0.form = .value }
        close(ends[1])
        reader.join()
        close(readable)
        #expect(error == nil && summary.records == 1 && read.withLock { $0 } == 200_001)
        #expect(consumer.calls.prefix(2).map(\.target) == ["extensions", "extensions"])
        #expect(consumer.calls.last?.target == "acks")
    }

    @Test func cutLine_IsEnded_BeforeTheNextIsWritten() throws {
        for (before, after) in [("", ""), ("{\"a\":1}\n", ""), ("{\"a\":1}\n{\"b", "\n")] {
            let file = try SystemFileSystem().open(path, .createOrTruncate)
            try file.writeAll(Array(before.utf8), at: 0)
            file.close()
            #expect(run(FakeConsumer([[(0, "v")]])) { $0.form = .value }.error == nil)
            #expect(try output() == before + after + "v\n")
        }
        // Raw values have no lines.
        #expect(run(FakeConsumer([[(0, "w")]])) { $0.form = .raw }.error == nil)
        #expect(run(FakeConsumer([[(0, "x")]])) { $0.form = .raw }.error == nil)
        #expect(try output().hasSuffix("v\nwx"))
    }

    @Test func lease_IsExtended_WhileTheCommandRuns() throws {
        let consumer = FakeConsumer([[(0, "1")]])
        consumer.ackDeadlineMs = 300
        // The command ends once it was seen to be extended twice.
        var extensions = 0
        consumer.sees = { target in
            if target.hasSuffix("/extensions") { extensions += 1 }
            if extensions == 2 { close(open(directory.path + "/go", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)) }
        }
        let script = "i=0; until [ -e '\(directory.path)/go' ] || [ $i = 3000 ]; do sleep 0.01; i=$((i + 1)); done"
        #expect(run(consumer) { $0.command = script }.summary.records == 1)
        #expect(consumer.calls.map(\.target).filter { $0 == "extensions" }.count >= 2)
        #expect(consumer.calls[0].body.cell("deadline_ms") == "300" && consumer.calls[0].body.cell("ack") == "token-1")
        #expect(consumer.calls.last?.target == "acks")
    }

    @Test func stop_LetsTheCommandEnd_AndAcknowledgesIt() throws {
        let consumer = FakeConsumer([[(0, "1")], [(1, "2")]])
        let stop = StopFlag()
        consumer.sees = { if !$0.hasSuffix("/poll") { stop.set() } }
        let (summary, error) = run(consumer, stop: stop) { ($0.command, $0.follows) = ("true", true) }
        #expect(error == nil && summary.records == 1 && consumer.polled.count == 1)
        #expect(consumer.calls.map(\.target) == ["acks"])
    }
}
