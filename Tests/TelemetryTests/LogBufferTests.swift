import Logging
import Primitives
import Telemetry
import Testing
import TestSupport

/// A standard error that nobody reads, until somebody does.
private final class BlockedSink: LogSink {
    private let state = Monitor((open: false, blocked: false, lines: [String]()))

    func write(_ line: [UInt8]) {
        _ = state.wait { state -> Bool? in
            state.blocked = true
            return state.open ? true : nil
        }
        state.withLock { $0.lines.append(String(decoding: line, as: UTF8.self)) }
    }

    func open() {
        state.withLock { $0.open = true }
        state.broadcast()
    }

    var isBlocked: Bool { state.withLock { $0.blocked } }
    var lines: [String] { state.withLock { $0.lines } }
}

@Suite struct LogBufferTests {
    private func buffer(
        _ sink: BlockedSink, bytesMax: Int = 1 << 20, repeatsMax: Int = 10, period: Duration = testPatience
    ) -> LogBuffer {
        let options = LogOptions(format: .json, repeatsMax: repeatsMax, unlimited: ["requests"])
        return LogBuffer(
            to: sink, control: LogControl(options, isTerminal: false), bytesMax: bytesMax, repeatPeriod: period)
    }

    private func logger(_ label: String, _ buffer: LogBuffer) -> Logger {
        Logger(label: label) {
            StderrLogHandler(label: $0, control: buffer.control, sink: buffer, clock: ManualClock())
        }
    }

    @Test func write_NeverWaits_AndWhatFindsNoRoomIsCountedInTheLog() throws {
        let sink = BlockedSink()
        let buffer = buffer(sink, bytesMax: 1000)
        buffer.write(Array("first\n".utf8))
        try #require(eventually { sink.isBlocked })
        // Nobody takes anything from here on: 100 lines of 10 bytes fit.
        for number in 100..<1000 { buffer.write(Array("line  \(number)\n".utf8)) }
        #expect(!buffer.flush(within: .milliseconds(1)))
        #expect(sink.lines == [])
        sink.open()
        #expect(buffer.flush(within: testPatience))
        let kept = ["first\n"] + (100..<200).map { "line  \($0)\n" }
        #expect(Array(sink.lines.prefix(101)) == kept)
        #expect(sink.lines.count == 102)
        #expect(sink.lines.last?.contains(#""message":"log lines were dropped","lines":800}"#) == true)
        buffer.write(Array("again\n".utf8))
        #expect(buffer.flush(within: testPatience))
        #expect(sink.lines.last == "again\n")
    }

    @Test func lines_OfAThread_StayInOrder() {
        let sink = BlockedSink()
        sink.open()
        let buffer = buffer(sink, bytesMax: 1 << 20)
        let threads = (0..<4).map { thread in
            WorkerThread(name: "logs") { for number in 0..<500 { buffer.write(Array("\(thread) \(number)\n".utf8)) } }
        }
        for thread in threads { thread.join() }
        #expect(buffer.flush(within: testPatience))
        for thread in 0..<4 {
            let sent = (0..<500).map { "\(thread) \($0)\n" }
            let written = sink.lines.filter { $0.hasPrefix("\(thread) ") }
            #expect(written == sent)
        }
        #expect(sink.lines.count == 2000)
    }

    /// What stands behind `name` in a line.
    private func value(_ name: String, in line: String) -> Substring? {
        line.split(separator: "\"\(name)\":").dropFirst().first
    }

    @Test func repetitions_AreToldByOneLine_WhenTheirPeriodIsOver() throws {
        let sink = BlockedSink()
        sink.open()
        let buffer = buffer(sink, repeatsMax: 2, period: .milliseconds(200))
        let log = logger("a", buffer)
        for _ in 0..<50 { log.warning("again", metadata: ["code": "x"]) }
        log.warning("again", metadata: ["code": "y"])
        // How many fit into one period depends on the machine; that all are accounted for does not.
        func counted() -> Int {
            sink.lines.filter { $0.contains("\"code\":\"x\"") }.reduce(0) { sum, line in
                sum + (value("repeated", in: line).flatMap { Int($0.prefix { $0.isNumber }) } ?? 1)
            }
        }
        #expect(eventually { counted() == 50 })
        let summary = try #require(sink.lines.first { $0.contains("repeated") })
        #expect(
            value("level", in: summary)?.hasPrefix(
                "\"warning\",\"logger\":\"a\",\"message\":\"again\",\"code\":\"x\",") == true)
        #expect(sink.lines.filter { $0.contains("\"code\":\"y\"") }.count == 1)
    }

    @Test func repetitions_AreToldAtTheEnd_AlsoOfAPeriodThatIsNotOver() {
        let sink = BlockedSink()
        sink.open()
        let buffer = buffer(sink, repeatsMax: 1)
        let log = logger("a", buffer)
        for _ in 0..<5 { log.notice("again") }
        #expect(buffer.flush(within: testPatience))
        #expect(sink.lines.count == 2)
        #expect(sink.lines.last?.contains("\"message\":\"again\",\"repeated\":4}") == true)
    }

    @Test func criticalLinesAndUnlimitedLoggers_AreNeverCounted_AndErrorsLater() {
        let sink = BlockedSink()
        sink.open()
        let buffer = buffer(sink, repeatsMax: 1)
        for _ in 0..<30 {
            logger("a", buffer).critical("critical")
            logger("a", buffer).error("error")
            logger("requests", buffer).info("request")
        }
        #expect(buffer.flush(within: testPatience))
        func count(_ level: String) -> Int { sink.lines.filter { $0.contains("\"level\":\"\(level)\"") }.count }
        #expect(count("critical") == 30)
        #expect(count("info") == 30)
        #expect(count("error") == 11, "ten, and how many more there were")
        buffer.control.options.repeatsMax = 0
        for _ in 0..<30 { logger("b", buffer).info("unlimited") }
        #expect(buffer.flush(within: testPatience))
        #expect(count("info") == 60)
    }
}
