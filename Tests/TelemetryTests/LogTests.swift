import Glibc
import Logging
import Primitives
import Telemetry
import TestSupport
import Testing

private final class RecordingSink: LogSink {
    private let written = Lock<[[UInt8]]>([])

    func write(_ line: [UInt8]) { written.withLock { $0.append(line) } }
    var lines: [String] { written.withLock { $0.map { String(decoding: $0, as: UTF8.self) } } }
}

private struct Broken: Error, CustomStringConvertible {
    var description: String { "disk on fire" }
}

@Suite struct LogTests {
    private let sink = RecordingSink()

    private func logger(_ format: LogFormat, level: Logger.Level = .info) -> Logger {
        logger(LogControl(LogOptions(level: level, format: format), isTerminal: false))
    }

    private func logger(_ control: LogControl) -> Logger {
        Logger(label: "journal") { label in
            StderrLogHandler(label: label, control: control, sink: sink, clock: ManualClock())
        }
    }

    /// Of the manual clock's beginning.
    private let time = "2026-09-21T14:13:20.000Z"

    @Test func people_GetOneLine_WithMetadataBehindTheMessage() {
        logger(.text).warning(
            "sync was slow", metadata: ["duration_ms": "1200", "path": "/a b", "list": ["x", "1"]])
        logger(.text).critical("over", metadata: ["n": .stringConvertible(7)])
        #expect(
            sink.lines == [
                "\(time) warning  journal: sync was slow duration_ms=1200 list=[\"x\",\"1\"] path=\"/a b\"\n",
                "\(time) critical journal: over n=7\n",
            ])
    }

    @Test func machines_GetOneObjectALine() {
        logger(.json).error(
            "sync \"failed\"", metadata: ["lsn": .stringConvertible(42), "in": ["a": "1", "b": ["c"]]])
        logger(.json).info("plain")
        #expect(
            sink.lines == [
                "{\"time\":\"\(time)\",\"level\":\"error\",\"logger\":\"journal\",\"message\":\"sync \\\"failed\\\"\","
                    + "\"in\":{\"a\":\"1\",\"b\":[\"c\"]},\"lsn\":42}\n",
                "{\"time\":\"\(time)\",\"level\":\"info\",\"logger\":\"journal\",\"message\":\"plain\"}\n",
            ])
    }

    @Test func metadata_NeverTakesTheNameOfTheLinesOwnMembers() {
        logger(.json).info(
            "m", metadata: ["time": "a", "time_": "b", "level": "c", "logger": "d", "message": "e", "cut": "f"])
        #expect(
            sink.lines == [
                "{\"time\":\"\(time)\",\"level\":\"info\",\"logger\":\"journal\",\"message\":\"m\",\"cut_\":\"f\","
                    + "\"level_\":\"c\",\"logger_\":\"d\",\"message_\":\"e\",\"time__\":\"a\",\"time_\":\"b\"}\n"
            ])
    }

    /// Which environments get colours.
    @Test(
        arguments: [
            (true, [:], true), (false, [:], false), (true, ["NO_COLOR": "1"], false), (true, ["NO_COLOR": ""], true),
            (true, ["TERM": "dumb"], false),
        ] as [(Bool, [String: String], Bool)])
    func colours_AreForTerminalsOnly(isTerminal: Bool, environment: [String: String], isColored: Bool) {
        let control = LogControl(
            LogOptions(format: .text), isTerminal: isTerminal, environment: { environment[$0] })
        logger(control).warning("m")
        let plain = "\(time) warning  journal: m\n"
        #expect((sink.lines == [plain]) == !isColored)
        #expect(sink.lines[0].contains("\u{1b}[33mwarning ") == isColored)
    }

    @Test(arguments: [(true, "warning"), (false, "{")]) func format_FollowsTheTerminal(isTerminal: Bool, part: String) {
        logger(LogControl(isTerminal: isTerminal, environment: { _ in "1" })).warning("m")
        #expect(sink.lines[0].contains(part))
        #expect(sink.lines[0].hasPrefix("{") == !isTerminal)
    }

    @Test func control_ChangesLoggersThatExist() {
        let control = LogControl(LogOptions(level: .warning, format: .json), isTerminal: false)
        let old = logger(control)
        var own = logger(control)
        own.logLevel = .error
        old.info("quiet")
        control.options = LogOptions(level: .debug, format: .text)
        old.debug("loud")
        own.warning("has a level of its own")
        #expect(sink.lines == ["\(time) debug    journal: loud\n"])
    }

    @Test(arguments: LogFormat.allCases) func clientBytes_CannotStartALineOrReachTheTerminal(format: LogFormat) {
        let evil = "x\n2026 info journal: forged\r\u{1b}[2J\u{0}\u{9b}31m\u{2028}\u{202e}\u{2066}"
        logger(format).info("\(evil)", metadata: ["topic": .string(evil), "\(evil)": "v"])
        let line = sink.lines[0]
        #expect(sink.lines.count == 1)
        #expect(line.unicodeScalars.filter { $0.value < 0x20 || (0x7f...0x9f).contains($0.value) } == ["\n"])
        #expect(line.hasSuffix("\n"))
        #expect(line.contains("\\u001b"))
        #expect(line.contains("\\u202e") && line.contains("\\u2066"))
        #expect(!line.unicodeScalars.contains { $0.properties.isBidiControl })
    }

    @Test(arguments: LogFormat.allCases) func longValues_AreCut(format: LogFormat) {
        logger(format).info("m", metadata: ["body": .string(String(repeating: "é", count: 100_000))])
        #expect(sink.lines[0].utf8.count < 2_500)
        #expect(sink.lines[0].contains("…"))
    }

    @Test(arguments: LogFormat.allCases) func longLines_AreCutBetweenMembers(format: LogFormat) {
        var metadata: Logger.Metadata = ["a": "first", "z": "last"]
        for number in 10..<60 { metadata["m\(number)"] = .string(String(repeating: "\u{1}", count: 1000)) }
        logger(format).info("m", metadata: metadata)
        let line = sink.lines[0]
        #expect(line.utf8.count < 17_000)
        #expect(line.contains("first") && line.contains("last"))
        #expect(line.hasSuffix(format == .json ? ",\"cut\":true}\n" : " cut=true\n"))
        #expect(!line.contains("m59"))
    }

    @Test func level_ComesFromTheSettings() {
        var logger = logger(.text, level: .warning)
        logger.info("quiet")
        #expect(sink.lines.isEmpty)
        logger.logLevel = .debug
        logger.debug("loud")
        #expect(sink.lines.count == 1)
    }

    @Test func metadata_OfTheCallWinsOverTheLoggers() {
        var logger = logger(.text)
        logger[metadataKey: "lane"] = "1"
        logger[metadataKey: "spool"] = "s"
        logger.info("m", metadata: ["lane": "2"])
        #expect(sink.lines == ["\(time) info     journal: m lane=2 spool=s\n"])
    }

    @Test func error_OfTheEventIsShown() {
        logger(.text).error("cannot go on", error: Broken())
        #expect(sink.lines == ["\(time) error    journal: cannot go on error=\"disk on fire\"\n"])
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"), (Int64.max, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func rfc3339_IsRightAtTheEdgesOfTheCalendar(milliseconds: Int64, expected: String) {
        #expect(rfc3339(milliseconds: milliseconds) == expected)
    }
}
