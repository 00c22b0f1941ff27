import Primitives
import Telemetry
import Testing
import Yams

/// The alert rules and the dashboard speak of series and labels that exist.
@Suite struct MonitoringTests {
    /// What Prometheus adds to each series.
    private static let added: Set<String> = ["job", "instance"]
    private static let rows = Dictionary(uniqueKeysWithValues: SeriesTable.all.map { ($0.name, $0) })

    /// What is wrong with an expression, and the labels that it can show.
    private static func check(_ text: String) throws -> (faults: [String], labels: Set<String>) {
        let query = try PromQL(text)
        var (faults, labels): ([String], Set<String>) = ([], added)
        if query.metrics.isEmpty { faults.append("no metric") }
        for metric in query.metrics where metric.name != "up" {
            guard let (row, isBucket) = row(metric.name) else {
                faults.append("there is no \(metric.name)")
                continue
            }
            let own = added.union(row.labels.map(\.name)).union(isBucket ? ["le"] : [])
            labels.formUnion(own)
            for matcher in metric.matchers {
                if !own.contains(matcher.label) { faults.append("\(metric.name) has no label \(matcher.label)") }
                let values = row.labels.first { $0.name == matcher.label }?.values
                if matcher.isEqual, let values, !values.contains(matcher.value) {
                    faults.append("\(metric.name): \(matcher.label) is never \(matcher.value)")
                }
            }
        }
        faults += query.grouping.filter { !labels.contains($0) }.map { "no metric has the label \($0)" }
        if !query.grouping.isEmpty { labels = Set(query.grouping) }
        return (faults, labels)
    }

    /// Of a metric, or of one of a histogram's own series.
    private static func row(_ name: String) -> (SeriesDescription, isBucket: Bool)? {
        if let row = rows[name] {
            if case .histogram = row.kind { return nil }
            return (row, false)
        }
        for ending in ["_bucket", "_sum", "_count"] where name.hasSuffix(ending) {
            guard let row = rows[String(name.dropLast(ending.count))], case .histogram = row.kind else { return nil }
            return (row, ending == "_bucket")
        }
        return nil
    }

    /// Names between `{{` and `}}`.
    private static func placeholders(_ text: String) -> [String] {
        text.split(separator: "{{", omittingEmptySubsequences: false).dropFirst().compactMap { part in
            let parts = part.split(separator: "}}", maxSplits: 1, omittingEmptySubsequences: false)
            return parts.count == 2 ? parts[0].filter { $0 != " " } : nil
        }
    }

    @Test(arguments: [
        ("postrider_no_such_total > 0", "there is no postrider_no_such_total"),
        ("rate(postrider_journal_sync_seconds[5m])", "there is no postrider_journal_sync_seconds"),
        ("postrider_lane_state{stat=\"halted\"}", "postrider_lane_state has no label stat"),
        ("postrider_lane_state{state=\"broken\"} == 1", "postrider_lane_state: state is never broken"),
        ("sum by (le, part) (rate(postrider_journal_sync_seconds_bucket[5m]))", "no metric has the label part"),
        ("sum(postrider_accepting_count)", "there is no postrider_accepting_count"), ("1 > 0", "no metric"),
    ])
    func expression_IsRefused(text: String, fault: String) throws {
        #expect(try Self.check(text).faults == [fault])
    }

    @Test(arguments: ["rat(up[5m])", "up{job", "sum by job (up)", "up[5m", "up # 1"])
    func expression_ThatIsNotUnderstood_IsRefused(text: String) {
        #expect(throws: PromQL.Malformed.self) { _ = try PromQL(text) }
    }

    @Test func expression_IsTakenApart() throws {
        let query = try PromQL(
            "histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x=\"1\", y=~\"b.*\"}[5m]))) > 1e3 and b offset 5m"
        )
        #expect(
            query.metrics == [
                PromQL.Metric(
                    name: "a_bucket",
                    matchers: [
                        PromQL.Matcher(label: "x", isEqual: true, value: "1"),
                        PromQL.Matcher(label: "y", isEqual: false, value: "b.*"),
                    ]), PromQL.Metric(name: "b"),
            ])
        #expect(query.grouping == ["job", "le"])
    }

    // MARK: - Alert rules

    private func alerts() throws -> [Node] {
        let root = try #require(try compose(yaml: try Repository.text("Docker/prometheus/alerts.yml")))
        return try #require(root["groups"]).array().flatMap { $0["rules"]?.array() ?? [] }
    }

    @Test func alerts_UseSeriesAndLabelsThatExist() throws {
        let alerts = try alerts()
        #expect(alerts.count > 30)
        for alert in alerts {
            let name = try #require(alert["alert"]?.string)
            let (faults, labels) = try Self.check(try #require(alert["expr"]?.string))
            #expect(faults.isEmpty, "\(name): \(faults)")
            for text in [alert["annotations"]?["summary"]?.string, alert["annotations"]?["description"]?.string] {
                for placeholder in Self.placeholders(try #require(text)) where placeholder.hasPrefix("$labels.") {
                    let label = String(placeholder.dropFirst("$labels.".count))
                    #expect(labels.contains(label), "\(name): there is no label \(label)")
                }
            }
        }
    }

    @Test func alerts_HaveEverythingAnOperatorNeeds() throws {
        let alerts = try alerts()
        let names = alerts.compactMap { $0["alert"]?.string }
        #expect(names.count == alerts.count && Set(names).count == names.count)
        for alert in alerts {
            let name = try #require(alert["alert"]?.string)
            #expect(name.hasPrefix("Postrider"))
            #expect(["critical", "warning", "info"].contains(alert["labels"]?["severity"]?.string), "\(name)")
            #expect(alert["for"]?.string != nil, "\(name)")
            #expect(alert["annotations"]?["summary"]?.string?.isEmpty == false, "\(name)")
            #expect(alert["annotations"]?["description"]?.string?.isEmpty == false, "\(name)")
            let anchor = "docs/OPERATIONS.md#alert-\(name.lowercased())"
            #expect(alert["annotations"]?["runbook_url"]?.string == anchor, "\(name)")
        }
    }

    /// Where promtool is, `Scripts/test` runs them.
    @Test func alerts_AreTried() throws {
        let tests = try Repository.text("Docker/prometheus/alerts.test.yml")
        for name in try alerts().compactMap({ $0["alert"]?.string }) {
            let isTried = ["alertname=\"\(name)\"", "alertname: \(name)\n"].contains { tests.contains($0) }
            #expect(isTried, "\(name) fires in no test")
        }
    }

    /// Whoever reads a label of `postrider_limit_reached_total` finds it among the settings, or what it is.
    @Test func limits_AreSettings_OrAreExplainedInOperations() throws {
        let settings = try Repository.text("docs/CONFIGURATION.md")
        let page = try Repository.text("docs/OPERATIONS.md")
        let start = try #require(page.firstRange(of: "### Alert PostriderLimitReached\n")?.upperBound)
        let section = page[start...].split(separator: "\n").prefix { !$0.hasPrefix("### ") }
        let explained = section.filter { $0.hasPrefix("| `") }.flatMap { row in
            row.split(separator: "|")[0].split(separator: "`").filter { $0.contains("_") }.map(String.init)
        }
        let own = Limit.allCases.map(\.rawValue).filter { !settings.contains("\n| `\($0)` | ") }
        #expect(Set(explained) == Set(own))
        #expect(explained.count == own.count)
    }

    /// Each alert has its section, with something in it; no section is of an alert that is gone.
    @Test func alerts_AreExplainedInOperations() throws {
        let page = try Repository.text("docs/OPERATIONS.md")
        let heading = "### Alert "
        var sections: [String: Int] = [:]
        var current: String?
        for line in page.split(separator: "\n") {
            if line.hasPrefix("#") { current = nil }
            if line.hasPrefix(heading) {
                current = String(line.dropFirst(heading.count))
                sections[current ?? ""] = 0
            } else if let current {
                sections[current, default: 0] += line.count
            }
        }
        #expect(Set(sections.keys) == Set(try alerts().compactMap { $0["alert"]?.string }))
        for (name, length) in sections { #expect(length > 100, "\(name)") }
    }

    @Test func pages_NameSeriesThatExist() throws {
        let pages = try SystemFileSystem().list("\(Repository.root)/docs").filter { $0.hasSuffix(".md") }
        let prefix = Array("postrider_".utf8)
        let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
        var named = 0
        for page in pages.map({ "docs/\($0)" }) + ["README.md", "CONTRIBUTING.md"] {
            // Bytes, as there are many. Those of an ellipsis belong to the word.
            let bytes = Array(try Repository.text(page).utf8)
            let words = bytes.split { !($0 == UInt8(ascii: "_") || $0 >= 0x80 || letters ~= $0 | 0x20) }
            // (With an ellipsis or a placeholder it stands for several.)
            for word in words
            where word.starts(with: prefix) && word.last != prefix.last && word.allSatisfy({ $0 < 0x80 }) {
                let name = String(decoding: word, as: UTF8.self)
                named += 1
                #expect(Self.rows[name] != nil || Self.row(name) != nil, "\(page) names \(name)")
            }
        }
        #expect(named > 100)
    }

    @Test func scrapeConfiguration_HasTheJobOfTheRules() throws {
        let root = try #require(try compose(yaml: try Repository.text("Docker/prometheus/prometheus.yml")))
        #expect(root["rule_files"]?.array().compactMap(\.string) == ["alerts.yml"])
        let jobs = root["scrape_configs"]?.array() ?? []
        #expect(jobs.compactMap { $0["job_name"]?.string } == ["postrider"])
        #expect(jobs.first?["metrics_path"]?.string == "/metrics")
    }

    // MARK: - Dashboard

    /// (JSON is YAML.)
    private func dashboard() throws -> Node {
        try #require(try compose(yaml: try Repository.text("Docker/grafana/postrider.json")))
    }

    /// Rows and what is in them.
    private func panels(_ node: Node) -> [Node] {
        (node["panels"]?.array() ?? []).flatMap { [$0] + panels($0) }
    }

    @Test func dashboard_UsesSeriesAndLabelsThatExist() throws {
        var count = 0
        for panel in panels(try dashboard()) {
            let title = try #require(panel["title"]?.string)
            for target in panel["targets"]?.array() ?? [] {
                count += 1
                let (faults, labels) = try Self.check(try #require(target["expr"]?.string))
                #expect(faults.isEmpty, "\(title): \(faults)")
                for label in Self.placeholders(target["legendFormat"]?.string ?? "") {
                    #expect(labels.contains(label), "\(title): there is no label \(label)")
                }
            }
        }
        #expect(count > 40)
    }

    @Test func dashboard_HasItsRows_AndPanelsOfTheirOwnPlace() throws {
        let dashboard = try dashboard()
        let panels = panels(dashboard)
        let rows = panels.filter { $0["type"]?.string == "row" }.compactMap { $0["title"]?.string }
        #expect(
            rows == ["Overview", "Traffic", "Latency", "Spool", "Forwarding", "Consumers", "Limits", "Process"])
        let numbers = panels.compactMap { $0["id"]?.int }
        #expect(numbers.count == panels.count && Set(numbers).count == numbers.count)
        var places: Set<[Int]> = []
        for panel in panels {
            let place = try ["x", "y", "w", "h"].map { try #require(panel["gridPos"]?[$0]?.int) }
            #expect(place[0] + place[2] <= 24)
            #expect(places.insert([place[0], place[1]]).inserted, "\(panel["title"]?.string ?? "")")
        }
    }

    @Test func dashboardVariables_AreOfMetricsThatExist() throws {
        let variables = try dashboard()["templating"]?["list"]?.array() ?? []
        #expect(variables.compactMap { $0["name"]?.string } == ["datasource", "instance"])
        for variable in variables where variable["type"]?.string == "query" {
            let query = try #require(variable["query"]?.string)
            let parts = query.split { "(), ".contains($0) }.map(String.init)
            #expect(parts.count == 3 && parts[0] == "label_values" && Self.row(parts[1]) != nil, "\(query)")
            #expect(Self.added.contains(parts[2]))
        }
    }
}
