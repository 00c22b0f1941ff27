import Broker
import Consumers
import Primitives
import Records
import Telemetry
import TestSupport
import Testing

@testable import Gateway

/// Looks at the consumers go on whatever the broker answers, one at a time, and end with the gateway.
@Suite struct ConsumerLooksTests {
    private typealias Completion = @Sendable (Result<ConsumerDescription, ConsumerError>) -> Void

    /// Consumers whose descriptions come when the test says so.
    private final class Broker: Sendable {
        private struct Asked: Sendable {
            var name: ConsumerName
            var completion: Completion
        }

        private let asked = Lock<[Asked]>([])
        let names: Lock<[ConsumerName]>

        init(_ names: [String]) { self.names = Lock(names.map { ConsumerName($0)! }) }

        var waiting: [String] { asked.withLock { $0.map(\.name.text) } }

        func ask(_ name: ConsumerName, _ completion: @escaping Completion) {
            asked.withLock { $0.append(Asked(name: name, completion: completion)) }
        }

        /// Answers the first question.
        func answer(_ error: ConsumerError? = nil) {
            let first = asked.withLock { $0.removeFirst() }
            first.completion(error.map { .failure($0) } ?? .success(Self.description(first.name)))
        }

        private static func description(_ name: ConsumerName) -> ConsumerDescription {
            ConsumerDescription(
                name: name, definition: ConsumerDefinition(topics: [TopicName("orders")!]), partitions: [], leases: 1,
                pollsWaiting: 0, oldestUnacknowledgedMs: nil, deadLettersWaiting: 0, deadLetterError: nil)
        }
    }

    private static let refusal = ConsumerError.unavailable(
        BrokerError(.retriable, code: "topic_denied", detail: "as told by the test"))

    private let clock = ManualClock()

    private func looks(_ broker: Broker) -> ConsumerLooks {
        let looks = ConsumerLooks(
            list: { () throws(ConsumerError) in broker.names.withLock { $0 } },
            describe: { broker.ask($0, $1) }, clock: clock, timers: clock)
        looks.start()
        return looks
    }

    private func shown(_ looks: ConsumerLooks) -> [String] {
        looks.samples.filter { $0.name == "postrider_consumer_open_deliveries" }.map { $0.labels[0].value }.sorted()
    }

    @Test func round_AsksForOneAtATime_AndShowsItsFindingsAtItsEnd() {
        let broker = Broker(["a", "b"])
        let looks = looks(broker)
        #expect(broker.waiting == ["a"])
        broker.answer()
        #expect(broker.waiting == ["b"])
        #expect(shown(looks).isEmpty)
        broker.answer()
        #expect(shown(looks) == ["a", "b"])
        // The next one, some time later, while what was found stays.
        #expect(broker.waiting.isEmpty)
        clock.advance(by: ConsumerLooks.interval)
        #expect(broker.waiting == ["a"])
        #expect(shown(looks) == ["a", "b"])
        looks.stop()
    }

    @Test func refusal_OfOneConsumer_HidesNoOther() {
        let broker = Broker(["a", "b", "c"])
        let looks = looks(broker)
        broker.answer(Self.refusal)
        clock.advance(by: .zero)
        broker.answer(.unreadable(ConsumerName("b")!))
        clock.advance(by: .zero)
        broker.answer()
        #expect(shown(looks) == ["c"])
        #expect(looks.samples.first { $0.name == "postrider_consumers" }?.value == 3)
        looks.stop()
    }

    /// None would be a number that nobody has found out.
    @Test func consumers_HaveNoNumber_WhenNobodyKnowsThem() {
        let isKnown = Lock(false)
        let looks = ConsumerLooks(
            list: { () throws(ConsumerError) in
                guard isKnown.withLock({ $0 }) else { throw .unverified }
                return []
            }, describe: { _, _ in }, clock: clock, timers: clock)
        #expect(looks.samples.isEmpty)
        looks.start()
        #expect(looks.samples.isEmpty)
        isKnown.withLock { $0 = true }
        clock.advance(by: ConsumerLooks.interval)
        #expect(looks.samples.map(\.value) == [0])
        looks.stop()
    }

    @Test func silence_EndsTheRound() {
        let broker = Broker(["a", "b", "c"])
        let looks = looks(broker)
        broker.answer()
        clock.advance(by: ConsumerLooks.silence + .milliseconds(1))
        broker.answer(Self.refusal)
        #expect(shown(looks) == ["a"])
        #expect(broker.waiting.isEmpty)
        clock.advance(by: ConsumerLooks.interval)
        #expect(broker.waiting == ["a"])
        looks.stop()
    }

    /// Thousands of refusals that come at once neither recurse nor ask for more consumers than there may be.
    @Test func refusals_ThatComeAtOnce_NeedNoStack() {
        let asked = Lock(0)
        let names = (0..<5_000).map { ConsumerName("c\($0)")! }
        let looks = ConsumerLooks(
            list: { () throws(ConsumerError) in names },
            describe: { _, completion in
                asked.withLock { $0 += 1 }
                completion(.failure(Self.refusal))
            }, clock: clock, timers: clock)
        looks.start()
        clock.advance(by: .zero)
        #expect(asked.withLock { $0 } == ConsumerLooks.consumersMax)
        looks.stop()
    }

    @Test func stop_EndsTheLooks() {
        let broker = Broker(["a", "b"])
        let looks = looks(broker)
        looks.stop()
        broker.answer()
        clock.advance(by: ConsumerLooks.interval + ConsumerLooks.interval)
        #expect(broker.waiting.isEmpty)
    }
}
