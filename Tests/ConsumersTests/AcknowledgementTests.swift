import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import Consumers

@Suite struct AcknowledgementTests {
    /// Offsets 0, 1, 5, 6, 7: a gap of three in between, two markers at the end.
    private func gapped() throws -> (Harness, PollAnswer) {
        let h = try Harness()
        #expect(try h.define()?.get() == .created)
        for gap: Int64 in [0, 0, 3, 0, 0] { h.source.append(h.place(), gap: gap) }
        h.source.appendGap(h.place(), 2)
        let answer = try h.take(client: "a")
        #expect(answer.offsets == [0, 1, 5, 6, 7])
        return (h, answer)
    }

    struct Form: Sendable {
        let name: String
        let make: @Sendable (PollAnswer) -> LeaseSelector
        let committed: Int64
        let redelivered: [Int64]
    }

    static let forms: [Form] = [
        Form(name: "ack", make: { .answer($0.ack ?? "") }, committed: 10, redelivered: []),
        Form(name: "first", make: { .deliveries([$0.id(0)]) }, committed: 1, redelivered: [1, 5, 6, 7]),
        Form(name: "before a gap", make: { .deliveries([$0.id(0), $0.id(1)]) }, committed: 5, redelivered: [5, 6, 7]),
        Form(name: "beyond", make: { .deliveries([$0.id(5), $0.id(7)]) }, committed: 0, redelivered: [0, 1, 6]),
        Form(name: "last only", make: { .deliveries([$0.id(7)]) }, committed: 0, redelivered: [0, 1, 5, 6]),
        Form(name: "twice", make: { .deliveries([$0.id(0), $0.id(0)]) }, committed: 1, redelivered: [1, 5, 6, 7]),
        Form(name: "through", make: { .through([$0.id(5)]) }, committed: 6, redelivered: [6, 7]),
        Form(name: "through the last", make: { .through([$0.id(7)]) }, committed: 10, redelivered: []),
        Form(
            name: "offsets",
            make: { _ in
                .offsets(
                    [RecordPlace(partition: TopicPartition(topic: Harness.topic, partition: 0), offset: 6)],
                    client: "a")
            }, committed: 7, redelivered: [7]),
    ]

    @Test(arguments: forms) func everyForm_CommitsThePrefixAndKeepsTheRest_AlsoOverACrash(_ form: Form) throws {
        let (h, answer) = try gapped()
        let result = try #require(h.acknowledge(form.make(answer))).get()
        #expect(result.outcomes.allSatisfy { $0 == .acknowledged }, "\(form.name)")
        #expect(result.committed == [h.place(): form.committed])
        #expect(h.committed() == form.committed)

        let next = try Harness(after: h, epoch: 2)
        let again = try next.take()
        #expect(again.offsets == form.redelivered, "\(form.name)")
        #expect(again.attempts.allSatisfy { $0 == 2 }, "attempts are in the metadata")

        h.clock.advance(by: .seconds(31))
        #expect(try next.take().offsets == form.redelivered)
    }

    @Test(arguments: forms) func everyForm_ChangesNothing_WhenTheCommitFailed(_ form: Form) throws {
        let (h, answer) = try gapped()
        h.store.failWrites([.beforeWriting])
        let failed = h.acknowledge(form.make(answer))
        #expect(failed?.errorCode == "broker_unavailable")
        if case .failure(let error) = failed { #expect(error.isRetriable) }
        #expect(h.committed() == 0)
        #expect(try h.take(client: "a") == answer)
        #expect(try #require(h.acknowledge(form.make(answer))).get().committed == [h.place(): form.committed])
    }

    @Test(arguments: forms) func everyForm_LosesAfterTheDeadlineAndAfterACrash(_ form: Form) throws {
        let (h, answer) = try gapped()
        h.clock.advance(by: .seconds(30))
        let late = h.acknowledge(form.make(answer))
        #expect(late?.errorCode == "leases_lost", "\(form.name)")
        if case .failure(.leasesLost(let result)) = late {
            #expect(result.outcomes.allSatisfy { $0 == .leaseLost })
        }
        #expect(h.committed() == 0)
        // The record was handed out again: the old delivery must not commit the new one.
        let newer = try h.take(client: "b")
        #expect(newer.attempts == [2, 2, 2, 2, 2])
        #expect(h.acknowledge(form.make(answer))?.errorCode == "leases_lost")
        let next = try Harness(after: h, epoch: 2)
        #expect(try next.take(client: "b").offsets == [0, 1, 5, 6, 7])
        #expect(next.acknowledge(form.make(newer))?.errorCode == "leases_lost")
        #expect(next.committed() == 0)
    }

    @Test func mixedItems_ApplyTheGoodOnes_WhenSomeAreLost() throws {
        let (h, answer) = try gapped()
        let forged = DeliveryID(
            answer: AnswerToken(epoch: 1, serial: 999), topicIndex: 7, partition: 3, offset: 9, attempt: 1)
        let result = h.acknowledge(.deliveries([answer.id(0), forged.description, answer.id(1)]))
        guard case .failure(.leasesLost(let lost)) = result else {
            Issue.record("expected leases_lost, got \(String(describing: result))")
            return
        }
        #expect(lost.outcomes == [.acknowledged, .leaseLost, .acknowledged])
        #expect(lost.committed == [h.place(): 5])
        #expect(h.committed() == 5)
    }

    @Test func repeatedAcknowledgement_Succeeds_WhenItsAnswerWasLost() throws {
        let (h, answer) = try gapped()
        let token = try #require(answer.ack)
        #expect(h.acknowledge(.deliveries([answer.id(0)]))?.errorCode == nil)
        #expect(h.acknowledge(.deliveries([answer.id(0)]))?.errorCode == nil)
        #expect(h.acknowledge(.answer(token))?.errorCode == nil)
        #expect(h.acknowledge(.answer(token))?.errorCode == nil)
        #expect(h.committed() == 10)
    }

    @Test(arguments: [
        LeaseSelector.answer(""), .answer("x"), .answer("1.1.1"), .answer("1.+1"), .answer("01.1"),
        .answer("1.zzzzzzzzzzzzzzzzzzz"), .deliveries([]), .deliveries(["1.1"]), .deliveries(["1.1.0.0.-1.1"]),
        .deliveries(["1.1.0.0.0.1", ""]), .through(["…"]), .through([String(repeating: "9", count: 5_000)]),
        .offsets([], client: "a"),
        .offsets(
            [RecordPlace(partition: TopicPartition(topic: Harness.topic, partition: 0), offset: -1)], client: "a"),
    ])
    func malformedItems_AreRefusedAndCommitNothing(_ acknowledgement: LeaseSelector) throws {
        let (h, _) = try gapped()
        #expect(h.acknowledge(acknowledgement)?.errorCode == "invalid_field")
        #expect(h.committed() == 0)
    }

    @Test func offsets_AreLost_WhenTheyAreLeasedToAnotherClient() throws {
        let (h, _) = try gapped()
        for client in ["b", ""] {
            let place = RecordPlace(partition: h.place(), offset: 0)
            #expect(h.acknowledge(.offsets([place], client: client))?.errorCode == "leases_lost")
        }
        let unknown = RecordPlace(partition: h.place(9), offset: 0)
        #expect(h.acknowledge(.offsets([unknown], client: "a"))?.errorCode == "leases_lost")
        #expect(h.committed() == 0)
    }

    @Test func acknowledgements_ShareTheNextCommit_WhenOneIsUnderWay() throws {
        let (h, answer) = try gapped()
        let before = h.store.commitCount
        let boxes = answer.records.map { record in
            let box = Box<Result<LeaseResult, ConsumerError>>()
            h.consumers.acknowledge(h.name, .deliveries([record.id])) { box.set($0) }
            return box
        }
        #expect(boxes.allSatisfy { $0.value == nil }, "none is answered before the store's sync")
        h.settle()
        #expect(try boxes.map { try #require($0.value).get().outcomes } == Array(repeating: [.acknowledged], count: 5))
        #expect(h.store.commitCount == before + 2)
        #expect(h.committed() == 10)
    }

    @Test func acknowledgement_Counts_WhenItWaitedForACommitPastTheDeadline() throws {
        let (h, answer) = try gapped()
        let boxes = [answer.id(0), answer.id(1)].map { id in
            let box = Box<Result<LeaseResult, ConsumerError>>()
            h.consumers.acknowledge(h.name, .deliveries([id])) { box.set($0) }
            return box
        }
        h.clock.advance(by: .seconds(31))
        // Any event looks at the deadlines.
        let other = h.start(PollRequest(consumer: h.name, wait: .seconds(1)))
        h.settle()
        #expect(boxes.map { $0.value?.errorCode } == [nil, nil])
        #expect(try other.value?.get().offsets == [5, 6, 7])
    }

    @Test func failedCommit_GivesExpiredDeliveriesBack() throws {
        let (h, answer) = try gapped()
        h.store.failWrites([.beforeWriting])
        let box = Box<Result<LeaseResult, ConsumerError>>()
        h.consumers.acknowledge(h.name, .answer(answer.ack ?? "")) { box.set($0) }
        h.clock.advance(by: .seconds(31))
        h.settle()
        #expect(box.value?.errorCode == "broker_unavailable")
        let again = try h.take(client: "b")
        #expect(again.offsets == [0, 1, 5, 6, 7])
        #expect(again.attempts == [2, 2, 2, 2, 2])
    }

    @Test func revokedPartition_LosesItsLeasesAndRestartsFromTheCommittedOffset() throws {
        let (h, answer) = try gapped()
        #expect(h.acknowledge(.deliveries([answer.id(0), answer.id(5)]))?.errorCode == nil)
        h.source.revoke([h.place()])
        h.settle()
        #expect(h.acknowledge(.deliveries([answer.id(1)]))?.errorCode == "leases_lost")
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == "leases_lost")
        #expect(h.committed() == 1)
        h.source.assign([h.place()])
        h.settle()
        #expect(try h.take(client: "b").offsets == [1, 6, 7])
    }

    @Test func answerWithARevokedPartition_CommitsTheRest_AndNeverClaimsTheLostPart() throws {
        let h = try Harness(partitions: 2)
        #expect(h.define() != nil)
        for partition: Int32 in [0, 1] { h.source.append(h.place(partition)) }
        let answer = try h.take(client: "a")
        h.source.revoke([h.place(0)])
        h.settle()
        guard case .failure(.leasesLost(let result))? = h.acknowledge(.answer(answer.ack ?? "")) else {
            Issue.record("expected leases_lost")
            return
        }
        #expect(result.committed == [h.place(1): 1])
        #expect(h.acknowledge(.deliveries([answer.id(0, partition: 0)]))?.errorCode == "leases_lost")
        #expect(h.committed(0) == 0 && h.committed(1) == 1)
    }

    @Test func seek_IsNotUndone_ByCommittedOffsetsThatWereReadBefore() throws {
        let (h, answer) = try gapped()
        #expect(h.acknowledge(.deliveries([answer.id(0)]))?.errorCode == nil)
        h.store.readEarly()
        h.source.revoke([h.place()])
        h.source.assign([h.place()])
        h.callbacks.runOne()
        h.callbacks.runOne()
        #expect(h.callbacks.count == 1, "the load is under way")
        let seek = Box<Result<[TopicPartition: Int64], ConsumerError>>()
        h.consumers.seek(h.name, to: .offsets([h.place(): 6])) { seek.set($0) }
        // The newer call overtakes the load wherever it can.
        while h.callbacks.runOne(at: 1) {}
        h.settle()
        #expect(try seek.value?.get() == [h.place(): 6])
        #expect(try h.take(client: "b").offsets == [6, 7])
    }

    @Test func queueOfAcknowledgements_IsBounded() throws {
        var settings = ConsumersSettings()
        settings.commitsWaitingPerConsumerMax = 2
        let h = try Harness(settings: settings)
        #expect(h.define() != nil)
        for _ in 0..<4 { h.source.append(h.place()) }
        let answer = try h.take()
        let boxes = answer.records.map { record in
            let box = Box<Result<LeaseResult, ConsumerError>>()
            h.consumers.acknowledge(h.name, .deliveries([record.id])) { box.set($0) }
            return box
        }
        #expect(boxes[3].value?.errorCode == "limit_reached")
        h.settle()
        #expect(h.committed() == 3)
    }
}
