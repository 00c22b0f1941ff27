import Telemetry
import Testing

/// The table of series follows Prometheus' rules for names, and has what the code makes, no more and no less.
@Suite struct SeriesTableTests {
    @Test func names_AreUnique_AndSortedWithinTheirArea() {
        let names = SeriesTable.all.map(\.name)
        #expect(Set(names).count == names.count)
        for (area, series) in SeriesTable.areas {
            let names = series.map(\.name)
            #expect(names == names.sorted(), "\(area)")
        }
    }

    @Test(arguments: SeriesTable.all) func row_FollowsTheRulesOfNames(row: SeriesDescription) {
        #expect(row.name.hasPrefix("postrider_") || row.name.hasPrefix("process_"))
        #expect(row.name.utf8.allSatisfy { $0 == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")) ~= $0 })
        // https://prometheus.io/docs/practices/naming: a counter ends in _total, nothing else does.
        #expect(row.name.hasSuffix("_total") == (row.kind == .counter))
        // These belong to histograms' own series.
        #expect(!["_sum", "_count", "_bucket", "_milliseconds", "_ms", "_kib"].contains { row.name.hasSuffix($0) })
        #expect(!row.help.isEmpty && row.help.last != "." && !row.help.contains("\n"))
        #expect(Set(row.labels.map(\.name)).count == row.labels.count)
        // `le` is a histogram's own, `job` and `instance` Prometheus'.
        #expect(!row.labels.contains { ["le", "job", "instance"].contains($0.name) })
        for label in row.labels {
            #expect(!label.bound.isEmpty)
            #expect(label.values.map { $0.count < row.seriesMax } ?? true)
        }
        if case .histogram(let buckets) = row.kind {
            #expect(row.unit != nil, "a histogram says its unit")
            #expect(!buckets.isEmpty && zip(buckets, buckets.dropFirst()).allSatisfy { $0 < $1 })
        }
    }

    /// `"postrider_…"` wherever it stands in the sources is a metric's name.
    private func made() throws -> [String: [String]] {
        var made: [String: [String]] = [:]
        for (path, text) in try Repository.sources() {
            for part in text.split(separator: "\"") where part.hasPrefix("postrider_") {
                if part.utf8.allSatisfy({ $0 == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")) ~= $0 }) {
                    made[String(part), default: []].append(path)
                }
            }
        }
        return made
    }

    @Test func everyMetricInTheSources_IsInTheTable() throws {
        let made = try made()
        #expect(made.count > 100)
        let known = Set(SeriesTable.all.map(\.name))
        for (name, paths) in made where !known.contains(name) {
            Issue.record("\(name), made in \(paths), has no row in Sources/Telemetry/SeriesTable+….swift")
        }
    }

    @Test func everyRowOfTheTable_IsMadeInTheSources() throws {
        let made = Set(try made().keys)
        let process = Set(ProcessMetrics().samples().map(\.name))
        for row in SeriesTable.all where !made.contains(row.name) && !process.contains(row.name) {
            Issue.record("\(row.name) is in the table, and nothing makes it")
        }
    }

    /// A counter, gauge, timer or recorder whose label stands beside it is of the table's kind.
    @Test func kindsInTheSources_AreTheTables() throws {
        let kinds = ["Counter": "counter", "Gauge": "gauge", "Timer": "histogram", "Recorder": "histogram"]
        let rows = Dictionary(uniqueKeysWithValues: SeriesTable.all.map { ($0.name, $0) })
        var seen = 0
        for (path, text) in try Repository.sources() {
            for (type, kind) in kinds {
                for part in text.split(separator: "\(type)(label: \"", omittingEmptySubsequences: false).dropFirst() {
                    let name = String(part.prefix { $0 != "\"" })
                    seen += 1
                    #expect(rows[name]?.kind.name == kind, "\(name) in \(path)")
                }
            }
        }
        #expect(seen > 80)
    }
}
