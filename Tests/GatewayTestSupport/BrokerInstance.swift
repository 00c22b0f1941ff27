public import Gateway
import KafkaBroker
import JSON
public import KafkaTestSupport
import Primitives
public import TestSupport
import Testing

/// One broker for the gateways of one test, which are to be stopped before it goes. Names are its own, since a real
/// cluster is shared.
public final class BrokerInstance: Sendable {
    public let broker: TestBroker
    private let suffix = String(UInt64.random(in: .min ... .max), radix: 36)
    /// Where it is one.
    public let mock: MockCluster?
    /// In a real cluster, to be deleted.
    private let topics: Lock<[String]>

    /// - Parameter brokers: of a mock cluster.
    /// - Throws: the end of the test, where no real cluster is named.
    public init(_ broker: TestBroker, brokers: Int32 = 1) throws {
        self.broker = broker
        mock = broker == .mock ? MockCluster(brokers: brokers) : nil
        topics = Lock([])
        switch broker {
        case .embedded: break
        case .mock:
            // It makes none by request.
            mock?.createTopic(checkpointTopic, partitions: 8)
            mock?.createTopic(consumersTopic, partitions: 1)
        case .real:
            try RealKafka.need(for: Test.current)
            topics.withLock { $0 = [checkpointTopic, consumersTopic] }
        }
    }

    deinit { if broker == .real { RealKafka.delete(topics.withLock { $0 }) } }

    public var checkpointTopic: String { name("_postrider_test_checkpoints") }
    public var consumersTopic: String { name("_postrider_test_consumers") }

    /// Of a topic or consumer of this test alone.
    public func name(_ text: String) -> String { "\(text)-\(suffix)" }

    public var bootstrapServers: String? {
        mock?.bootstrapServers ?? (broker == .real ? RealKafka.bootstrapServers : nil)
    }

    /// Puts gateways in front of it.
    public func configure(_ settings: inout Settings) {
        guard let bootstrapServers else { return }
        settings.brokerKind = .kafka
        settings.kafka.bootstrapServers = bootstrapServers
        settings.kafka.checkpointTopic = checkpointTopic
        settings.kafka.consumersTopic = consumersTopic
        settings.kafka.deletesGroups = broker.lacks(.forgettingGroups) == nil
        settings.kafka.properties = ["session.timeout.ms": "6000", "heartbeat.interval.ms": "300"]
        settings.kafka.socketTimeout = .seconds(5)
        settings.kafka.reconnectMax = .milliseconds(100)
        settings.kafka.probeInterval = .milliseconds(100)
        settings.kafka.closeTimeout = .seconds(2)
    }

    /// Makes a topic by the API, or where there is no such call beside it. - Returns: its name.
    func makeTopic(_ text: String, partitions: Int, _ client: HTTPClient) throws -> String {
        let topic = name(text)
        if broker.lacks(.creatingTopics) != nil {
            mock?.createTopic(topic, partitions: Int32(partitions))
            return topic
        }
        topics.withLock { $0.append(topic) }
        let answer = try client.putJSON("/v1/topics/\(topic)", #"{"partitions":\#(partitions)}"#)
        guard answer.status == 201 else { throw HTTPClient.Failure("PUT \(topic): \(answer.status) \(answer.text)") }
        // A cluster knows of a topic a moment before its partitions have leaders.
        let isLed = try eventually {
            let partitions = try client.request("GET", "/v1/topics/\(topic)").json()["partitions"]?.list ?? []
            return partitions.count == partitions.count { $0["high_watermark"]?.int64 == 0 }
        }
        guard isLed else { throw HTTPClient.Failure("\(topic) has no leaders") }
        return topic
    }

    /// To be deleted with the others: a test makes it by itself.
    public func willMake(_ text: String) -> String {
        let topic = name(text)
        topics.withLock { $0.append(topic) }
        return topic
    }
}

/// A gateway of one test in front of the broker that its argument names, and a connection to it.
public struct TestGateway {
    public let instance: BrokerInstance
    public let local: LocalGateway
    public let client: HTTPClient

    public var broker: TestBroker { instance.broker }

    public init(_ broker: TestBroker, _ configure: (inout Settings) throws -> Void = { _ in }) throws {
        try self.init(BrokerInstance(broker), configure)
    }

    /// - Parameters:
    ///   - instance: of another gateway.
    ///   - directory: of an earlier gateway, to start again on it.
    public init(
        _ instance: BrokerInstance, in directory: TemporaryDirectory? = nil,
        _ configure: (inout Settings) throws -> Void = { _ in }
    ) throws {
        self.instance = instance
        local = try LocalGateway(in: directory, on: instance, configure)
        client = try local.client()
    }

    public func name(_ text: String) -> String { instance.name(text) }

    /// A topic of its own. - Returns: its name.
    public func topic(_ text: String = "orders", partitions: Int = 4) throws -> String {
        try instance.makeTopic(text, partitions: partitions, client)
    }
}
