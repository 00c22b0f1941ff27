import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

/// Giving back, extending, and mode `shared`.
@Suite struct LeaseTests {
    private func harness(
        _ mode: DeliveryMode, records: Int, maxInFlight: Int? = nil, partitions: Int32 = 1,
        _ change: (inout ConsumersSettings) -> Void = { _ in }
    ) throws -> Harness {
        var settings = ConsumersSettings()
        change(&settings)
        let h = try Harness(partitions: partitions, settings: settings)
        #expect(try h.define(maxInFlight: maxInFlight, mode: mode)?.get() == .created)
        for _ in 0..<records { h.source.append(h.place()) }
        return h
    }

    private func outcomes(_ result: Result<LeaseResult, ConsumerError>?) -> [LeaseOutcome]? {
        switch result {
        case .success(let result), .failure(.leasesLost(let result)): result.outcomes
        case .failure, nil: nil
        }
    }

    // MARK: Giving back

    @Test(arguments: DeliveryMode.allCases)
    func nack_HandsOutAgainAtOnce_AndTheOldDeliveryLoses(_ mode: DeliveryMode) throws {
        let h = try harness(mode, records: 1)
        let answer = try h.take(client: "a")
        let result = try #require(h.giveBack(.deliveries([answer.id(0)]))).get()
        #expect(result == LeaseResult(outcomes: [.returned], committed: [h.place(): 0]))
        let again = try h.take(client: "b")
        #expect(again.offsets == [0] && again.attempts == [2])
        for late in [LeaseSelector.answer(answer.ack ?? ""), .deliveries([answer.id(0)])] {
            #expect(h.acknowledge(late)?.errorCode == "leases_lost")
            #expect(h.giveBack(late)?.errorCode == "leases_lost")
            #expect(h.extend(late, by: .seconds(60))?.errorCode == "leases_lost")
        }
        #expect(h.committed() == 0)
        #expect(h.acknowledge(.answer(again.ack ?? ""))?.errorCode == nil)
        #expect(h.committed() == 1)
    }

    @Test func orderedNack_GivesBackWhatIsBehind_InOrder_AndCountsOnlyWhatWasNamed() throws {
        let h = try harness(.ordered, records: 5)
        let answer = try h.take(client: "a")
        #expect(outcomes(h.giveBack(.deliveries([answer.id(2)]))) == [.returned])
        #expect(try h.take(client: "b").offsets == [], "0 and 1 are leased yet")
        #expect(try h.take(client: "a").offsets == [0, 1])
        #expect(h.acknowledge(.deliveries([answer.id(3)]))?.errorCode == "leases_lost")
        #expect(outcomes(h.acknowledge(.answer(answer.ack ?? ""))) == [.acknowledged])
        let rest = try h.take(client: "b")
        #expect(rest.offsets == [2, 3, 4])
        #expect(rest.attempts == [2, 1, 1], "nobody could have been done with what is behind")
    }

    @Test func orderedNack_WithADelay_HoldsThePartitionAlone() throws {
        let h = try harness(.ordered, records: 2, partitions: 2)
        let answer = try h.take(client: "a")
        h.source.append(h.place(1))
        #expect(outcomes(h.giveBack(.answer(answer.ack ?? ""), delay: .seconds(10))) == [.returned])
        let other = try h.take(client: "b")
        #expect(other.records.map(\.record.partition) == [h.place(1)])
        h.source.append(h.place())
        let waiting = h.start(PollRequest(consumer: h.name, wait: .seconds(30)))
        h.settle()
        h.clock.advance(by: .milliseconds(9_999))
        h.settle()
        #expect(waiting.value == nil, "nothing new overtakes")
        h.clock.advance(by: .milliseconds(1))
        h.settle()
        let again = try #require(waiting.value).get()
        #expect(again.offsets == [0, 1, 2])
        #expect(again.attempts == [2, 2, 1])
    }

    @Test func sharedNack_WithADelay_HoldsThatRecordAlone() throws {
        let h = try harness(.shared, records: 4)
        let answer = try h.take(client: "a")
        #expect(outcomes(h.giveBack(.deliveries([answer.id(1), answer.id(2)]), delay: .seconds(10))).map(\.count) == 2)
        #expect(outcomes(h.giveBack(.deliveries([answer.id(3)]))) == [.returned])
        // 1 and 2 are between what is in line and must not be taken for vanished.
        #expect(outcomes(h.giveBack(.deliveries([answer.id(0)]))) == [.returned])
        #expect(try h.take(client: "b").offsets == [0, 3])
        h.clock.advance(by: .seconds(10))
        let again = try h.take(client: "c")
        #expect(again.offsets == [1, 2] && again.attempts == [2, 2])
    }

    @Test func nack_OfWhatIsAcknowledged_OrOfNobodys_IsLost() throws {
        let h = try harness(.shared, records: 2)
        let answer = try h.take(client: "a")
        #expect(h.acknowledge(.deliveries([answer.id(0)]))?.errorCode == nil)
        let forged = DeliveryID(
            answer: AnswerToken(epoch: 1, serial: 99), topicIndex: 0, partition: 0, offset: 0, attempt: 1)
        let items = [answer.id(0), answer.id(1), answer.id(1), forged.description]
        #expect(outcomes(h.giveBack(.deliveries(items))) == [.leaseLost, .returned, .returned, .leaseLost])
        #expect(h.giveBack(.answer(answer.ack ?? ""))?.errorCode == "leases_lost")
        #expect(h.committed() == 1)
    }

    @Test func nacks_AreChecked() throws {
        let h = try harness(.ordered, records: 1)
        let token = LeaseSelector.answer(try h.take().ack ?? "")
        #expect(h.giveBack(token, delay: .seconds(-1))?.errorCode == "invalid_field")
        #expect(h.giveBack(token, delay: .seconds(12 * 3600 + 1))?.errorCode == "invalid_field")
        #expect(h.giveBack(token, reason: String(repeating: "é", count: 513))?.errorCode == "invalid_field")
        #expect(h.giveBack(.deliveries([]))?.errorCode == "invalid_field")
        #expect(h.extend(token, by: .milliseconds(999))?.errorCode == "invalid_field")
        #expect(h.extend(token, by: .seconds(12 * 3600 + 1))?.errorCode == "invalid_field")
        #expect(outcomes(h.extend(token, by: .seconds(12 * 3600))) == [.extended])
        #expect(outcomes(h.giveBack(token, delay: .seconds(12 * 3600))) == [.returned])
    }

    @Test func repeatedAcknowledgement_AfterANack_NeverClaimsWhatWasGivenBack() throws {
        let h = try harness(.shared, records: 2)
        let answer = try h.take(client: "a")
        #expect(outcomes(h.giveBack(.deliveries([answer.id(0)]), delay: .seconds(5))) == [.returned])
        let token = LeaseSelector.answer(answer.ack ?? "")
        #expect(outcomes(h.acknowledge(token)) == [.acknowledged], "what is left of it")
        #expect(outcomes(h.acknowledge(token)) == [.acknowledged], "repeated")
        #expect(h.acknowledge(.deliveries([answer.id(0)]))?.errorCode == "leases_lost")
        #expect(h.committed() == 0)
    }

    // MARK: Extending

    @Test func extension_MovesTheDeadline_BothWays() throws {
        let h = try harness(.ordered, records: 2)
        let answer = try h.take(client: "a")
        h.clock.advance(by: .seconds(20))
        #expect(outcomes(h.extend(.deliveries([answer.id(0)]), by: .seconds(60))) == [.extended])
        h.clock.advance(by: .seconds(59))
        let again = try h.take(client: "a")
        #expect(again.offsets == [0, 1], "in order they end together")
        #expect(again.records.allSatisfy { $0.deadlineMs == h.clock.wallMilliseconds() + 1_000 })
        #expect(outcomes(h.extend(.answer(answer.ack ?? ""), by: .seconds(2))) == [.extended])
        h.clock.advance(by: .seconds(2))
        #expect(try h.take(client: "b").offsets == [0, 1])
    }

    @Test func sharedExtension_IsForThatRecord() throws {
        let h = try harness(.shared, records: 3)
        let answer = try h.take(client: "a")
        #expect(outcomes(h.extend(.deliveries([answer.id(1)]), by: .seconds(100))) == [.extended])
        h.clock.advance(by: .seconds(30))
        #expect(try h.take(client: "b").offsets == [0, 2])
        #expect(try h.take(client: "a").offsets == [1])
        let items = [answer.id(0), answer.id(1), answer.id(2)]
        #expect(outcomes(h.acknowledge(.deliveries(items))) == [.leaseLost, .acknowledged, .leaseLost])
    }

    @Test func extension_OfWhatIsInAFailingCommit_Holds() throws {
        let h = try harness(.shared, records: 1)
        let answer = try h.take(client: "a")
        h.store.failWrites([.beforeWriting])
        let boxes = (0..<2).map { _ in Box<Result<LeaseResult, ConsumerError>>() }
        h.consumers.acknowledge(h.name, .answer(answer.ack ?? "")) { boxes[0].set($0) }
        h.consumers.extend(h.name, .answer(answer.ack ?? ""), deadline: .seconds(100)) { boxes[1].set($0) }
        h.settle()
        #expect(boxes[0].value?.errorCode == "broker_unavailable")
        #expect(outcomes(boxes[1].value) == [.extended])
        h.clock.advance(by: .seconds(99))
        #expect(try h.take(client: "b").offsets == [])
    }

    // MARK: Shared

    @Test func sharedPartition_GivesEachRecordToOneClient_AndSeveralAtOnce() throws {
        let h = try harness(.shared, records: 6)
        let (a, b, c) = (try h.take(max: 2, client: "a"), try h.take(max: 2), try h.take(client: "c"))
        #expect([a.offsets, b.offsets, c.offsets] == [[0, 1], [2, 3], [4, 5]])
        #expect(try h.take(client: "d").offsets == [])
        #expect(try h.describe().leases == 6)
        #expect(try #require(h.acknowledge(.answer(b.ack ?? ""))).get().committed == [h.place(): 0])
        #expect(try #require(h.acknowledge(.answer(a.ack ?? ""))).get().committed == [h.place(): 4])
        #expect(try #require(h.acknowledge(.answer(c.ack ?? ""))).get().committed == [h.place(): 6])
    }

    @Test func anotherAnswersRecord_CannotBeClaimed_ThoughItLiesBetween() throws {
        let h = try harness(.shared, records: 3)
        let all = try h.take(client: "a")
        #expect(outcomes(h.giveBack(.deliveries([all.id(1)]))) == [.returned])
        let b = try h.take(client: "b")
        #expect(b.offsets == [1])
        #expect(h.acknowledge(.answer(b.ack ?? ""))?.errorCode == nil)
        // Acknowledged, but not by this client: it says that it is done with 0 by naming what it does not hold.
        let place = RecordPlace(partition: h.place(), offset: 1)
        #expect(h.acknowledge(.offsets([place], client: "a"))?.errorCode == "leases_lost")
        #expect(h.acknowledge(.deliveries([all.id(1)]))?.errorCode == "leases_lost")
        #expect(h.acknowledge(.through([all.id(1)]))?.errorCode == "leases_lost")
        #expect(h.committed() == 0)
        #expect(outcomes(h.acknowledge(.through([all.id(2)]))) == [.acknowledged])
        #expect(h.committed() == 3)
    }

    @Test func acknowledgedBeyondTheCommittedOffset_IsNotHandedOutAgain_AfterACrash() throws {
        let h = try harness(.shared, records: 10)
        let answer = try h.take(client: "a")
        let odd = answer.records.filter { $0.record.offset % 2 == 1 }.map(\.id)
        #expect(h.acknowledge(.deliveries(odd))?.errorCode == nil)
        #expect(h.committed() == 0)
        let next = try Harness(after: h, epoch: 2)
        #expect(try next.take(client: "b").offsets == [0, 2, 4, 6, 8])
        #expect(next.acknowledge(.answer(answer.ack ?? ""))?.errorCode == "leases_lost")
    }

    @Test func fullWindow_HandsOutNothingNew_UntilItsStartIsAcknowledged_AndForgetsNothing() throws {
        let window = Int(CommitMetadata.windowOffsetsMax)
        let h = try harness(.shared, records: window + 200, maxInFlight: 100_000)
        let first = try h.take(max: 1, client: "slow")
        var kept: Set<Int64> = [0]
        var handedOut = 1
        while true {
            let answer = try h.take(max: 1_000)
            if answer.records.isEmpty { break }
            handedOut += answer.records.count
            // Every third stays open: the worst for runs.
            let done = answer.records.filter { $0.record.offset % 3 != 0 }
            kept.formUnion(answer.offsets.filter { $0 % 3 == 0 })
            #expect(h.acknowledge(.deliveries(done.map(\.id)))?.errorCode == nil)
        }
        #expect(handedOut == window, "back-pressure at the window's end")
        #expect(h.committed() == 0)
        let fetches = h.source.fetchCount
        let waiting = h.start(PollRequest(consumer: h.name, wait: .seconds(1)))
        h.settle()
        #expect(h.source.fetchCount == fetches, "a full window is not asked for again and again")
        #expect(waiting.value == nil)
        #expect(h.acknowledge(.answer(first.ack ?? ""))?.errorCode == nil)
        #expect(try waiting.value?.get().offsets.first == Int64(window), "and goes on at once")
        kept.remove(0)

        let next = try Harness(after: h, epoch: 2)
        var again: Set<Int64> = []
        while again.count < kept.count {
            let answer = try next.take(max: 1_000)
            guard !answer.records.isEmpty else { break }
            again.formUnion(answer.offsets.filter { $0 < Int64(window) })
        }
        #expect(again == kept)
    }

    @Test func lostPartition_TakesItsLeasesAlong_AndAClientWithoutAnyMayPoll() throws {
        let h = try harness(.shared, records: 3)
        let a = try h.take(max: 1, client: "a")
        // As when the topic is deleted while it is read, and made anew.
        h.source.revoke([h.place()])
        h.settle()
        #expect(h.acknowledge(.answer(a.ack ?? ""))?.errorCode == "leases_lost")
        #expect(h.giveBack(.answer(a.ack ?? ""))?.errorCode == "leases_lost")
        h.source.assign([h.place()])
        h.settle()
        #expect(try h.take(max: 1, client: "a").offsets == [0])
    }

    @Test func retentionOverALease_FreesItsClient() throws {
        let h = try harness(.shared, records: 4)
        #expect(try h.take(max: 2, client: "a").offsets == [0, 1])
        #expect(
            outcomes(h.giveBack(.offsets([RecordPlace(partition: h.place(), offset: 0)], client: "a"))) == [.returned])
        h.source.raiseLow(h.place(), to: 3)
        // The fetch for 0 finds that it is gone, and 1 with it.
        let b = try h.take(client: "b")
        #expect(b.offsets == [3])
        #expect(b.skipped == [SkippedRange(partition: h.place(), offsets: 0..<3)])
        h.source.append(h.place())
        #expect(try h.take(client: "a").offsets == [4], "nothing of the old answer is left")
    }

    @Test func consumersOfOtherNames_KnowNothingOfEachOther() throws {
        let h = try harness(.shared, records: 1)
        let other = ConsumerName("other")!
        let box = Box<Result<DefineOutcome, ConsumerError>>()
        h.consumers.define(other, ConsumerDefinition(topics: [Harness.topic], mode: .shared)) { box.set($0) }
        h.settle()
        let answer = try h.take(client: "a")
        let acknowledged = Box<Result<LeaseResult, ConsumerError>>()
        h.consumers.acknowledge(other, .answer(answer.ack ?? "")) { acknowledged.set($0) }
        h.settle()
        #expect(acknowledged.value?.errorCode == "leases_lost")
        #expect(h.store.offsets(other)[h.place()]?.offset == 0 && h.committed() == 0)
    }

    @Test func offsetRuns_AreASet() {
        var (runs, model) = (OffsetRuns(), Set<Int64>())
        var random = SeededGenerator(printingFor: "offset runs")
        for offset: Int64 in 0..<200 where Bool.random(using: &random) {
            runs.append(offset)
            model.insert(offset)
        }
        for _ in 0..<300 {
            let offset = Int64.random(in: 0..<200, using: &random)
            runs.remove(offset)
            model.remove(offset)
            let isSame = (0..<200).allSatisfy { runs.contains($0) == model.contains($0) }
            #expect(isSame)
            #expect(runs.isEmpty == model.isEmpty)
        }
    }
}
