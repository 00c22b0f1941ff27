import CoreMetrics
import Primitives
import Telemetry
import Testing

private func lines(_ registry: MetricsRegistry) -> [String] {
    String(decoding: registry.text(), as: UTF8.self).split(separator: "\n").map(String.init)
        .filter { !$0.contains("postrider_metrics_") }
}

private func row(
    _ name: String, _ kind: SeriesDescription.Kind, _ help: String = "", seriesMax: Int = 200
) -> SeriesDescription {
    SeriesDescription(name: name, kind: kind, help: help, seriesMax: seriesMax)
}

@Suite struct MetricsRegistryTests {
    @Test func text_IsThePrometheusFormat() {
        let registry = MetricsRegistry(table: [
            row("postrider_accepted_total", .counter, "Records\naccepted \\ so far"),
            row("postrider_sync_seconds", .histogram(buckets: [0.001, 0.5])),
            row("postrider_batch_records", .histogram(buckets: [1, 10])),
        ])
        registry.makeCounter(label: "postrider_accepted_total", dimensions: [("topic", "b")]).increment(by: 2)
        registry.makeCounter(label: "postrider_accepted_total", dimensions: [("topic", "a")]).increment(by: 1)
        registry.makeMeter(label: "postrider_lag", dimensions: []).set(2.5)
        let timer = registry.makeTimer(label: "postrider_sync_seconds", dimensions: [("lane", "0")])
        for nanoseconds in [500_000, 1_000_000, 400_000_000, 2_000_000_000] as [Int64] {
            timer.recordNanoseconds(nanoseconds)
        }
        registry.makeRecorder(label: "postrider_batch_records", dimensions: [], aggregate: true).record(10 as Int64)
        #expect(
            lines(registry) == [
                "# HELP postrider_accepted_total Records\\naccepted \\\\ so far",
                "# TYPE postrider_accepted_total counter",
                "postrider_accepted_total{topic=\"a\"} 1",
                "postrider_accepted_total{topic=\"b\"} 2",
                "# TYPE postrider_batch_records histogram",
                "postrider_batch_records_bucket{le=\"1\"} 0",
                "postrider_batch_records_bucket{le=\"10\"} 1",
                "postrider_batch_records_bucket{le=\"+Inf\"} 1",
                "postrider_batch_records_sum 10",
                "postrider_batch_records_count 1",
                "# TYPE postrider_lag gauge",
                "postrider_lag 2.5",
                "# TYPE postrider_sync_seconds histogram",
                "postrider_sync_seconds_bucket{lane=\"0\",le=\"0.001\"} 2",
                "postrider_sync_seconds_bucket{lane=\"0\",le=\"0.5\"} 3",
                "postrider_sync_seconds_bucket{lane=\"0\",le=\"+Inf\"} 4",
                "postrider_sync_seconds_sum{lane=\"0\"} 2.4015",
                "postrider_sync_seconds_count{lane=\"0\"} 4",
            ])
    }

    @Test func recordersAndTimers_HaveTheTablesBuckets() {
        let registry = MetricsRegistry(table: [
            row("commit_seconds", .histogram(buckets: [0.5])), row("wait_seconds", .histogram(buckets: [2])),
        ])
        registry.makeRecorder(label: "commit_seconds", dimensions: [], aggregate: true).record(0.25)
        registry.makeTimer(label: "wait_seconds", dimensions: []).recordNanoseconds(1_000_000_000)
        let buckets = lines(registry).filter { $0.contains("_bucket") && !$0.contains("+Inf") }
        #expect(buckets == ["commit_seconds_bucket{le=\"0.5\"} 1", "wait_seconds_bucket{le=\"2\"} 1"])
    }

    @Test func metric_OfAnotherKindThanTheTables_IsCountedAndNotShown() {
        let registry = MetricsRegistry(table: [row("m", .gauge)])
        registry.makeCounter(label: "m", dimensions: []).increment(by: 5)
        #expect(lines(registry).isEmpty)
        #expect(String(decoding: registry.text(), as: UTF8.self).contains("\npostrider_metrics_conflicts_total 1\n"))
    }

    @Test func names_AndLabelValues_AreMadeSafe() {
        let registry = MetricsRegistry()
        let dimensions = [("9to-pic", "a\"b\\c\nd")]
        registry.makeCounter(label: "http.requests total", dimensions: dimensions).increment(by: 1)
        #expect(lines(registry).last == "http_requests_total{_9to_pic=\"a\\\"b\\\\c\\nd\"} 1")
    }

    @Test func lookUp_ReturnsTheSameSeries_WhateverTheOrderOfLabels() {
        let registry = MetricsRegistry()
        let one = registry.makeCounter(label: "c", dimensions: [("a", "1"), ("b", "2")])
        let two = registry.makeCounter(label: "c", dimensions: [("b", "2"), ("a", "1")])
        #expect(one === two)
        #expect(registry.makeCounter(label: "c", dimensions: [("a", "1"), ("b", "3")]) !== one)
    }

    @Test func labelValues_BeyondTheLimit_ShareOneSeries() {
        let registry = MetricsRegistry(table: [row("c", .counter, seriesMax: 3)])
        for topic in 0..<1000 {
            registry.makeCounter(label: "c", dimensions: [("topic", "t\(topic)")]).increment(by: 1)
        }
        // Known ones keep their own series.
        registry.makeCounter(label: "c", dimensions: [("topic", "t1")]).increment(by: 1)
        #expect(
            lines(registry).dropFirst() == [
                "c{topic=\"other\"} 997", "c{topic=\"t0\"} 1", "c{topic=\"t1\"} 2", "c{topic=\"t2\"} 1",
            ])
        let text = String(decoding: registry.text(), as: UTF8.self)
        #expect(text.contains("\npostrider_metrics_overflowed_total 997\n"))
    }

    @Test func anotherKindOfMetric_UnderOneName_IsCountedAndNotShown() {
        let registry = MetricsRegistry()
        registry.makeCounter(label: "m", dimensions: []).increment(by: 5)
        registry.makeMeter(label: "m", dimensions: []).set(99.0)
        registry.makeFloatingPointCounter(label: "m", dimensions: []).increment(by: 99)
        #expect(lines(registry) == ["# TYPE m counter", "m 5"])
        #expect(String(decoding: registry.text(), as: UTF8.self).contains("\npostrider_metrics_conflicts_total 2\n"))
    }

    @Test func destroy_RemovesTheSeries_AndMakesRoom() {
        let registry = MetricsRegistry(table: [row("c", .counter, seriesMax: 1)])
        let first = registry.makeCounter(label: "c", dimensions: [("t", "1")])
        registry.destroyCounter(first)
        #expect(lines(registry).isEmpty)
        registry.makeCounter(label: "c", dimensions: [("t", "2")]).increment(by: 1)
        #expect(lines(registry).last == "c{t=\"2\"} 1")
    }

    @Test func gauges_GoUpAndDown() {
        let registry = MetricsRegistry()
        let meter = registry.makeMeter(label: "m", dimensions: [])
        meter.increment(by: 5)
        meter.decrement(by: 7.5)
        registry.makeRecorder(label: "g", dimensions: [], aggregate: false).record(7 as Int64)
        registry.makeRecorder(label: "g", dimensions: [], aggregate: false).record(3 as Int64)
        let fractions = registry.makeFloatingPointCounter(label: "f_total", dimensions: [])
        fractions.increment(by: 0.25)
        #expect(
            lines(registry) == [
                "# TYPE f_total counter", "f_total 0.25", "# TYPE g gauge", "g 3", "# TYPE m gauge", "m -2.5",
            ])
    }

    @Test func numbers_AreWrittenAsPrometheusReadsThem() {
        let registry = MetricsRegistry()
        let meter = registry.makeMeter(label: "m", dimensions: [])
        for (value, text) in [
            (Double.nan, "NaN"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (0, "0"), (1e15, "1000000000000000"),
            (1e300, "1e+300"), (0.1, "0.1"), (-3, "-3"),
        ] {
            meter.set(value)
            #expect(lines(registry).last == "m \(text)")
        }
    }

    @Test func increments_AreNotLost_WhenThreadsShareASeries() {
        let registry = MetricsRegistry()
        let threads = (0..<4).map { index in
            WorkerThread(name: "metrics-\(index)") {
                let counter = registry.makeCounter(label: "c_total", dimensions: [])
                let meter = registry.makeMeter(label: "m", dimensions: [])
                let timer = registry.makeTimer(label: "t_seconds", dimensions: [])
                for _ in 0..<10_000 {
                    counter.increment(by: 1)
                    meter.increment(by: 1)
                    timer.recordNanoseconds(1_000)
                }
            }
        }
        for thread in threads { thread.join() }
        let text = lines(registry)
        #expect(text.contains("c_total 40000"))
        #expect(text.contains("m 40000"))
        #expect(text.contains("t_seconds_count 40000"))
    }

    @Test func collectors_RunAtEachScrape() {
        let registry = MetricsRegistry(table: [row("lag_records", .gauge, "Records to deliver")])
        let calls = Lock(0)
        registry.collect {
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            return (0..<2).map { lane in
                MetricSample("lag_records", labels: [("lane", "\(lane)")], value: Double(call * 10 + lane))
            }
        }
        _ = registry.text()
        #expect(
            lines(registry) == [
                "# HELP lag_records Records to deliver", "# TYPE lag_records gauge", "lag_records{lane=\"0\"} 20",
                "lag_records{lane=\"1\"} 21",
            ])
    }
}
