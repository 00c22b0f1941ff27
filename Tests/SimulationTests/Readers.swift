import Broker
import Primitives
import Records
import TestSupport

@testable import Consumers

/// The consumers of one gateway, before a broker whose answers wait in `callbacks`. Its clients poll, acknowledge, give
/// back and forget.
// SAFETY: a world and everything in it belongs to one thread.
final class Readers: @unchecked Sendable {
    static let name = ConsumerName("c")!
    static let ackDeadline = Duration.seconds(5)

    let callbacks = PendingCallbacks()
    let source: FakeRecordSource
    let store: FakeOffsetStore
    private let consumers: Consumers
    /// Offsets by topic.
    private unowned let world: World
    private var held: [PollAnswer] = []
    private var polls = 0

    init(_ world: World, epoch: UInt32, after old: Readers?) throws(BrokerError) {
        self.world = world
        old?.callbacks.close()
        source = FakeRecordSource(callbacks)
        store = FakeOffsetStore(callbacks, after: old?.store)
        for topic in World.topics { source.create(topic, partitions: 1) }
        held = old?.held ?? []
        let seed = UInt64(epoch)
        consumers = try Consumers(
            source: source, offsets: store, topics: source, submitter: FakeSubmitter(callbacks), clock: world.clock,
            timers: world.clock, epoch: epoch, makeJitter: { SeededGenerator(seed: seed) })
    }

    /// - Returns: false when it is not defined.
    func define(_ mode: DeliveryMode) -> Bool {
        let definition = ConsumerDefinition(
            topics: World.topics, mode: mode, ackDeadlineMs: Self.ackDeadline.wholeMilliseconds, maxInFlight: 30)
        let isDefined = Lock(false)
        consumers.define(Self.name, definition) { result in
            if case .success = result { isDefined.withLock { $0 = true } }
        }
        callbacks.runAll()
        return isDefined.withLock { $0 }
    }

    func die() { callbacks.close() }

    // MARK: - Clients

    func poll(client: String?, max: Int, wait: Duration) {
        polls += 1
        let request = PollRequest(consumer: Self.name, max: max, wait: wait, client: client)
        _ = consumers.poll(request) { [weak self] result in
            if case .success(let answer) = result { self?.observe(answer) }
        }
    }

    private func observe(_ answer: PollAnswer) {
        var last: [Int: Int64] = [:]
        for record in answer.records {
            let (topic, offset) = (World.number(of: record.record.partition.topic), record.record.offset)
            world.ledger.expect(
                offset > last[topic] ?? -1, "P5: offset \(offset) of \(topic) out of order in an answer")
            last[topic] = offset
            world.ledger.handedOut(topic, Int(offset))
            world.chance.note(Int(offset) << 8 | topic)
        }
        world.ledger.expect(answer.skipped.isEmpty, "skipped \(answer.skipped)")
        if !answer.records.isEmpty { held.append(answer) }
        if held.count > 40 { held.removeFirst(20) }
    }

    /// Takes an answer that somebody holds; the client may forget it with that.
    func answer(_ index: (Int) -> Int, forgetting: Bool) -> PollAnswer? {
        if held.isEmpty { return nil }
        let index = index(held.count)
        return forgetting ? held.remove(at: index) : held[index]
    }

    func acknowledge(_ records: [DeliveredRecord]) {
        if records.isEmpty { return }
        let places = records.map { (topic: World.number(of: $0.record.partition.topic), offset: Int($0.record.offset)) }
        for place in places { world.ledger.asks(place.topic, place.offset) }
        consumers.acknowledge(Self.name, .deliveries(records.map(\.id))) { [weak world] result in
            switch result {
            case .success(let applied), .failure(.leasesLost(let applied)):
                for (place, outcome) in zip(places, applied.outcomes) {
                    if outcome == .acknowledged {
                        world?.ledger.acknowledged(place.topic, place.offset)
                    } else {
                        world?.ledger.leaseLost(place.topic, place.offset)
                    }
                }
            // It may have been committed all the same.
            case .failure: break
            }
        }
    }

    func giveBack(_ records: [DeliveredRecord], delay: Duration) {
        consumers.giveBack(Self.name, .deliveries(records.map(\.id)), delay: delay) { _ in }
    }

    /// The store is what other tools see.
    func observeCommits() {
        for (partition, committed) in store.offsets(Self.name) {
            world.ledger.committed(World.number(of: partition.topic), committed.offset)
        }
    }
}
