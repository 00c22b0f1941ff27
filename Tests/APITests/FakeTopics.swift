import Broker
import Primitives
import Records
import TestSupport

/// Topics as a broker far away has them: what is remembered of them may be old, and asking takes as long as the test
/// says.
final class FakeTopics: TopicAdmin {
    private struct State {
        var remembered: [TopicName: TopicKnowledge] = [:]
        var real: [TopicName: TopicKnowledge] = [:]
        var holds = false
        var held: [(topic: TopicName, completion: @Sendable (TopicKnowledge) -> Void)] = []
        var asked = 0
    }

    private let state = Monitor(State())

    /// What `knowledge` says.
    func remember(_ topic: String, _ knowledge: TopicKnowledge?) {
        state.withLock { $0.remembered[TopicName(topic)!] = knowledge }
    }

    /// What the broker says when it is asked.
    func set(_ topic: String, _ knowledge: TopicKnowledge) {
        state.withLock { $0.real[TopicName(topic)!] = knowledge }
    }

    /// Questions wait until `release`.
    func hold() { state.withLock { $0.holds = true } }

    func release() {
        let held = state.withLock { state in
            defer { (state.holds, state.held) = (false, []) }
            return state.held.map { (state.real[$0.topic] ?? .missing, $0.completion) }
        }
        for (knowledge, completion) in held { completion(knowledge) }
    }

    var asked: Int { state.withLock { $0.asked } }

    /// - Returns: whether so many questions wait in time.
    func waitForHeld(_ count: Int) -> Bool {
        state.wait(until: patienceEnd()) { $0.held.count >= count ? true : nil } ?? false
    }

    func knowledge(of topic: TopicName) -> TopicKnowledge { state.withLock { $0.remembered[topic] ?? .unverified } }

    func verify(_ topic: TopicName, completion: @escaping @Sendable (TopicKnowledge) -> Void) {
        defer { state.broadcast() }
        let knowledge = state.withLock { state -> TopicKnowledge? in
            state.asked += 1
            guard state.holds else { return state.real[topic] ?? .missing }
            state.held.append((topic, completion))
            return nil
        }
        if let knowledge { completion(knowledge) }
    }

    // What these tests do not ask for.

    private static let none = BrokerError(.retriable, code: "not_here", detail: "a fake")
    /// What administrative calls fail with.
    private let refusal = Lock(FakeTopics.none)
    func refuseCalls(_ error: BrokerError) { refusal.withLock { $0 = error } }
    private var failure: BrokerError { refusal.withLock { $0 } }

    func topics(completion: @escaping @Sendable (Result<[TopicName], BrokerError>) -> Void) {
        completion(.failure(failure))
    }

    func describe(
        _ topic: TopicName, completion: @escaping @Sendable (Result<TopicDescription?, BrokerError>) -> Void
    ) { completion(.failure(failure)) }

    func create(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) { completion(.failure(failure)) }

    func configure(
        _ topic: TopicName, settings: TopicSettings,
        completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void
    ) { completion(.failure(failure)) }

    func purge(
        _ topic: TopicName, below offsets: [Int32: Int64],
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) { completion(.failure(failure)) }

    func delete(_ topic: TopicName, completion: @escaping @Sendable (Result<Bool, BrokerError>) -> Void) {
        completion(.failure(failure))
    }

    func offsets(
        of topic: TopicName, atOrAfterMs timestampMs: Int64,
        completion: @escaping @Sendable (Result<[Int32: Int64], BrokerError>) -> Void
    ) { completion(.failure(failure)) }
}
