import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

@Suite struct DefinitionTests {
    static let other = TopicName("payments")!

    @Test(arguments: [(StartPosition.earliest, Int64(2)), (.latest, 5), (.time(ms: 30), 3), (.time(ms: 999), 5)])
    func start_IsCommittedForEveryPartition_BeforeDefineCompletes(_ start: StartPosition, _ expected: Int64) throws {
        let h = try Harness(partitions: 2)
        for ms: Int64 in [0, 10, 20, 30, 40] { h.source.append(h.place(), timestampMs: ms) }
        h.source.raiseLow(h.place(), to: 2)
        #expect(try h.define(from: start)?.get() == .created)
        #expect(h.committed(0) == expected)
        #expect(h.committed(1) == 0)
    }

    @Test func secondDefine_UpdatesLimits_AndMovesNothing() throws {
        let h = try Harness()
        h.source.append(h.place())
        #expect(try h.define()?.get() == .created)
        #expect(try h.define(from: .latest, ackDeadlineMs: 5_000)?.get() == .updated)
        #expect(h.committed() == 0)
        let answer = try h.take()
        #expect(answer.records[0].deadlineMs == h.clock.wallMilliseconds() + 5_000)
        let next = try Harness(after: h, epoch: 2)
        #expect(try next.describe().definition.ackDeadlineMs == 5_000)
    }

    @Test func otherTopics_AreAConflict_AndReplacedOnRequest() throws {
        let h = try Harness()
        h.source.create(Self.other, partitions: 1)
        for _ in 0..<3 { h.source.append(h.place()) }
        #expect(try h.define()?.get() == .created)
        let answer = try h.take(max: 1, client: "a")
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
        let open = try h.take(max: 1, client: "a")
        #expect(h.define(topics: [Self.other])?.errorCode == "consumer_conflict")
        #expect(try h.define(replacing: true, topics: [Self.other, Harness.topic])?.get() == .updated)
        #expect(h.acknowledge(.answer(open.ack ?? ""))?.errorCode == "leases_lost")
        #expect(h.committed() == 1, "a topic that stays keeps its offsets")
        #expect(try h.take(client: "b").offsets == [1, 2])
        #expect(try h.define(replacing: true, topics: [Self.other])?.get() == .updated)
        #expect(h.committed() == nil)
    }

    @Test func failedReplacement_LeavesTheOldDefinition() throws {
        let h = try Harness()
        h.source.append(h.place())
        #expect(h.define() != nil)
        #expect(h.define(replacing: true, topics: [TopicName("none")!])?.errorCode == "unknown_topic")
        #expect(try h.take().offsets == [0])
    }

    @Test func badDefinitions_AreRefused() throws {
        let h = try Harness()
        #expect(h.define(topics: [])?.errorCode == "invalid_field")
        #expect(h.define(topics: [Harness.topic, Harness.topic])?.errorCode == "invalid_field")
        #expect(h.define(ackDeadlineMs: 999)?.errorCode == "invalid_field")
        #expect(h.define(maxInFlight: 0)?.errorCode == "invalid_field")
        #expect(h.define(topics: [TopicName("none")!])?.errorCode == "unknown_topic")
        h.store.failWrites([.beforeWriting])
        #expect(h.define()?.errorCode == "broker_unavailable")
        #expect(try h.consumers.list() == [])
        #expect(h.poll()?.errorCode == "unknown_consumer")
        #expect(h.acknowledge(.answer("1.1"))?.errorCode == "unknown_consumer")
    }

    @Test func pollsWithTopics_DefineOnTheWay_AllAtOnce() throws {
        let h = try Harness()
        h.source.append(h.place())
        let polls = (0..<5).map { _ in h.start(PollRequest(consumer: h.name, topics: [Harness.topic])) }
        h.settle()
        let counts = try polls.map { try #require($0.value).get().records.count }
        #expect(counts.sorted() == [0, 0, 0, 0, 1])
        let other = h.start(PollRequest(consumer: h.name, topics: [Self.other]))
        #expect(other.value?.errorCode == "consumer_conflict")
    }

    @Test func deletion_ForgetsOffsets_AndAnswersPolls() throws {
        let h = try Harness()
        #expect(h.define() != nil)
        let poll = h.start(PollRequest(consumer: h.name, wait: .seconds(50)))
        h.settle()
        h.store.failWrites([.beforeWriting])
        for expected in ["broker_unavailable", "deleted"] {
            let deleted = Box<String>()
            h.consumers.delete(h.name) { result in
                if case .failure(let error) = result { deleted.set(error.code) } else { deleted.set("deleted") }
            }
            h.settle()
            #expect(deleted.value == expected)
            #expect(poll.value?.errorCode == "unknown_consumer")
            #expect(try h.consumers.list().isEmpty == (expected == "deleted"))
        }
        #expect(h.store.offsets(h.name).isEmpty)
    }

    @Test func consumers_AreBounded() throws {
        var settings = ConsumersSettings()
        settings.consumersMax = 1
        let h = try Harness(settings: settings)
        #expect(h.define() != nil)
        let box = Box<Result<DefineOutcome, ConsumerError>>()
        h.consumers.define(ConsumerName("d")!, ConsumerDefinition(topics: [Harness.topic])) { box.set($0) }
        h.settle()
        #expect(box.value?.errorCode == "limit_reached")
    }

    @Test func unreadableDefinition_IsRefusedByName_AndTheOthersAreServed() throws {
        let h = try Harness()
        h.source.append(h.place())
        #expect(h.define() != nil)
        let bad = ConsumerName("bad")!
        h.store.setDefinition(bad, [99])
        let next = try Harness(after: h, epoch: 2)
        #expect(try next.take().offsets == [0])
        let poll = next.start(PollRequest(consumer: bad))
        #expect(poll.value?.errorCode == "consumer_unreadable")
    }

    @Test func seek_MovesAndVoidsLeases_AndOldAcknowledgementsLose() throws {
        let h = try Harness()
        for _ in 0..<4 { h.source.append(h.place()) }
        #expect(h.define() != nil)
        let first = try h.take(max: 2, client: "a")
        #expect(h.acknowledge(.answer(first.ack ?? ""))?.errorCode == nil)
        let open = try h.take(client: "a")
        #expect(try h.seek(.start(.earliest))?.get() == [h.place(): 0])
        #expect(h.acknowledge(.answer(open.ack ?? ""))?.errorCode == "leases_lost")
        #expect(h.acknowledge(.answer(first.ack ?? ""))?.errorCode == "leases_lost")
        #expect(h.committed() == 0)
        #expect(try h.take(client: "a").attempts == [1, 1, 1, 1])
        #expect(try h.seek(.offsets([h.place(): 3]))?.get() == [h.place(): 3])
        #expect(try h.take(client: "a").offsets == [3])
        #expect(h.seek(.offsets([h.place(7): 0]))?.errorCode == "invalid_field")
        #expect(h.seek(.offsets([h.place(): -1]))?.errorCode == "invalid_field")
        h.store.failWrites([.beforeWriting])
        #expect(h.seek(.start(.latest))?.errorCode == "broker_unavailable")
        #expect(h.committed() == 3)
    }

    @Test func description_TellsProgress() throws {
        let h = try Harness()
        for ms: Int64 in [100, 200, 300] { h.source.append(h.place(), timestampMs: ms) }
        #expect(h.define() != nil)
        #expect(try h.describe().partitions[0].position == nil)
        let answer = try h.take(max: 2, client: "a")
        #expect(h.acknowledge(.deliveries([answer.id(0)]))?.errorCode == nil)
        #expect(
            try h.describe().partitions == [
                PartitionProgress(
                    partition: h.place(), committed: 1, position: 2, end: 3, lag: 2, leases: 1,
                    oldestUnacknowledgedMs: 200)
            ])
    }

    @Test func definition_SurvivesItsCodec_AndBrokenBytesThrow() throws {
        let definition = ConsumerDefinition(
            topics: [Self.other, Harness.topic], from: .time(ms: 7), ackDeadlineMs: 9_000, maxInFlight: 5)
        let bytes = ConsumerDefinitionCodec.encode(definition)
        #expect(try ConsumerDefinitionCodec.decode(bytes) == definition)
        for count in 0..<bytes.count {
            #expect(throws: MalformedBytes.self) { try ConsumerDefinitionCodec.decode(bytes.prefix(count)) }
        }
    }
}
