import Broker
import Consumers
import Records
import Telemetry
import Testing

@testable import Gateway

/// Series of consumers are bounded, whatever there is, and no series is there twice.
@Suite struct ConsumerFindingsTests {
    private func consumer(
        _ name: String, lags: [Int64] = [], open: Int = 0, oldestMs: Int64? = nil
    ) throws -> ConsumerDescription {
        let topic = try #require(TopicName("orders"))
        let progress = lags.enumerated().map { number, lag in
            PartitionProgress(
                partition: TopicPartition(topic: topic, partition: Int32(number)), committed: 0, position: nil,
                end: lag,
                lag: lag, leases: 0, oldestUnacknowledgedMs: nil)
        }
        return ConsumerDescription(
            name: try #require(ConsumerName(name)), definition: ConsumerDefinition(topics: [topic]),
            partitions: progress, leases: open, pollsWaiting: 1, oldestUnacknowledgedMs: oldestMs,
            deadLettersWaiting: 0, deadLetterError: nil)
    }

    private func values(_ findings: ConsumerFindings, nowMs: Int64 = 0) -> [String: Double] {
        let samples = findings.samples(nowMs: nowMs)
        let series = samples.map { sample in
            let labels = sample.labels.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
            return (sample.name.dropFirst("postrider_consumer".count) + "{" + labels + "}", sample.value)
        }
        return Dictionary(series.map { (String($0.0), $0.1) }) { _, _ in .nan }
    }

    @Test func consumer_HasItsSeries() throws {
        var findings = ConsumerFindings()
        findings.count = 3
        findings.add(try consumer("shop", lags: [5, 0], open: 2, oldestMs: 7_000))
        #expect(
            values(findings, nowMs: 10_000) == [
                "s{}": 3, "_lag_records{consumer=shop,topic=orders,partition=0}": 5,
                "_lag_records{consumer=shop,topic=orders,partition=1}": 0, "_open_deliveries{consumer=shop}": 2,
                "_polls_waiting{consumer=shop}": 1, "_dead_letters_waiting{consumer=shop}": 0,
                "_oldest_unacknowledged_seconds{consumer=shop}": 3,
            ])
    }

    @Test(arguments: [Int64.min, Int64.max]) func timestamp_OfAClient_MayBeAnything(ms: Int64) throws {
        var findings = ConsumerFindings()
        findings.add(try consumer("shop", oldestMs: ms))
        let age = try #require(values(findings, nowMs: 10_000)["_oldest_unacknowledged_seconds{consumer=shop}"])
        #expect(age >= 0)
    }

    /// Two series of one name and the same labels would make Prometheus refuse the whole scrape.
    @Test func series_AreBounded_AndUnique_AlsoWithAConsumerNamedOther() throws {
        var findings = ConsumerFindings()
        findings.add(try consumer("other", lags: [1], open: 1))
        for number in 1..<500 { findings.add(try consumer("c\(number)", lags: [1, 1, 1], open: 1)) }
        let values = values(findings)
        #expect(!values.values.contains { $0.isNaN }, "a series is there twice")
        #expect(values.keys.count { $0.hasPrefix("_lag_records") } == 1_001)
        #expect(values["_lag_records{consumer=other,topic=other,partition=other}"] == Double(1 + 499 * 3 - 1_000))
        #expect(values.keys.count { $0.hasPrefix("_open_deliveries") } == 200)
        #expect(values["_open_deliveries{consumer=other}"] == Double(1 + 500 - 200))
    }
}
