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
    private func buffer(_ sink: BlockedSink, bytesMax: Int) -> LogBuffer {
        LogBuffer(
            to: sink,
            ownLog: Logger(label: "log") { StderrLogHandler(label: $0, level: .info, format: .json, sink: sink) },
            bytesMax: bytesMax)
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
        #expect(sink.lines.last?.contains(#""message":"log lines were dropped","metadata":{"lines":"800"}"#) == true)
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
}
