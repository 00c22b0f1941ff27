import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// `max_deliveries`: what is handed out so often without an acknowledgement goes to the dead-letter topic.
@Suite struct DeadLetterTests {
    static let dead = TopicName("dead")!

    private func harness(
        _ mode: DeliveryMode = .ordered, records: Int = 1, maxDeliveries: Int = 2, partitions: Int32 = 1
    ) throws -> Harness {
        let h = try Harness(partitions: partitions)
        h.source.create(Self.dead, partitions: 1)
        let defined = h.define(mode: mode, maxDeliveries: maxDeliveries, deadLetterTopic: Self.dead)
        #expect(try defined?.get() == .created)
        for _ in 0..<records { h.source.append(h.place()) }
        return h
    }

    private func headers(_ letter: FakeSubmitter.Synced) -> [String: String] {
        letter.record.record.headers.reduce(into: [:]) {
            $0[$1.name] = String(decoding: $1.value ?? [], as: UTF8.self)
        }
    }

    private func offsets(_ h: Harness) -> [String] {
        h.submitter.synced.map { headers($0)["postrider-dead-letter-offset"] ?? "none" }
    }

    /// Hands out and gives back, so often.
    private func waste(_ h: Harness, _ times: Int, reason: String? = nil) throws {
        for _ in 0..<times {
            let answer = try h.take(max: 1, client: "a")
            #expect(h.giveBack(.answer(answer.ack ?? ""), reason: reason)?.errorCode == nil)
        }
    }

    @Test(arguments: DeliveryMode.allCases)
    func usedUpDeliveries_GoToTheDeadLetterTopic_WithWhatHappened(_ mode: DeliveryMode) throws {
        let h = try harness(mode, records: 2)
        try waste(h, 2, reason: "cannot parse: \u{e9}")
        let letter = try #require(h.submitter.synced.first)
        #expect(h.submitter.synced.count == 1)
        #expect(letter.record.topic == Self.dead && letter.record.partition == nil)
        #expect(letter.record.record.value == h.source.partition(h.place()).records[0].record.value)
        #expect(letter.record.record.timestampMs == h.clock.wallMilliseconds(), "retention counts from now")
        #expect(
            headers(letter) == [
                "postrider-dead-letter-topic": "orders", "postrider-dead-letter-partition": "0",
                "postrider-dead-letter-offset": "0", "postrider-dead-letter-timestamp": "0",
                "postrider-dead-letter-attempts": "2", "postrider-dead-letter-consumer": "c",
                "postrider-dead-letter-reason": "cannot parse: \u{e9}",
            ])
        #expect(h.committed() == 1, "synced there, so the commit passes it")
        let next = try h.take(client: "b")
        #expect(next.offsets == [1])
        #expect(h.acknowledge(.answer(next.ack ?? ""))?.errorCode == nil)
        #expect(h.committed() == 2)
    }

    @Test func deadline_UsesDeliveriesUpToo_WithoutAnybodyPolling() throws {
        let h = try harness(records: 1, maxDeliveries: 1)
        _ = try h.take(client: "a")
        h.clock.advance(by: .seconds(30))
        h.settle()
        #expect(
            headers(try #require(h.submitter.synced.first))["postrider-dead-letter-reason"] == "the ack deadline passed"
        )
        #expect(h.committed() == 1)
    }

    @Test func unsyncedDeadLetter_IsPassedByNoCommit_AndHandedToNobody() throws {
        let h = try harness(.shared, records: 2)
        h.submitter.fail([.beforeWriting, .beforeWriting, .afterWriting])
        try waste(h, 2)
        #expect(h.submitter.synced.isEmpty)
        var description = try h.describe()
        #expect(description.deadLettersWaiting == 1 && description.deadLetterError?.hasPrefix("store_failed") == true)
        let other = try h.take(client: "b")
        #expect(other.offsets == [1])
        #expect(h.acknowledge(.answer(other.ack ?? ""))?.errorCode == nil)
        #expect(h.committed() == 0)
        #expect(try h.take(client: "c").offsets == [])
        for _ in 0..<20 {
            h.clock.advance(by: .seconds(1))
            h.settle()
        }
        // The third try was synced, and its answer lost: at least once.
        #expect(offsets(h) == ["0", "0"])
        #expect(h.committed() == 2)
        description = try h.describe()
        #expect(description.deadLettersWaiting == 0 && description.deadLetterError == nil)
    }

    @Test func crashBetweenSyncAndCommit_SubmitsAgain_AndHandsOutNever() throws {
        let h = try harness(records: 1, maxDeliveries: 2)
        try waste(h, 2)
        #expect(h.committed() == 1)
        // As the store was when the dead letter was synced and the commit had not come: attempts were told before.
        h.store.set(
            h.name, h.place(),
            CommittedOffset(
                offset: 0,
                metadata: CommitMetadata(attempts: [AttemptRun(offsets: 0..<1, attempts: 2)]).encode(committed: 0)))
        let next = try Harness(after: h, epoch: 2)
        #expect(try next.take(client: "a").records.isEmpty)
        #expect(offsets(next) == ["0", "0"])
        #expect(next.committed() == 1)
    }

    @Test func attempts_AreToldWithEveryFailure_SoThatACrashForgetsOnlyWhatIsLeased() throws {
        let h = try harness(records: 3, maxDeliveries: 3)
        try waste(h, 2)
        _ = try h.take(max: 1, client: "a")
        let next = try Harness(after: h, epoch: 2)
        let again = try next.take(client: "b")
        #expect(again.offsets == [0, 1, 2])
        #expect(again.attempts == [3, 1, 1], "the third hand-out before the crash was told to nobody")
        next.clock.advance(by: .seconds(30))
        next.settle()
        #expect(offsets(next) == ["0"])
    }

    @Test func failedCommitOfAttempts_IsTriedAgain() throws {
        let h = try harness(records: 1, maxDeliveries: 3)
        h.store.failWrites([.beforeWriting, .beforeWriting])
        try waste(h, 1)
        for _ in 0..<10 {
            h.clock.advance(by: .milliseconds(200))
            h.settle()
        }
        let stored = try #require(h.store.offsets(h.name)[h.place()])
        let metadata = try CommitMetadata(decoding: stored.metadata, committed: 0)
        #expect(metadata.attempts == [AttemptRun(offsets: 0..<1, attempts: 1)])
    }

    @Test func orderedPartition_WaitsForItsDeadLetter_AndOthersGoOn() throws {
        let h = try harness(records: 2, maxDeliveries: 1, partitions: 2)
        h.submitter.fail(Array(repeating: .beforeWriting, count: 3))
        try waste(h, 1)
        h.source.append(h.place(1))
        #expect(try h.take(client: "b").records.map(\.record.partition) == [h.place(1)])
        for _ in 0..<20 {
            h.clock.advance(by: .seconds(1))
            h.settle()
        }
        #expect(try h.take(client: "c").offsets == [1])
    }

    @Test func whatIsBehindANackedRecord_DoesNotDieWithIt() throws {
        let h = try harness(records: 3, maxDeliveries: 2)
        for _ in 0..<2 {
            let answer = try h.take(client: "a")
            #expect(h.giveBack(.deliveries([answer.id(0)]))?.errorCode == nil)
        }
        #expect(offsets(h) == ["0"])
        let rest = try h.take(client: "a")
        #expect(rest.offsets == [1, 2] && rest.attempts == [1, 1])
    }

    @Test func dueDeadLetters_GoInRounds_OneAfterTheOther() throws {
        let h = try harness(.shared, records: 250, maxDeliveries: 1)
        let answer = try h.take(max: 250, client: "a")
        #expect(h.giveBack(.answer(answer.ack ?? ""))?.errorCode == nil)
        #expect(offsets(h) == (0..<250).map(String.init))
        #expect(h.submitter.callCount == 3, "at most deadLettersPerRoundMax each")
        #expect(h.committed() == 250)
    }

    @Test func retention_ThatTakesADeadRecordFirst_DoesNotBlockThePartition() throws {
        let h = try harness(records: 3, maxDeliveries: 1)
        h.submitter.fail([.beforeWriting])
        try waste(h, 1)
        h.source.raiseLow(h.place(), to: 2)
        h.clock.advance(by: .seconds(1))
        h.settle()
        let next = try h.take(client: "b")
        #expect(next.offsets == [2])
        #expect(next.skipped == [SkippedRange(partition: h.place(), offsets: 0..<2)])
    }

    // MARK: Size

    @Test func recordLargerThanTheTopicTakes_LosesItsReason_OrWaitsWithAnAlarm() throws {
        let headers = 22 * 7 + 60 + 20
        let h = try harness(.shared, records: 0, maxDeliveries: 1)
        h.source.setRecordBytesMax(Self.dead, 1_000)
        h.source.append(h.place(), bytes: 1_000 - headers - 60)
        h.source.append(h.place(), bytes: 1_000)
        h.source.append(h.place(), bytes: 1)
        let answer = try h.take(client: "a")
        let reason = String(repeating: "é", count: 500)
        #expect(h.giveBack(.answer(answer.ack ?? ""), reason: reason)?.errorCode == nil)
        #expect(offsets(h) == ["0", "2"])
        for letter in h.submitter.synced {
            #expect(letter.record.record.bytes <= 1_000)
            let kept = try #require(self.headers(letter)["postrider-dead-letter-reason"])
            #expect(reason.hasPrefix(kept) && kept.utf8.count < reason.utf8.count || kept == reason)
        }
        let description = try h.describe()
        #expect(description.deadLettersWaiting == 1)
        #expect(description.deadLetterError?.hasPrefix("dead_letter_too_large") == true)
        #expect(h.committed() == 1)
        // What the operator can do: a larger limit, or no max_deliveries.
        h.source.setRecordBytesMax(Self.dead, 2_000)
        h.clock.advance(by: .seconds(30))
        h.settle()
        #expect(offsets(h) == ["0", "2", "1"])
        #expect(h.committed() == 3)
    }

    @Test func earlierDeath_IsReplacedInTheHeaders() throws {
        let place = TopicPartition(topic: Harness.topic, partition: 0)
        let sent = ["postrider-dead-letter-topic", "postrider-dead-letter-reason", "trace", "postrider-id"]
        let headers = sent.map {
            RecordHeader(name: $0, value: Array("old".utf8)[...])
        }
        let stored = StoredRecord(
            partition: place, offset: 7,
            record: Record(key: nil, value: nil, headers: headers, timestampMs: 5))
        let made = DeadLetterRecord.make(
            DeadLetterDraft(record: stored, attempts: 3, reason: nil), topic: Self.dead, consumer: ConsumerName("c")!,
            nowMs: 9, bytesMax: 10_000)
        let names = try #require(made).record.headers.map(\.name)
        #expect(names.count { $0 == "postrider-dead-letter-topic" } == 1)
        #expect(!names.contains("postrider-dead-letter-reason"), "nothing is known of this death")
        #expect(!names.contains("postrider-id"), "of the record that died")
        #expect(names.first == "trace" && made?.record.value == nil)
    }

    @Test func headers_AreNeverMoreThanTheirBound() throws {
        let longest = String(repeating: "x", count: 249)
        let place = TopicPartition(topic: TopicName(longest)!, partition: .max)
        let stored = StoredRecord(
            partition: place, offset: .max - 1, record: Record(key: nil, value: nil, timestampMs: .min))
        let reason = String(repeating: "r", count: ConsumersSettings().reasonBytesMax)
        let made = DeadLetterRecord.make(
            DeadLetterDraft(record: stored, attempts: .max, reason: reason), topic: Self.dead,
            consumer: ConsumerName(longest)!, nowMs: 0, bytesMax: .max)
        #expect(try #require(made).record.bytes <= DeadLetterRecord.headersBytesMax)
    }

    // MARK: Definitions

    /// A topic that another tool made a moment ago, and one that memory never knew.
    @Test func deadLetterTopic_IsAskedFor_WhereMemoryDoesNotTell() throws {
        let h = try Harness()
        let missing = TopicName("missing")!
        for topic in [Self.dead, missing] { h.source.forget(topic) }
        #expect(h.define(maxDeliveries: 1, deadLetterTopic: missing)?.errorCode == "unknown_topic")
        h.source.create(Self.dead, partitions: 1)
        #expect(try h.define(maxDeliveries: 1, deadLetterTopic: Self.dead)?.get() == .created)
        h.source.append(h.place())
        try waste(h, 1)
        #expect(offsets(h) == ["0"])
    }

    @Test func definition_WantsADeadLetterTopicThatThereIs() throws {
        let h = try Harness()
        #expect(h.define(maxDeliveries: 2)?.errorCode == "unknown_topic", "c.dead-letters is not creatable here")
        #expect(h.define(maxDeliveries: 2, deadLetterTopic: Harness.topic)?.errorCode == "invalid_field")
        #expect(h.define(maxDeliveries: 0, deadLetterTopic: Self.dead)?.errorCode == "invalid_field")
        h.source.create(TopicName("c.dead-letters")!, partitions: 1)
        #expect(try h.define(maxDeliveries: 2)?.get() == .created)
        #expect(try h.describe().definition.deadLetterTopic?.text == "c.dead-letters")
        #expect(try h.define(maxDeliveries: 3, deadLetterTopic: TopicName("c.dead-letters"))?.get() == .updated)
        h.source.create(Self.dead, partitions: 1)
        #expect(h.define(maxDeliveries: 3, deadLetterTopic: Self.dead)?.errorCode == "consumer_conflict")
        #expect(h.define(mode: .shared, maxDeliveries: 3)?.errorCode == "consumer_conflict")
        let replaced = h.define(replacing: true, mode: .shared, maxDeliveries: 3, deadLetterTopic: Self.dead)
        #expect(try replaced?.get() == .updated)
    }

    @Test func nameTooLongForTheDefaultTopic_NeedsOneByName() throws {
        let h = try Harness()
        h.source.create(Self.dead, partitions: 1)
        let name = ConsumerName(String(repeating: "x", count: 249))!
        func define(_ topic: TopicName?) -> Result<DefineOutcome, ConsumerError>? {
            let box = Box<Result<DefineOutcome, ConsumerError>>()
            let definition = ConsumerDefinition(topics: [Harness.topic], maxDeliveries: 1, deadLetterTopic: topic)
            h.consumers.define(name, definition) { box.set($0) }
            h.settle()
            return box.value
        }
        #expect(define(nil)?.errorCode == "invalid_field")
        #expect(try define(Self.dead)?.get() == .created)
    }

    @Test func otherLimit_TakesEffectOnWhatIsThere_AndKeepsOffsets() throws {
        let h = try harness(records: 2, maxDeliveries: 5)
        try waste(h, 3)
        h.submitter.fail([.beforeWriting])
        #expect(try h.define(maxDeliveries: 2, deadLetterTopic: Self.dead)?.get() == .updated)
        #expect(try h.describe().deadLettersWaiting == 1)
        #expect(try h.define(deadLetterTopic: Self.dead)?.get() == .updated, "no limit: it is handed out again")
        let again = try h.take(client: "b")
        #expect(again.offsets == [0, 1] && again.attempts == [4, 1])
        #expect(h.submitter.synced.isEmpty && h.committed() == 0)
    }
}
