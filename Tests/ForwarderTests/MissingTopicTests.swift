import Broker
import DeadLetters
import Primitives
import Records
import Spool
import TestSupport
import Testing

@testable import Forwarder

@Suite struct MissingTopicTests {
    private static let error = BrokerError(.retriable, code: "topic_missing", detail: "as told by the test")
    private static let timeout = Duration.seconds(600)

    // MARK: - The time

    @Test func absence_IsTimedFromTheFirstAnswer_AndBeginsAnewAfterSilence() {
        var missing = MissingTopics()
        let topic = topic(0)
        #expect(missing.missed(topic, at: at(0)) == .zero)
        #expect(missing.missed(topic, at: at(60)) == .seconds(60))
        #expect(missing.missed(topic, at: at(120)) == .seconds(120))
        // The broker could not be asked.
        #expect(missing.missed(topic, at: at(181)) == .zero)
        #expect(missing.missed(topic, at: at(200)) == .seconds(19))
        missing.found(topic)
        #expect(missing.isEmpty)
        #expect(missing.missed(topic, at: at(201)) == .zero)
    }

    @Test func absences_AreTimedApart_AndBounded() {
        var missing = MissingTopics()
        let names = (0...MissingTopics.topicsMax).compactMap { TopicName("missing-\($0)") }
        for (number, name) in names.dropLast().enumerated() { _ = missing.missed(name, at: at(Double(number) / 100)) }
        #expect(missing.missed(names[7], at: at(20)) == .seconds(20) - .milliseconds(70))
        _ = missing.missed(names[MissingTopics.topicsMax], at: at(21))
        // The one that was heard of least recently is forgotten, and only it.
        #expect(missing.missed(names[1], at: at(22)) == .seconds(22) - .milliseconds(10))
        #expect(missing.missed(names[0], at: at(22)) == .zero)
    }

    private func at(_ seconds: Double) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000) + .nanoseconds(Int64(seconds * 1e9))
    }

    // MARK: - The lane

    @Test func recordOfAMissingTopic_Waits_AndDiesAfterTheTimeout_WhileWhatIsBeforeItGoesOn() throws {
        let (harness, clock, _) = try missingTopic()
        let first = try harness.accept(between())
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 3))
        // From now on its time counts.
        #expect(harness.waitForStatus(0) { $0.lastError == "topic_missing" })
        for _ in 0..<11 { try pass(.seconds(50), harness, clock) }
        try pass(.seconds(49), harness, clock)
        #expect(harness.deadLetters.count(state: .final) == 0)
        #expect(harness.texts(0) == ["0", "1", "2"])
        #expect(harness.forwarder.status[0].lastError == "topic_missing")
        // The other lanes are not concerned.
        try harness.accept(1, "other")
        #expect(harness.waitForTexts(1, 1))

        clock.advance(by: .seconds(10))
        #expect(harness.waitForCheckpoint(0, first.advanced(by: 7)))
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        harness.stop()
        // Both of the topic's, the second without a time of its own; nobody else's.
        let dead = try harness.deadLetters.list(DeadLetterQuery(limit: 10))
        #expect(dead.map(\.lsn) == [first.advanced(by: 3), first.advanced(by: 5)])
        #expect(dead.allSatisfy { $0.code == "topic_missing" && $0.state == .final })
        #expect(harness.texts(0) == ["0", "1", "2", "4", "6", "7"])
    }

    @Test func topicThatComesBack_GetsItsRecords_AndItsNextAbsenceIsTimedAnew() throws {
        let (harness, clock, isMissing) = try missingTopic()
        try harness.accept(between())
        harness.forwarder.start()
        #expect(harness.waitForTexts(0, 3))
        // From now on its time counts.
        #expect(harness.waitForStatus(0) { $0.lastError == "topic_missing" })
        for _ in 0..<11 { try pass(.seconds(50), harness, clock) }
        isMissing.withLock { $0 = false }
        #expect(harness.waitForTexts(0, 6))
        isMissing.withLock { $0 = true }
        try harness.accept([record(topic(0, 1), "again")])
        for _ in 0..<3 { try pass(.seconds(50), harness, clock) }
        isMissing.withLock { $0 = false }
        #expect(eventually { harness.spool.lagRecords(lane: 0) == 0 })
        harness.stop()
        #expect(harness.log.records(topic(0, 1)).map { text($0.spooled) } == ["3", "5", "again"])
        #expect(harness.deadLetters.count(state: .final) == 0)
    }

    /// Lane 0 has a topic that the broker does not know.
    private func missingTopic() throws -> (Harness, ManualClock, Lock<Bool>) {
        var settings = Harness.shortBackoff
        settings.missingTopicTimeout = Self.timeout
        let clock = ManualClock()
        let harness = try Harness(settings, clock: clock, start: false)
        let isMissing = Lock(true)
        let gone = topic(0, 1)
        harness.sinks.setPlan { call in
            isMissing.withLock { $0 } && call.batch.contains { $0.spooled.topic == gone } ? .refuse(Self.error) : nil
        }
        return (harness, clock, isMissing)
    }

    /// Eight records, "3" and "5" of the missing topic.
    private func between() -> [SpoolRecord] {
        (0..<8).map { record(topic(0, $0 == 3 || $0 == 5 ? 1 : 0), "\($0)") }
    }

    /// Time goes by, and the record is tried again in it.
    private func pass(_ duration: Duration, _ harness: Harness, _ clock: ManualClock) throws {
        clock.advance(by: duration)
        let before = harness.forwarder.status[0].retries
        // Two: the first may have begun before.
        try #require(harness.waitForStatus(0) { $0.retries >= before + 2 && $0.lastError == "topic_missing" })
    }
}
