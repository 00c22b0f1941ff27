import Broker
import Primitives
import Records
import Telemetry
import Testing
import TestSupport

@testable import EmbeddedBroker

/// Waiting for records of a partition without a consumer.
@Suite struct WatchTests {
    private let place = TopicPartition(topic: orders, partition: 0)

    /// Counts how often it is told.
    private final class Told: Sendable {
        private let times = Lock(0)
        var count: Int { times.withLock { $0 } }
        func tell() { times.withLock { $0 += 1 } }
    }

    private func watch(
        _ harness: BrokerHarness, _ told: Told, _ place: TopicPartition? = nil, from offset: Int64
    ) throws -> (any PartitionWatch)? {
        try harness.broker.watch(place ?? self.place, from: offset) { told.tell() }
    }

    @Test func watch_IsToldOnce_OfItsPartitionOnly_AndLeavesNothing() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let (here, there) = (Told(), Told())
        let other = TopicPartition(topic: orders, partition: 1)
        #expect(try watch(harness, here, from: 0) != nil)
        #expect(try watch(harness, there, other, from: 0) != nil)
        let sink = try harness.sink()
        try sink.deliver([outgoing(1), outgoing(2)])
        #expect(here.count == 1 && there.count == 0)
        try sink.deliver([outgoing(3)])
        #expect(here.count == 1 && there.count == 0)
        #expect(harness.broker.watches.count == 1)
        // What is there already is not waited for.
        #expect(try watch(harness, here, from: 2) == nil)
        #expect(try watch(harness, here, from: 3) != nil)
        try sink.deliver([outgoing(4)])
        #expect(here.count == 2)
        #expect(harness.broker.watches.count == 1)
    }

    @Test func watch_IsNotTold_BeforeItsOffsetIsReached() throws {
        let harness = try BrokerHarness { $0.gapAfterEachHandOver = { _ in 2 } }
        _ = try harness.create(orders)
        let (near, far) = (Told(), Told())
        _ = try watch(harness, near, from: 2)
        _ = try watch(harness, far, from: 5)
        let sink = try harness.sink()
        // Offset 0, and two that hold nothing.
        try sink.deliver([outgoing(1)])
        #expect(near.count == 1 && far.count == 0)
        try sink.deliver([outgoing(2)])
        #expect(far.count == 1)
    }

    @Test func cancelledWatch_IsNotTold_AndMakesRoom() throws {
        let harness = try BrokerHarness { $0.watchesMax = 1 }
        _ = try harness.create(orders)
        let told = Told()
        let first = try #require(try watch(harness, told, from: 0))
        let error = try brokerError { _ = try watch(harness, told, from: 0) }
        #expect(error.code == "too_many_watches" && error.class == .retriable)
        let metrics = String(decoding: harness.metrics.text(), as: UTF8.self)
        #expect(metrics.contains("postrider_broker_watches_refused_total 1"))
        first.cancel()
        first.cancel()
        let second = try watch(harness, Told(), from: 0)
        #expect(second != nil)
        try harness.sink().deliver([outgoing(1)])
        #expect(told.count == 0)
        #expect(harness.broker.watches.count == 0)
        second?.cancel()
        #expect(harness.broker.watches.count == 0)
    }

    @Test func watch_OfWhatIsNotThere_IsRefused_AndTakesNoPlace() throws {
        let harness = try BrokerHarness { $0.watchesMax = 1 }
        _ = try harness.create(orders)
        for (place, code) in [
            (TopicPartition(topic: payments, partition: 0), "unknown_topic"),
            (TopicPartition(topic: orders, partition: 4), "unknown_partition"),
            (TopicPartition(topic: orders, partition: -1), "unknown_partition"),
        ] {
            let error = try brokerError { _ = try watch(harness, Told(), place, from: 0) }
            #expect(error.code == code)
            #expect(harness.broker.watches.count == 0)
        }
    }

    @Test func watch_IsTold_WhenItsTopicIsDeleted_AlsoWhenItIsMadeAnew() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        try harness.sink().deliver([outgoing(1), outgoing(2)])
        let told = Told()
        #expect(try watch(harness, told, from: 2) != nil)
        _ = try harness.delete(orders)
        _ = try harness.create(orders)
        #expect(told.count == 1)
        // The new topic has nothing there either, and whoever fetches sees that it is another.
        #expect(try harness.fetch(orders).highWatermark == 0)
    }

    @Test func close_TellsWhoWaits() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let told = Told()
        _ = try watch(harness, told, from: 0)
        try harness.reopen()
        #expect(told.count == 1)
    }

    @Test func watches_AreToldOfEveryRecord_WhateverComesBetween() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let sink = try harness.sink()
        let count = 200
        let writer = WorkerThread(name: "writer") {
            for number in 1...count {
                do {
                    try sink.deliver([outgoing(number)])
                } catch {
                    Issue.record("\(error)")
                }
            }
        }
        // Whoever watches at its position and reads on sees all, without ever asking in a loop.
        let news = Monitor(0)
        let deadline = patienceEnd()
        var (position, seen): (Int64, Int) = (0, 0)
        while position < count, SystemClock().now() < deadline {
            let watch = try harness.broker.watch(place, from: position) {
                news.withLock { $0 += 1 }
                news.signal()
            }
            if watch != nil {
                seen += 1
                let wanted = seen
                #expect(news.wait(until: deadline) { $0 >= wanted ? true : nil } == true)
            }
            position = try harness.fetch(orders, from: position).nextOffset
        }
        #expect(position == count)
        writer.join()
    }

    @Test func fetch_AtTheLastPossibleOffset_TellsTheWatermarks() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        try harness.sink().deliver([outgoing(1), outgoing(2)])
        let found = try harness.fetch(orders, from: .max)
        #expect(found.records.isEmpty && found.lowWatermark == 0 && found.highWatermark == 2)
    }
}
