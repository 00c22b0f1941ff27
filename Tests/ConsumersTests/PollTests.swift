import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

@Suite struct PollTests {
    private func harness(
        partitions: Int32 = 1, records: Int = 0, maxInFlight: Int? = nil,
        _ change: (inout ConsumersSettings) -> Void = { _ in }
    ) throws -> Harness {
        var settings = ConsumersSettings()
        change(&settings)
        let h = try Harness(partitions: partitions, settings: settings)
        #expect(try h.define(maxInFlight: maxInFlight)?.get() == .created)
        for _ in 0..<records { h.source.append(h.place()) }
        return h
    }

    @Test func lostAnswer_ComesAgainUnchanged_WhenTheSameClientPolls() throws {
        let h = try harness(records: 5)
        let answer = try h.take(max: 3, client: "a")
        h.clock.advance(by: .seconds(10))
        h.clock.jumpWall(milliseconds: 3_600_000)
        #expect(try h.take(max: 1, maxBytes: 1, client: "a") == answer, "whatever its own limits are")
        #expect(h.acknowledge(.deliveries([answer.id(1)]))?.errorCode == nil)
        var rest = answer
        rest.records.remove(at: 1)
        #expect(try h.take(client: "a") == rest)
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
        #expect(try h.take(client: "a").offsets == [3, 4])
    }

    @Test func repeatedAnswer_LeavesOutWhatCompactionTook_AndTheRestCommits() throws {
        let h = try harness(records: 3)
        let answer = try h.take(client: "a")
        h.source.compact(h.place(), 0)
        #expect(try h.take(client: "a").offsets == [1, 2])
        #expect(h.acknowledge(.deliveries([answer.id(1), answer.id(2)]))?.errorCode == nil)
        #expect(h.committed() == 3)
    }

    @Test func partition_GoesToOneClientAtATime_UntilTheDeadline() throws {
        let h = try harness(records: 4)
        #expect(try h.take(max: 2, client: "a").offsets == [0, 1])
        #expect(try h.take(client: "b").offsets == [])
        #expect(try h.take().offsets == [])
        h.clock.advance(by: .milliseconds(29_999))
        #expect(try h.take(client: "b").offsets == [])
        h.clock.advance(by: .milliseconds(1))
        let again = try h.take(client: "b")
        #expect(again.offsets == [0, 1, 2, 3])
        #expect(again.attempts == [2, 2, 1, 1])
    }

    @Test func wallClockJumps_DoNotTouchDeadlines() throws {
        let h = try harness(records: 1)
        let answer = try h.take(client: "a")
        #expect(answer.records[0].deadlineMs == h.clock.wallMilliseconds() + 30_000)
        for hours: Int64 in [-50, 100] { h.clock.jumpWall(milliseconds: hours * 3_600_000) }
        #expect(try h.take(client: "b").offsets == [])
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
    }

    @Test func waitingPoll_AnswersAtTheFirstRecord_AndWakesOnlyOne() throws {
        let h = try harness()
        let polls = (0..<3).map { _ in h.start(PollRequest(consumer: h.name, wait: .seconds(20))) }
        h.settle()
        #expect(polls.allSatisfy { $0.value == nil })
        let fetches = h.source.fetchCount
        h.source.append(h.place())
        h.settle()
        #expect(try polls[0].value?.get().offsets == [0], "in order of arrival")
        #expect(polls[1].value == nil && polls[2].value == nil)
        #expect(h.source.fetchCount <= fetches + 2)
        h.clock.advance(by: .seconds(20))
        h.settle()
        #expect(try polls[1].value?.get() == PollAnswer())
        #expect(try polls[2].value?.get() == PollAnswer())
    }

    @Test func wait_IsShortenedToTheLimit() throws {
        let h = try harness()
        let poll = h.start(PollRequest(consumer: h.name, wait: .seconds(100_000)))
        h.settle()
        h.clock.advance(by: .seconds(59))
        #expect(poll.value == nil)
        h.clock.advance(by: .seconds(1))
        #expect(try poll.value?.get() == PollAnswer())
    }

    @Test func bytes_AreKept_ButOneRecordComesHoweverLarge() throws {
        let h = try harness(partitions: 2)
        for bytes in [500, 10, 10, 10, 400] { h.source.append(h.place(), bytes: bytes) }
        for expected: [Int64] in [[0], [1, 2, 3], [4]] {
            let answer = try h.take(maxBytes: 100, client: "a")
            #expect(answer.offsets == expected)
            #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
        }
    }

    @Test func answer_GathersFromSeveralPartitions() throws {
        let h = try harness(partitions: 3)
        for partition: Int32 in [0, 1, 2, 0] { h.source.append(h.place(partition)) }
        let answer = try h.take()
        #expect(answer.records.count == 4)
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
        #expect((0..<3).map { h.committed($0) } == [2, 1, 1])
    }

    @Test func maxInFlight_BoundsOpenDeliveries() throws {
        let h = try harness(partitions: 2, maxInFlight: 3)
        for _ in 0..<4 { for partition: Int32 in [0, 1] { h.source.append(h.place(partition)) } }
        let first = try h.take(client: "a")
        #expect(first.records.count == 3)
        #expect(try h.take(client: "b").records.isEmpty)
        #expect(h.acknowledge(.answer(first.ack ?? ""))?.errorCode == nil)
        #expect(try h.take(client: "b").records.count == 3)
    }

    @Test func cancelledOrGoneClient_LeavesNoLease() throws {
        let h = try harness(records: 1)
        let cancelled = h.start(PollRequest(consumer: h.name, wait: .seconds(5), client: "a"))
        cancelled.handle?.cancel()
        h.settle()
        #expect(cancelled.value?.errorCode == "client_left")
        let gone = h.start(PollRequest(consumer: h.name, client: "a", isClientPresent: { false }))
        h.settle()
        #expect(gone.value?.errorCode == "client_left")
        let answer = try h.take(client: "b")
        #expect(answer.attempts == [1])
    }

    @Test func secondPollOfAClientName_IsRefused_UnlessTheFirstOneIsGone() throws {
        let h = try harness()
        let isPresent = Lock(true)
        let first = h.start(
            PollRequest(
                consumer: h.name, wait: .seconds(9), client: "a", isClientPresent: { isPresent.withLock { $0 } }))
        h.settle()
        #expect(h.poll(client: "a")?.errorCode == "client_busy")
        isPresent.withLock { $0 = false }
        #expect(try h.take(client: "a") == PollAnswer())
        #expect(first.value?.errorCode == "client_left")
    }

    @Test func failingFetch_IsAnError_AndRetriedWhileThereIsTime() throws {
        let h = try harness(records: 1)
        h.source.failFetches([FakeOffsetStore.error])
        #expect(h.poll()?.errorCode == "broker_unavailable")
        h.clock.advance(by: .seconds(3))
        h.source.failFetches([FakeOffsetStore.error, FakeOffsetStore.error])
        let poll = h.start(PollRequest(consumer: h.name, wait: .seconds(10)))
        h.settle()
        for _ in 0..<9 {
            h.clock.advance(by: .seconds(1))
            h.settle()
        }
        #expect(try poll.value?.get().offsets == [0])
    }

    @Test func joiningTooLong_IsAnError_NotAnEmptyAnswer() throws {
        let h = try harness(records: 1)
        h.source.holdAssignments()
        let poll = h.start(PollRequest(consumer: h.name))
        h.settle()
        #expect(poll.value == nil)
        h.clock.advance(by: .seconds(10))
        #expect(poll.value?.errorCode == "broker_unavailable")
        let next = h.start(PollRequest(consumer: h.name))
        h.source.assignAll()
        h.settle()
        #expect(try next.value?.get().offsets == [0])
    }

    @Test func unreadableOffsetsOrFailedJoin_AreRetried() throws {
        let h = try harness(records: 1)
        h.source.failSubscriptions([FakeOffsetStore.error])
        h.store.failReads(2)
        let poll = h.start(PollRequest(consumer: h.name, wait: .seconds(20)))
        h.settle()
        for _ in 0..<15 {
            h.clock.advance(by: .seconds(1))
            h.settle()
        }
        #expect(try poll.value?.get().offsets == [0])
    }

    @Test func retention_IsTold_WhenItTookRecordsBeforeDelivery() throws {
        let h = try harness(records: 6)
        let first = try h.take(max: 1, client: "a")
        #expect(h.acknowledge(.answer(first.ack ?? ""))?.errorCode == nil)
        h.source.raiseLow(h.place(), to: 4)
        let answer = try h.take(client: "a")
        #expect(answer.skipped == [SkippedRange(partition: h.place(), offsets: 1..<4)])
        #expect(answer.offsets == [4, 5])
        #expect(try h.take(client: "a") == answer)
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
        #expect(h.committed() == 6)
        h.source.append(h.place())
        #expect(try h.take(client: "a").skipped == [])
    }

    @Test func partitionsAddedLater_StartAtZero() throws {
        let h = try Harness()
        h.source.append(h.place())
        #expect(try h.define(from: .latest)?.get() == .created)
        h.source.create(Harness.topic, partitions: 2)
        h.source.append(h.place(1))
        let answer = try h.take()
        #expect(answer.records.map(\.record.partition) == [h.place(1)])
    }

    @Test func windowThatMetadataCannotHold_HandsOutNothingNew() throws {
        let h = try harness(maxInFlight: 1_000)
        // Far apart, so that a bitmap does not hold them: the runs bound the window.
        for _ in 0..<300 { h.source.append(h.place(), gap: 9_999) }
        let answer = try h.take(max: 1_000, client: "a")
        #expect(answer.records.count == CommitMetadata.runsAlwaysFit)
        let odd = answer.records.enumerated().filter { $0.offset % 2 == 1 }.map(\.element.id)
        #expect(h.acknowledge(.deliveries(odd))?.errorCode == nil)
        let next = try Harness(after: h, epoch: 2)
        #expect(
            try next.take(max: 1_000, client: "a").records.prefix(64).map(\.record.offset)
                == answer.records.enumerated().filter { $0.offset % 2 == 0 }.map(\.element.record.offset))
    }

    @Test func idleConsumer_LeavesItsGroup_AndComesBack() throws {
        let h = try harness(records: 1)
        let answer = try h.take(client: "a")
        h.clock.advance(by: .seconds(29))
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
        #expect(h.source.subscriptionCount == 1)
        h.clock.advance(by: .seconds(299))
        #expect(h.source.subscriptionCount == 1)
        h.clock.advance(by: .seconds(1))
        #expect(h.source.subscriptionCount == 0)
        h.source.append(h.place())
        #expect(try h.take(client: "a").offsets == [1])
    }

    @Test func waitingPolls_AreBounded() throws {
        let h = try harness {
            $0.pollsWaitingPerConsumerMax = 2; $0.pollsWaitingMax = 3
        }
        let polls = (0..<3).map { _ in h.start(PollRequest(consumer: h.name, wait: .seconds(5))) }
        h.settle()
        #expect(polls[2].value?.errorCode == "limit_reached")
        h.clock.advance(by: .seconds(5))
        #expect(try h.take() == PollAnswer())
    }

    @Test(arguments: [(0, 1, "a"), (10_001, 1, "a"), (1, 0, "a"), (1, 16 << 20 | 1, "a"), (1, 1, "")])
    func fieldsOutsideTheirBounds_AreRefused(_ fields: (max: Int, maxBytes: Int, client: String)) throws {
        let h = try harness()
        let result = h.poll(max: fields.max, maxBytes: fields.maxBytes, client: fields.client)
        #expect(result?.errorCode == "invalid_field")
    }

    @Test func stop_AnswersWaitingPolls_AndWaitsForTheCommitUnderWay() throws {
        let h = try harness(records: 1)
        let answer = try h.take(client: "a")
        let poll = h.start(PollRequest(consumer: h.name, wait: .seconds(50)))
        h.settle()
        let boxes = [answer.ack, answer.ack].map { token in
            let box = Box<Result<LeaseResult, ConsumerError>>()
            h.consumers.acknowledge(h.name, .answer(token ?? "")) { box.set($0) }
            return box
        }
        let stopped = Box<Bool>()
        h.consumers.stop { stopped.set(true) }
        #expect(poll.value?.errorCode == "stopping")
        #expect(stopped.value == nil)
        h.settle()
        #expect(stopped.value == true)
        #expect(boxes[0].value?.errorCode == nil && boxes[0].value != nil)
        #expect(boxes[1].value?.errorCode == "stopping")
        #expect(h.committed() == 1)
        #expect(h.poll()?.errorCode == "stopping")
        #expect(h.source.subscriptionCount == 0)
    }
}
