import Primitives
import TestSupport
import Testing

@testable import Telemetry

@Suite struct ProcessMetricsTests {
    @Test func stat_IsReadFromTheLastParenthesisOn() {
        let text = """
            4242 (a b) c)) S 1 2 3 4 5 6 7 8 9 10 1100 150 13 14 20 0 17 0 987654 123456789 2048 18446744073709551615 1

            """
        let stat = ProcessStat(text: text)
        #expect(stat?.cpuTicks == 1250)
        #expect(stat?.threads == 17)
        #expect(stat?.startTicks == 987_654)
        #expect(stat?.virtualBytes == 123_456_789)
        #expect(stat?.residentPages == 2048)
    }

    @Test(arguments: ["", "1 (x) S 1 2 3", "no parenthesis", "1 (x) S a b c d e f g h i j k l m n o p q r s t u v"])
    func stat_IsRefused_WhenItHasAnotherForm(text: String) {
        #expect(ProcessStat(text: text) == nil)
    }

    @Test func bootTime_IsFoundAmongTheLines() {
        #expect(bootSeconds("cpu 1 2 3\nctxt 5\nbtime 1700000000\nprocesses 7\n") == 1_700_000_000)
        #expect(bootSeconds("cpu 1\n") == nil)
    }

    /// `btime` moves with the clock: an alert on restarts must not take that for one.
    @Test func start_StaysTheSame_WhenTheClockIsSet() throws {
        let files = FakeFileSystem()
        try files.createDirectory("/proc")
        try files.createDirectory("/proc/self")
        func write(_ path: String, _ text: String) throws {
            let file = try files.open(path, .createOrTruncate)
            defer { file.close() }
            try file.writeAll(Array(text.utf8), at: 0)
        }
        try write("/proc/self/stat", "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 20 0 17 0 0 123456789 2048")
        try write("/proc/stat", "btime 1700000000\n")
        let process = ProcessMetrics(files: files)
        func start() -> Double? { process.samples().first { $0.name == "process_start_time_seconds" }?.value }
        #expect(start() == 1_700_000_000)
        try write("/proc/stat", "btime 1700003600\n")
        #expect(start() == 1_700_000_000)
    }

    @Test func samples_DescribeThisProcess() throws {
        let samples = ProcessMetrics().samples()
        var values: [String: Double] = [:]
        for sample in samples { values[sample.name] = sample.value }
        #expect(values.count == samples.count)
        #expect(
            Set(values.keys) == [
                "process_cpu_seconds_total", "process_threads", "process_resident_memory_bytes",
                "process_virtual_memory_bytes", "process_start_time_seconds", "process_open_fds", "process_max_fds",
            ])
        let now = Double(SystemClock().wallMilliseconds()) / 1000
        let start = try #require(values["process_start_time_seconds"])
        // Tests that take a day have other problems.
        #expect(start > now - 86_400 && start <= now + 1)
        #expect(try #require(values["process_resident_memory_bytes"]) > 1_000_000)
        #expect(try #require(values["process_threads"]) >= 1)
        #expect(try #require(values["process_open_fds"]) >= 3)
        #expect(try #require(values["process_max_fds"]) >= 3)
    }
}
