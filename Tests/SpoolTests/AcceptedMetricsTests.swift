import Records
import Telemetry
import Testing

@testable import Spool

/// Series of accepted records are bounded, whatever topics clients think of.
@Suite struct AcceptedMetricsTests {
    private func counts(_ topics: String..., bytes: Int) throws -> TopicCounts {
        var counts = TopicCounts()
        for topic in topics { counts.add(try #require(TopicName(topic)), bytes: bytes) }
        return counts
    }

    private func lines(_ registry: MetricsRegistry, _ name: String) -> [String] {
        String(decoding: registry.text(), as: UTF8.self).split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix(name) }
    }

    @Test func recordsAndBytes_AreCountedByTopic() throws {
        let registry = MetricsRegistry()
        let metrics = AcceptedMetrics(registry)
        metrics.count(try counts("a", "b", "a", bytes: 5))
        metrics.count(try counts("b", bytes: 1))
        #expect(
            lines(registry, "postrider_accepted_records_total") == [
                #"postrider_accepted_records_total{topic="a"} 2"#, #"postrider_accepted_records_total{topic="b"} 2"#,
                #"postrider_accepted_records_total{topic="other"} 0"#,
            ])
        #expect(
            lines(registry, "postrider_accepted_bytes_total").prefix(2) == [
                #"postrider_accepted_bytes_total{topic="a"} 10"#, #"postrider_accepted_bytes_total{topic="b"} 6"#,
            ])
    }

    @Test func topics_BeyondTheFirst_ShareOneSeries_AndOverflowNothing() throws {
        let registry = MetricsRegistry()
        let metrics = AcceptedMetrics(registry)
        for number in 0..<1_000 { metrics.count(try counts("t\(number)", bytes: 1)) }
        metrics.count(try counts("t0", "t999", bytes: 1))
        let series = lines(registry, "postrider_accepted_records_total")
        #expect(series.count == AcceptedMetrics.topicsMax + 1)
        #expect(series.contains(#"postrider_accepted_records_total{topic="t0"} 2"#))
        #expect(series.contains(#"postrider_accepted_records_total{topic="other"} 801"#))
        #expect(lines(registry, "postrider_metrics_overflowed_total") == ["postrider_metrics_overflowed_total 0"])
    }
}
