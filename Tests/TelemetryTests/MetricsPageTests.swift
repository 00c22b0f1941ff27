import Glibc
import Primitives
import Telemetry
import Testing

/// `docs/METRICS.md` is generated from the table: `POSTRIDER_UPDATE_DOCS=1 swift test --filter MetricsPageTests` writes
/// it.
@Suite struct MetricsPageTests {
    private static let path = "docs/METRICS.md"

    @Test func page_IsWhatTheTableSays() throws {
        let page = MetricsPage.text
        if getenv("POSTRIDER_UPDATE_DOCS") != nil {
            let file = try SystemFileSystem().open("\(Repository.root)/\(Self.path)", .createOrOpen)
            defer { file.close() }
            try file.truncate(0)
            try file.writeAll(Array(page.utf8), at: 0)
        }
        let (wanted, found) = (Self.lines(page), Self.lines(try Repository.text(Self.path)))
        let missing = wanted.filter { !found.contains($0) }.map { "+ \($0)" }
        let wrong = found.filter { !wanted.contains($0) }.map { "- \($0)" }
        let changes = (wrong + missing).joined(separator: "\n")
        #expect(wanted == found, "\(Self.path) is out of date (POSTRIDER_UPDATE_DOCS=1 writes it):\n\(changes)")
    }

    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }
}

/// The page, from the table.
enum MetricsPage {
    static var text: String {
        var text = """
            # Metrics

            Generated from the table of series (`Sources/Telemetry/SeriesTable+….swift`): change that, and
            `POSTRIDER_UPDATE_DOCS=1 swift test --filter MetricsPageTests` writes this page.

            `GET /metrics` answers in the Prometheus text format 0.0.4. A scrape reads memory only: it asks neither
            disk nor broker, and waits for no request; consumers are looked at every 15 s apart from it. With 1,000
            topics, and 1,000 partitions that consumers read, it took 3 to 6 ms and 170 KB on two shared cores.
            `Docker/prometheus/` has a scrape configuration and alert rules, `Docker/grafana/postrider.json` a
            dashboard, [OPERATIONS.md](OPERATIONS.md#alerts) what to do about each alert.

            **Names.** Counters end in `_total` and begin at 0 with the process; other names end in their unit. A
            histogram has the series `…_bucket{le}`, `…_sum` and `…_count`.

            **Labels** are bounded: their values are fixed in the program, or names of topics and consumers, of which
            only the first have series of their own. Nothing else that a client sends gets into a label. What exceeds
            a metric's most series (200 where the table says nothing else) is added up in one whose labels are all
            `other`, and counted in `postrider_metrics_overflowed_total`.

            **What is timed.** `postrider_http_request_seconds` is what Postrider itself takes: from the last byte of
            a request to its answer, or to where it is parked. A long poll's wait, and that of `Prefer: wait`, is in
            `postrider_http_parked_seconds`, so that a quiet topic does not look like a slow server.

            """
        for (area, series) in SeriesTable.areas {
            text += "\n## \(area)\n\n| series | kind | labels | meaning |\n|---|---|---|---|\n"
            for row in series { text += "| `\(row.name)` | \(kind(row)) | \(labels(row)) | \(row.help) |\n" }
        }
        return text
    }

    private static func kind(_ row: SeriesDescription) -> String {
        guard case .histogram(let buckets) = row.kind else { return row.kind.name }
        return "histogram, " + (buckets.first.map(number) ?? "") + " to " + (buckets.last.map(number) ?? "")
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() ? String(Int64(value)) : value.description
    }

    private static func labels(_ row: SeriesDescription) -> String {
        let labels = row.labels.map { "`\($0.name)`: \($0.bound)" }
        let most =
            row.seriesMax == SeriesDescription.seriesMaxDefault ? [] : ["at most \(row.seriesMax.formatted) series"]
        return (labels + most).joined(separator: "; ")
    }
}

extension Int {
    /// With a comma for thousands.
    fileprivate var formatted: String {
        let digits = String(self % 1000)
        return self < 1000 ? digits : "\(self / 1000)," + String(repeating: "0", count: 3 - digits.count) + digits
    }
}
