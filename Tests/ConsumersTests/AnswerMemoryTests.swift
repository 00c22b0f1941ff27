import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// What a poll's answer costs is there before anything is leased.
@Suite struct AnswerMemoryTests {
    private func harness(partitions: Int32 = 1, records: Int = 0) throws -> Harness {
        let h = try Harness(partitions: partitions)
        #expect(try h.define()?.get() == .created)
        for _ in 0..<records { h.source.append(h.place()) }
        return h
    }

    private func start(
        _ h: Harness, _ memory: AnswerMemory, max: Int = 100, wait: Duration = .seconds(30), client: String? = nil
    ) -> Box<Result<PollAnswer, ConsumerError>> {
        let poll = h.start(PollRequest(consumer: h.name, max: max, wait: wait, client: client, memory: memory))
        h.settle()
        return poll
    }

    @Test func answer_IsReservedAtItsCost_BeforeLeasing() throws {
        let h = try harness(records: 3)
        let memory = FakeMemory(bytesMax: 1_000)
        let poll = start(h, memory.forPoll(emptyBytes: 10, recordBytes: 100))
        #expect(try poll.value?.get().offsets == [0, 1, 2])
        #expect(memory.asked == [310])
    }

    @Test func repeatedAnswer_AndSkippedRanges_AreReservedAtTheirCost() throws {
        let h = try harness(records: 4)
        h.source.raiseLow(h.place(), to: 1)
        let memory = FakeMemory(bytesMax: 10_000)
        let cost = memory.forPoll(emptyBytes: 10, recordBytes: 100)
        let first = try #require(start(h, cost, client: "a").value).get()
        #expect(first.offsets == [1, 2, 3])
        #expect(first.skipped.count == 1)
        #expect(try start(h, cost, max: 1, client: "a").value?.get() == first)
        #expect(h.acknowledge(.deliveries([first.id(1)]))?.errorCode == nil)
        #expect(try start(h, cost, client: "a").value?.get().offsets == [2, 3])
        #expect(memory.asked == [317, 317, 217])
    }

    @Test func batch_EndsBeforeTheAnswersLimit_ButOneRecordComesWhateverItCosts() throws {
        let cases: [(recordBytes: Int, answerBytesMax: Int, count: Int)] = [
            (100, 1_000, 5), (100, 510, 5), (100, 509, 4), (100, 310, 3), (100, 110, 1), (100, 109, 1), (100, 1, 1),
        ]
        for (recordBytes, answerBytesMax, count) in cases {
            let h = try harness(records: 5)
            let memory = FakeMemory(bytesMax: 10_000)
            let cost = memory.forPoll(emptyBytes: 10, recordBytes: recordBytes, answerBytesMax: answerBytesMax)
            var offsets: [Int64] = []
            let first = try #require(start(h, cost, client: "a").value).get()
            #expect(first.records.count == count, "\(answerBytesMax)")
            offsets += first.offsets
            #expect(h.acknowledge(.answer(first.ack ?? ""))?.errorCode == nil)
            while offsets.count < 5 {
                let next = try #require(start(h, cost, client: "a").value).get()
                try #require(!next.records.isEmpty)
                offsets += next.offsets
                #expect(h.acknowledge(.answer(next.ack ?? ""))?.errorCode == nil)
            }
            #expect(offsets == [0, 1, 2, 3, 4])
            #expect(memory.asked.allSatisfy { $0 <= max(answerBytesMax, 110) }, "\(memory.asked)")
        }
    }

    @Test func batch_EndsBeforeTheAnswersLimit_OverSeveralPartitions() throws {
        let h = try harness(partitions: 3)
        for partition: Int32 in [0, 1, 2] { for _ in 0..<2 { h.source.append(h.place(partition)) } }
        let memory = FakeMemory(bytesMax: 10_000)
        let cost = memory.forPoll(recordBytes: 100, answerBytesMax: 390)
        let answer = try #require(start(h, cost).value).get()
        #expect(answer.records.count == 3)
        #expect(memory.asked == [300])
        #expect(try h.take().records.count == 2, "the third partition")
    }

    @Test func poll_WaitsForMemory_LeasesNothing_AndIsAnsweredOnceItIsGranted() throws {
        let h = try harness(records: 2)
        let memory = FakeMemory(bytesMax: 0)
        let poll = start(h, memory.forPoll(recordBytes: 100), client: "a")
        #expect(poll.value == nil)
        #expect(try h.describe().leases == 0)
        // More came, but the poll does not ask for more than it waited for.
        h.source.append(h.place())
        memory.grantOne()
        h.settle()
        #expect(try poll.value?.get().offsets == [0, 1])
        #expect(memory.asked == [200])
        #expect(memory.given == [])
    }

    @Test func grant_ThatComesWhileThePollIsAsking_IsNotLost() throws {
        let h = try harness(records: 1)
        let granted = Lock(0)
        var memory = AnswerMemory()
        memory.reserve = { _, reserved in
            granted.withLock { $0 += 1 }
            reserved()
            return false
        }
        let poll = start(h, memory)
        #expect(try poll.value?.get().offsets == [0])
        #expect(granted.withLock { $0 } == 1)
    }

    @Test func oneGrant_WakesOnePoll() throws {
        let h = try harness(partitions: 8)
        for partition in 0..<Int32(8) { h.source.append(h.place(partition)) }
        let memory = FakeMemory(bytesMax: 0)
        let polls = (0..<8).map { _ in start(h, memory.forPoll(recordBytes: 100), max: 1) }
        #expect(memory.waitingCount == 8)
        let fetches = h.source.fetchCount
        memory.grantOne()
        h.settle()
        #expect(polls.filter { $0.value != nil }.count == 1)
        #expect(h.source.fetchCount == fetches + 1)
        for _ in 1..<8 { memory.grantOne() }
        h.settle()
        #expect(try polls.allSatisfy { try $0.value?.get().records.count == 1 })
    }

    @Test func memory_IsGivenBack_WhenOthersTookTheRecords() throws {
        let h = try harness(records: 1)
        let memory = FakeMemory(bytesMax: 0)
        let poll = start(h, memory.forPoll(recordBytes: 100))
        let other = try h.take()
        #expect(other.offsets == [0])
        memory.grantOne()
        h.settle()
        #expect(poll.value == nil)
        #expect(memory.used == 0)
        #expect(memory.given == [100])
        // It waits for records now, not for memory.
        #expect(h.acknowledge(.answer(other.ack ?? ""))?.errorCode == nil)
        h.clock.advance(by: .seconds(30))
        h.settle()
        #expect(try poll.value?.get() == PollAnswer())
    }

    @Test func poll_ThatNeedsMoreThanItWaitedFor_GivesBackFirst() throws {
        let h = try harness(records: 2)
        let memory = FakeMemory(bytesMax: 0)
        var cost = memory.forPoll(recordBytes: 0)
        cost.recordBytes = { $0.offset == 0 ? 100 : 300 }
        let poll = start(h, cost, max: 1)
        #expect(memory.asked == [100])
        let other = try h.take(max: 1)
        #expect(h.acknowledge(.answer(other.ack ?? ""))?.errorCode == nil)
        memory.grantOne()
        h.settle()
        #expect(memory.asked == [100, 300])
        #expect(memory.given == [100])
        memory.grantOne()
        h.settle()
        #expect(try poll.value?.get().offsets == [1])
        #expect(memory.used == 300)
    }

    @Test func memoryThatNeverComes_IsAnErrorWhenTheWaitIsOver_NotAnEmptyAnswer() throws {
        let h = try harness(records: 1)
        let memory = FakeMemory(bytesMax: 0)
        let poll = start(h, memory.forPoll(recordBytes: 100), wait: .seconds(5))
        h.clock.advance(by: .seconds(5))
        #expect(poll.value?.errorCode == "limit_reached")
        // Too late: the poll has ended, and whoever made it frees what it took.
        memory.grantOne()
        h.settle()
        #expect(try h.take().offsets == [0])
    }
}
