import Broker
import Records
import TestSupport
import Testing

@testable import Consumers

/// Definitions that other gateways on the same store make, and a store that cannot be read at the start.
@Suite struct FollowingTests {
    private func bytes(_ topics: [TopicName] = [Harness.topic], maxInFlight: Int? = nil) -> ConsumerDefinitionBytes {
        let definition = ConsumerDefinition(topics: topics, maxInFlight: maxInFlight)
        return ConsumerDefinitionBytes(
            name: ConsumerName("c")!,
            bytes: ConsumerDefinitionCodec.encode(definition.completed(for: ConsumerName("c")!)))
    }

    @Test func consumers_AreUnverified_UntilTheStoreTellsThem() throws {
        let old = try Harness()
        old.store.hideDefinitions()
        let h = try Harness(after: old, epoch: 2)
        #expect(h.poll()?.errorCode == "consumers_unverified")
        #expect(h.define()?.errorCode == "consumers_unverified")
        #expect(throws: ConsumerError.unverified) { try h.consumers.list() }
        for _ in 0..<2 { h.source.append(h.place()) }
        h.store.tell { $0.definitionsLoaded([bytes()]) }
        #expect(try h.consumers.list() == [h.name])
        #expect(try h.take().offsets == [0, 1])
    }

    @Test func consumer_OfAnotherGateway_IsServed_ChangedAndForgotten() throws {
        let h = try Harness()
        for _ in 0..<5 { h.source.append(h.place()) }
        #expect(h.poll()?.errorCode == "unknown_consumer")
        h.store.tell { $0.definitionChanged(h.name, bytes().bytes) }
        let answer = try h.take(max: 2)
        #expect(answer.offsets == [0, 1])
        // Limits change under the leases.
        h.store.tell { $0.definitionChanged(h.name, bytes(maxInFlight: 3).bytes) }
        #expect(try h.describe().definition.maxInFlight == 3)
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == nil)
        #expect(h.committed() == 2)
        let open = try h.take(max: 1)
        h.store.tell { $0.definitionChanged(h.name, nil) }
        h.settle()
        #expect(h.poll()?.errorCode == "unknown_consumer")
        #expect(h.acknowledge(.answer(open.ack ?? ""))?.errorCode == "unknown_consumer")
    }

    @Test func replacedByAnotherGateway_EndsTheLeases() throws {
        let h = try Harness()
        let other = TopicName("payments")!
        h.source.create(other, partitions: 1)
        for _ in 0..<2 { h.source.append(h.place()) }
        _ = h.define()
        let answer = try h.take()
        h.store.tell { $0.definitionChanged(h.name, bytes([Harness.topic, other]).bytes) }
        h.settle()
        #expect(try h.describe().definition.topics == [Harness.topic, other])
        #expect(h.acknowledge(.answer(answer.ack ?? ""))?.errorCode == "leases_lost")
    }

    @Test func unreadableDefinition_OfANewerGateway_IsRefusedByName() throws {
        let h = try Harness()
        _ = h.define()
        h.store.tell { $0.definitionChanged(h.name, [99]) }
        h.settle()
        #expect(h.poll()?.errorCode == "consumer_unreadable")
    }

    @Test func offsetsHeldByOthers_AreAConflict_NotAnOutage() {
        let error = BrokerError(.retriable, code: "consumer_active_elsewhere", detail: "")
        let named = ConsumerError.unavailable(error).named(ConsumerName("c")!)
        #expect(named == .activeElsewhere(ConsumerName("c")!) && named.isRetriable)
    }
}
