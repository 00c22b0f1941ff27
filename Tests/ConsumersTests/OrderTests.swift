import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// What comes together: commits that fail, nacks, deadlines, other limits, retention, polls on their way. The order
/// holds all the same, and nothing is acknowledged that nobody spoke of.
@Suite struct OrderTests {
    private func harness(
        _ mode: DeliveryMode, records: Int, partitions: Int32 = 1, maxDeliveries: Int? = nil
    ) throws -> Harness {
        let h = try Harness(partitions: partitions)
        h.source.create(PromiseModel.deadLetters, partitions: 1)
        let defined = h.define(
            mode: mode, maxDeliveries: maxDeliveries,
            deadLetterTopic: maxDeliveries.map { _ in PromiseModel.deadLetters })
        #expect(try defined?.get() == .created)
        for _ in 0..<records { h.source.append(h.place()) }
        return h
    }

    private func call(
        _ body: (@escaping Consumers.LeaseCompletion) -> Void
    ) -> Box<Result<LeaseResult, ConsumerError>> {
        let box = Box<Result<LeaseResult, ConsumerError>>()
        body { box.set($0) }
        return box
    }

    /// What was acknowledged in the middle, in a commit that fails, and what was given back before it.
    @Test func orderedRecords_ComeBackTogether_WhenANackMeetsAFailingCommit() throws {
        let h = try harness(.ordered, records: 5)
        let answer = try h.take(client: "a")
        let first = call { h.consumers.acknowledge(h.name, .deliveries([answer.id(0)]), completion: $0) }
        // Both wait for that commit, and then go together.
        let failing = call { h.consumers.acknowledge(h.name, .deliveries([answer.id(3)]), completion: $0) }
        let nack = call {
            h.consumers.giveBack(h.name, .answer(answer.ack ?? ""), completion: $0)
        }
        h.callbacks.runOne()
        #expect(try first.value?.get().outcomes == [.acknowledged])
        #expect(try nack.value?.get().outcomes == [.returned])
        h.store.failWrites([.beforeWriting])
        h.settle()
        #expect(failing.value?.errorCode == "broker_unavailable")
        let again = try h.take(client: "a")
        #expect(again.offsets == [1, 2, 3, 4], "3 is not handed out before 1 and 2")
        #expect(again.attempts == [2, 2, 1, 2])
        #expect(h.acknowledge(.deliveries([answer.id(3)]))?.errorCode == "leases_lost", "the old delivery is void")
        #expect(h.acknowledge(.answer(again.ack ?? ""))?.errorCode == nil)
        #expect(h.committed() == 5)
    }

    /// The client gave 1 back, not 3: the answer's token must not say that all of the rest is done.
    @Test func answer_IsNotWholeAnyMore_WhenAFailedCommitGivesRecordsBack() throws {
        let h = try harness(.ordered, records: 5)
        let answer = try h.take(client: "a")
        let first = call { h.consumers.acknowledge(h.name, .deliveries([answer.id(4)]), completion: $0) }
        let failing = call { h.consumers.acknowledge(h.name, .deliveries([answer.id(3)]), completion: $0) }
        let nack = call { h.consumers.giveBack(h.name, .deliveries([answer.id(1)]), completion: $0) }
        h.callbacks.runOne()
        h.store.failWrites([.beforeWriting])
        h.settle()
        #expect(first.value?.errorCode == nil && nack.value?.errorCode == nil)
        #expect(failing.value?.errorCode == "broker_unavailable")
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == "leases_lost", "3 is in line again")
        #expect(h.committed() == 1)
        #expect(try h.take(client: "a").offsets == [1, 2, 3])
    }

    @Test func orderedRecords_ComeBackTogether_WhenAnExtensionMeetsAFailedCommit_PastTheDeadline() throws {
        let h = try harness(.ordered, records: 3)
        let answer = try h.take(client: "a")
        h.store.failWrites([.beforeWriting])
        let failing = call { h.consumers.acknowledge(h.name, .deliveries([answer.id(2)]), completion: $0) }
        h.clock.advance(by: .seconds(30))
        // 0 and 1 are in line again; 2 would be alone with a new deadline.
        let late = call {
            h.consumers.extend(h.name, .deliveries([answer.id(2)]), deadline: .seconds(60), completion: $0)
        }
        h.settle()
        #expect(failing.value?.errorCode == "broker_unavailable")
        #expect(late.value?.errorCode == "leases_lost")
        let again = try h.take(client: "a")
        #expect(again.offsets == [0, 1, 2] && again.attempts == [2, 2, 2])
    }

    /// A lower `max_deliveries` makes the first record of a poll on its way a dead one.
    @Test func orderedPoll_HandsOutNothingBehindARecord_ThatDiesOnTheWay() throws {
        let h = try harness(.ordered, records: 3, maxDeliveries: 5)
        for _ in 0..<2 { #expect(h.giveBack(.deliveries([try h.take().id(0)]))?.errorCode == nil) }
        let poll = h.start(PollRequest(consumer: h.name))
        let update = Box<Result<DefineOutcome, ConsumerError>>()
        let definition = ConsumerDefinition(
            topics: [Harness.topic], maxDeliveries: 2, deadLetterTopic: PromiseModel.deadLetters)
        h.consumers.define(h.name, definition) { update.set($0) }
        for _ in 0..<10 where update.value == nil { h.callbacks.runOne(at: h.callbacks.count - 1) }
        #expect(try update.value?.get() == .updated && poll.value == nil)
        h.settle()
        #expect(try poll.value?.get().offsets == [], "0 was not in the dead-letter topic yet")
        #expect(h.submitter.synced.count == 1)
        #expect(try h.take().offsets == [1, 2])
    }

    /// One poll holds new records of a partition that another poll, for its answer there, finds gone.
    @Test func retention_FoundByARepeatedPoll_TakesRecordsFromAPollOnItsWay() throws {
        let h = try harness(.shared, records: 1, partitions: 2)
        #expect(try h.take(client: "a").offsets == [0])
        for _ in 0..<2 { h.source.append(h.place(0)) }
        h.source.append(h.place(1))
        h.settle()
        let other = h.start(PollRequest(consumer: h.name, client: "b"))
        h.callbacks.runOne()
        h.source.raiseLow(h.place(0), to: 3)
        let repeated = h.start(PollRequest(consumer: h.name, client: "a"))
        #expect(h.callbacks.count == 2, "b asks for partition 1, a for partition 0")
        h.callbacks.runOne(at: 1)
        h.settle()
        let answer = try #require(other.value).get()
        #expect(answer.records.map(\.record.partition) == [h.place(1)])
        #expect(answer.skipped == [])
        #expect(try repeated.value?.get().offsets == [])
        h.source.append(h.place(0))
        let next = try h.take()
        #expect(next.offsets == [3])
        #expect(next.skipped == [SkippedRange(partition: h.place(0), offsets: 0..<3)], "told with the next record")
    }

    /// An acknowledgement by offset waits for a commit, and its client gets records, new to it, before its turn comes.
    @Test func offsets_SpeakOfTheAnswerThatTheClientHad_NotOfALaterOne() throws {
        let h = try harness(.shared, records: 3)
        #expect(try h.take(max: 1, client: "b").offsets == [0])
        #expect(try h.take(max: 1, client: "a").offsets == [1])
        h.clock.advance(by: .seconds(20))
        let last = try h.take(client: "c")
        h.clock.advance(by: .seconds(10))
        let commit = call { h.consumers.acknowledge(h.name, .answer(last.ack ?? ""), completion: $0) }
        let place = RecordPlace(partition: h.place(), offset: 1)
        let late = call { h.consumers.acknowledge(h.name, .offsets([place], client: "a"), completion: $0) }
        let poll = h.start(PollRequest(consumer: h.name, client: "a"))
        for _ in 0..<10 where poll.value == nil { h.callbacks.runOne(at: 1) }
        #expect(try poll.value?.get().offsets == [0, 1])
        #expect(commit.value == nil)
        h.settle()
        #expect(try commit.value?.get().outcomes == [.acknowledged])
        #expect(late.value?.errorCode == "leases_lost")
        #expect(h.committed() == 0, "nobody spoke of 0")
    }
}
