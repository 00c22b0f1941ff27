import Broker
import Logging
import Primitives
import Records
import TestSupport
import Testing

@testable import KafkaBroker

/// Topics of a cluster, with what is kept of them in memory, and time-outs that a test can wait for.
final class TopicsHarness: Sendable {
    let fileSystem: FakeFileSystem
    let topics: KafkaTopics
    private let isClosed = Lock(false)

    init(
        _ bootstrapServers: String, after: TopicsHarness? = nil,
        _ configure: (inout KafkaBrokerSettings) -> Void = { _ in }
    ) throws {
        fileSystem = after?.fileSystem ?? FakeFileSystem()
        try fileSystem.createDirectory("/data")
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = bootstrapServers
        settings.socketTimeout = .milliseconds(1_000)
        settings.reconnectMax = .milliseconds(200)
        settings.probeInterval = .milliseconds(100)
        configure(&settings)
        topics = try KafkaTopics(
            settings: settings, directory: "/data", fileSystem: fileSystem,
            log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    deinit { close() }

    func close() {
        let first = isClosed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        if first { topics.close() }
    }

    func verify(_ topic: TopicName) throws -> TopicKnowledge {
        try answer { topics.verify(topic, completion: $0) }
    }

    func describe(_ topic: TopicName) throws -> TopicDescription? {
        try answer { topics.describe(topic, completion: $0) }.get()
    }

    func create(_ topic: TopicName, _ settings: TopicSettings = TopicSettings()) throws -> Bool {
        try answer { topics.create(topic, settings: settings, completion: $0) }.get()
    }

    func configure(_ topic: TopicName, _ settings: TopicSettings) throws -> Bool {
        try answer { topics.configure(topic, settings: settings, completion: $0) }.get()
    }

    func purge(_ topic: TopicName, _ offsets: [Int32: Int64]) throws -> [Int32: Int64] {
        try answer { topics.purge(topic, below: offsets, completion: $0) }.get()
    }

    func delete(_ topic: TopicName) throws -> Bool { try answer { topics.delete(topic, completion: $0) }.get() }

    func offsets(_ topic: TopicName, atOrAfterMs ms: Int64) throws -> [Int32: Int64] {
        try answer { topics.offsets(of: topic, atOrAfterMs: ms, completion: $0) }.get()
    }

    func list() throws -> [TopicName] { try answer { topics.topics(completion: $0) }.get() }

    /// Waits for what a call completes with.
    func answer<Value: Sendable>(_ call: (@escaping @Sendable (Value) -> Void) -> Void) throws -> Value {
        let answer = waitForAnswer(call)
        return try #require(answer, "no answer")
    }

}

/// What a call failed with.
func failure(_ call: () throws -> some Any) -> BrokerError? {
    do {
        _ = try call()
        return nil
    } catch {
        return error as? BrokerError
    }
}
