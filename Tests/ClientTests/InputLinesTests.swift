@testable import Client
import Glibc
import TestSupport
import Testing

@Suite struct InputLinesTests {
    /// A pipe with something in it, whose writer lives on.
    private final class Pipe {
        var ends: [Int32] = [0, 0]

        init(_ text: String) {
            #expect(pipe(&ends) == 0)
            let bytes = Array(text.utf8)
            #expect(write(ends[1], bytes, bytes.count) == bytes.count)
        }

        func end() {
            close(ends[1])
            ends[1] = -1
        }

        deinit { for end in ends where end >= 0 { close(end) } }
    }

    @Test func lines_HaveTheirPlaces() throws {
        let pipe = Pipe("a\n\nbc\nlast")
        pipe.end()
        var lines = InputLines(pipe.ends[0], stop: StopFlag())
        var found: [String] = []
        while let line = try lines.next() {
            found.append("\(line.number) \(line.end) \(String(decoding: line.bytes, as: UTF8.self))")
        }
        #expect(found == ["1 2 a", "2 3 ", "3 6 bc", "4 10 last"])
        #expect(try lines.next() == nil && lines.position == 10)
    }

    @Test func unfinishedLine_IsNone_WhenTheWaitForItIsStopped() throws {
        let pipe = Pipe("a\nb")
        let stop = StopFlag()
        var lines = InputLines(pipe.ends[0], stop: stop)
        #expect(try lines.next()?.end == 2)
        #expect(try lines.next(waits: false) == nil)
        stop.set()
        #expect(try lines.next() == nil && lines.position == 2 && lines.linesRead == 1)
    }

    @Test func skip_PassesOverWhatWasSent_AndNoticesLessInput() throws {
        let pipe = Pipe("a\nbb\nccc\n")
        pipe.end()
        var lines = InputLines(pipe.ends[0], stop: StopFlag())
        try lines.skip(bytes: 5, lines: 2)
        #expect(try lines.next() == .init(bytes: Array("ccc".utf8)[...], number: 3, end: 9))
        #expect(throws: ClientError.self) { try lines.skip(bytes: 1, lines: 1) }
    }

    @Test func line_IsRefused_WhenItHasNoBounds() throws {
        let directory = try TemporaryDirectory()
        let file = try InputFile([UInt8](repeating: 1, count: InputLines.lineBytesMax + 2), in: directory)
        var lines = InputLines(file.descriptor, stop: StopFlag())
        #expect(throws: ClientError.self) { try lines.next() }
    }
}
