import GatewayTestSupport
import Glibc
import JSON
import Primitives
import Telemetry
import TestSupport
import Testing

/// What `/metrics` of a real process says, against the table of series and against what was done.
@Suite struct MetricsTests {
    /// A scrape, taken apart.
    private struct Scrape {
        struct Sample {
            var name: String
            var labels: [String: String]
            var value: Double
        }

        var text: String
        var kinds: [String: String] = [:]
        var help: [String: String] = [:]
        var samples: [Sample] = []

        init(_ text: String) throws {
            self.text = text
            for line in text.split(separator: "\n") {
                if line.hasPrefix("# ") {
                    let words = line.split(separator: " ", maxSplits: 3).map(String.init)
                    try #require(words.count == 4)
                    if words[1] == "TYPE" { kinds[words[2]] = words[3] } else { help[words[2]] = words[3] }
                    continue
                }
                // (Label values of these tests hold neither spaces nor quotes.)
                let parts = line.split(separator: " ").map(String.init)
                try #require(parts.count == 2, "\(line)")
                let value = try #require(Double(parts[1] == "+Inf" ? "inf" : parts[1]), "\(line)")
                let name = parts[0].prefix { $0 != "{" }
                let quoted = parts[0].dropFirst(name.count).split(separator: "\"", omittingEmptySubsequences: false)
                var labels: [String: String] = [:]
                for index in stride(from: 0, to: quoted.count - 1, by: 2) {
                    labels[quoted[index].filter { $0.isLetter || $0 == "_" }] = String(quoted[index + 1])
                }
                samples.append(Sample(name: String(name), labels: labels, value: value))
            }
        }

        /// Of the one series with at least these labels.
        func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
            let found = samples.filter { sample in
                sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value }
            }
            return found.count == 1 ? found[0].value : nil
        }

        /// The metric that a sample belongs to: a histogram has three series.
        func family(_ sample: Sample) -> String {
            if kinds[sample.name] != nil { return sample.name }
            for ending in ["_bucket", "_sum", "_count"] where sample.name.hasSuffix(ending) {
                return String(sample.name.dropLast(ending.count))
            }
            return sample.name
        }
    }

    private func scrape(_ client: HTTPClient) throws -> Scrape {
        let answer = try client.request("GET", "/metrics")
        #expect(answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8")
        return try Scrape(answer.text)
    }

    /// A gateway on which something of everything happened.
    private func busy(_ assignments: [String] = []) throws -> (process: GatewayProcess, client: HTTPClient) {
        let process = try GatewayProcess(assignments)
        let client = try process.client()
        for number in 0..<3 { try client.produce("orders", "order \(number)", partition: 0) }
        let receipt = try client.produce("payments", "paid")
        _ = try client.settled(receipt)
        _ = try client.read(3, as: "shop", from: "orders")
        let unknown = try client.request("GET", "/v1/topics/unheard-of")
        #expect(unknown.status == 404)
        let lost = try client.request("GET", "/no/such/place")
        #expect(lost.status == 404)
        let waited = try client.request("POST", "/v1/topics/orders", [("Prefer", "wait=5")], body: [0x31])
        #expect(waited.status == 200)
        return (process, client)
    }

    @Test func requestThatDoesNotArrive_IsCounted() throws {
        let process = try GatewayProcess(["http.header_timeout=1s"])
        let slow = try process.client()
        let head = "POST /v1/topics/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        try slow.send(Array((head + "half").utf8))
        #expect(try slow.answer().status == 408)
        let isCounted = try eventually {
            try scrape(process.client()).value("postrider_http_requests_total", ["status": "408"]) == 1
        }
        #expect(isCounted)
    }

    @Test func scrape_IsWhatTheTableSays() throws {
        let (_, client) = try busy()
        let scrape = try scrape(client)
        let rows = Dictionary(uniqueKeysWithValues: SeriesTable.all.map { ($0.name, $0) })
        #expect(scrape.kinds.count > 90)
        for (name, kind) in scrape.kinds {
            #expect(rows[name]?.kind.name == kind, "\(name)")
            #expect(scrape.help[name] == rows[name]?.help, "\(name)")
        }
        for sample in scrape.samples {
            let family = scrape.family(sample)
            let row = try #require(rows[family], "\(family) is not in the table")
            var labels = sample.labels
            if case .histogram(let buckets) = row.kind, sample.name.hasSuffix("_bucket") {
                let bound = labels.removeValue(forKey: "le") ?? ""
                #expect(bound == "+Inf" || Double(bound).map(buckets.contains) == true, "\(sample)")
            }
            #expect(Set(labels.keys) == Set(row.labels.map(\.name)), "\(sample)")
            for label in row.labels where label.values != nil && labels[label.name] != "other" {
                #expect(label.values?.contains(labels[label.name] ?? "") == true, "\(sample)")
            }
        }
        #expect(scrape.value("postrider_metrics_conflicts_total") == 0)
        #expect(scrape.value("postrider_metrics_overflowed_total") == 0)
        try checkWithPromtool(scrape.text)
    }

    /// Where Debian's package `prometheus` is installed.
    private func checkWithPromtool(_ text: String) throws {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let system = SystemFileSystem()
        let found = try path.split(separator: ":").map { "\($0)/promtool" }.first { try system.exists($0) }
        guard let promtool = found else { return }
        let directory = try TemporaryDirectory()
        let file = try system.open("\(directory.path)/scrape", .createOrOpen)
        defer { file.close() }
        try file.writeAll(Array(text.utf8), at: 0)
        let check = try GatewayProcess(
            in: directory, program: "/bin/sh", ["-c", "'\(promtool)' check metrics < '\(directory.path)/scrape'"])
        let end = check.waitForEnd()
        let said = try check.log()
        #expect(end == .exited(0), "\(said)")
    }

    @Test func requests_AreCountedByRouteMethodAndStatus() throws {
        let (_, client) = try busy()
        for (method, target, status) in [
            ("PUT", "/v1/topics/made", 201), ("DELETE", "/v1/topics/unheard-of", 404), ("OPTIONS", "/healthz", 204),
            ("HEAD", "/healthz", 200),
        ] {
            let answer = try client.request(method, target)
            #expect(answer.status == status, "\(method) \(target)")
        }
        let scrape = try scrape(client)
        func requests(_ route: String, _ method: String, _ status: String) -> Double? {
            scrape.value(
                "postrider_http_requests_total", ["route": route, "method": method, "status": status])
        }
        #expect(requests("/v1/topics/{topic}", "POST", "202") == 4)
        #expect(requests("/v1/topics/{topic}", "POST", "200") == 1)
        #expect(requests("/v1/topics/{topic}", "GET", "404") == 1)
        #expect(requests("none", "GET", "404") == 1)
        #expect(requests("/healthz", "HEAD", "200") == 1)
        #expect(requests("/v1/topics/{topic}", "PUT", "201") == 1)
        #expect(requests("/v1/topics/{topic}", "DELETE", "404") == 1)
        #expect(requests("none", "other", "204") == 1)
        // No path of a client's gets into a label.
        #expect(!scrape.text.contains("/no/such/place") && !scrape.text.contains("unheard-of"))
        let produce = ["route": "/v1/topics/{topic}", "method": "POST"]
        // With Prefer: wait the time to the acceptance is the request's, the rest is waiting.
        #expect(scrape.value("postrider_http_request_seconds_count", produce) == 5)
        #expect(scrape.value("postrider_http_parked_seconds_count", produce) == 1)
        // Nothing that is refused before a handler has a time.
        #expect(scrape.value("postrider_http_request_seconds_count", ["route": "none"]) == nil)
    }

    @Test func longPoll_IsInTheParkedTime_AndNotInTheRequests() throws {
        let (_, client) = try busy()
        let poll = "/v1/consumers/shop/poll"
        let before = try scrape(client)
        let labels = ["route": "/v1/consumers/{consumer}/poll", "method": "POST"]
        // What `busy` left is taken first.
        _ = try client.read(1, as: "shop", from: "orders")
        #expect(try client.request("POST", poll + "?wait=0.7").status == 200)
        let after = try scrape(client)
        func grown(_ name: String) throws -> Double {
            try #require(after.value(name, labels)) - (before.value(name, labels) ?? 0)
        }
        #expect(try grown("postrider_http_parked_seconds_sum") >= 0.6)
        let waited = try grown("postrider_http_parked_seconds_sum")
        #expect(try grown("postrider_http_request_seconds_sum") < waited)
    }

    @Test func acceptedRecords_AreCountedByTopic_AndLanesHaveTheirState() throws {
        let (_, client) = try busy()
        let scrape = try scrape(client)
        #expect(scrape.value("postrider_accepted_records_total", ["topic": "orders"]) == 4)
        #expect(scrape.value("postrider_accepted_bytes_total", ["topic": "payments"]) == 4)
        #expect(scrape.value("postrider_accepting") == 1)
        #expect(scrape.value("postrider_forwarding") == 1)
        #expect(scrape.value("postrider_not_accepting") == nil)
        for lane in ["0", "1"] {
            #expect(scrape.value("postrider_lane_state", ["lane": lane, "state": "forwarding"]) == 1)
            #expect(scrape.value("postrider_lane_state", ["lane": lane, "state": "halted"]) == 0)
            #expect(scrape.value("postrider_lane_lag_seconds", ["lane": lane]) == 0)
        }
        #expect(scrape.value("postrider_spool_max_bytes") == Double(32 << 20))
        #expect(try #require(scrape.value("postrider_spool_quota_ratio")) < 0.1)
        #expect(scrape.value("postrider_build_info") == 1)
    }

    /// Also of a consumer that nobody polls: its lag is what shows it.
    @Test func consumers_ShowTheirLag() throws {
        let process = try GatewayProcess()
        let client = try process.client()
        for number in 0..<3 { _ = try client.settled(try client.produce("orders", "\(number)", partition: 0)) }
        let consumer = #"{"topics":["orders"]}"#
        #expect(try client.putJSON("/v1/consumers/idle", consumer).status == 201)
        // A round of looks begins when the gateway starts, and every 15 s: the one of another start shows them at once.
        process.signal(SIGTERM)
        #expect(process.waitForEnd() == .exited(0))
        let again = try GatewayProcess(in: process.directory)
        let reader = try again.client()
        let labels = ["consumer": "idle", "topic": "orders", "partition": "0"]
        var last: Scrape?
        let shown = try eventually {
            last = try scrape(reader)
            return last?.value("postrider_consumer_lag_records", labels) != nil
        }
        #expect(shown)
        #expect(last?.value("postrider_consumer_lag_records", labels) == 3)
        #expect(last?.value("postrider_consumer_open_deliveries", ["consumer": "idle"]) == 0)
        #expect(last?.value("postrider_consumers") == 1)
        #expect(last?.value("postrider_consumer_looks_failed_total") == 0)
    }
}
