import TestSupport
import Gateway
import GatewayTestSupport
import JSON
import KafkaBroker
import KafkaTestSupport
import Primitives
import Testing

/// The whole gateway in front of a cluster: librdkafka's own, in this process.
@Suite struct KafkaGatewayTests {
    private func gateway(
        _ bootstrapServers: String, in directory: TemporaryDirectory? = nil, properties: [String: String] = [:]
    ) throws -> LocalGateway {
        try LocalGateway(in: directory) { settings in
            settings.brokerKind = .kafka
            settings.kafka.bootstrapServers = bootstrapServers
            settings.kafka.properties = properties
            // A cluster that does not answer is found out within a test's patience.
            settings.kafka.socketTimeout = .milliseconds(500)
            settings.kafka.transactionTimeout = .seconds(2)
            settings.kafka.adminTimeout = .seconds(1)
            settings.kafka.reconnectMax = .milliseconds(100)
            settings.kafka.probeInterval = .milliseconds(100)
        }
    }

    private func cluster(_ topics: [String]) -> MockCluster {
        let cluster = MockCluster(brokers: 1)
        // It creates none by itself.
        cluster.createTopic("_postrider_checkpoints", partitions: 8)
        cluster.createTopic("_postrider_consumers", partitions: 1)
        for topic in topics { cluster.createTopic(topic) }
        return cluster
    }

    private func waitUntilReachable(_ expected: Bool, _ client: HTTPClient) throws {
        let isSo = try eventually {
            try client.request("GET", "/readyz").json()["broker"]?["reachable"]?.bool == expected
        }
        try #require(isSo)
    }

    @Test func gateway_Starts_WhenItsClusterIsAway() throws {
        let gateway = try gateway("127.0.0.1:1")
        let client = try gateway.client()
        try waitUntilReachable(false, client)
        let ready = try client.request("GET", "/readyz")
        #expect(ready.status == 200)
        #expect(try ready.json()["broker"]?["kind"]?.string == "kafka")
        #expect(try ready.json()["broker"]?["guarantee"]?.string == "exactly-once")
        #expect(try ready.json()["broker"]?["detail"]?.string?.isEmpty == false)
        #expect(try client.request("GET", "/readyz?require=forwarding").status == 503)
        let refused = try client.request("POST", "/v1/topics/orders", body: Array("1".utf8))
        #expect(refused.status == 503 && refused.code == "topic_unverified")
        gateway.stop()
        #expect(gateway.ended.withLock { $0 } == [])
    }

    @Test func records_AreAccepted_WhileTheClusterIsAway_AndDeliveredAfterwards() throws {
        let cluster = cluster(["orders"])
        let first = try gateway(cluster.bootstrapServers)
        let client = try first.client()
        try waitUntilReachable(true, client)
        let early = try client.produce("orders", "1", partition: 0)
        #expect(try client.settled(early)["offset"]?.int64 == 0)
        cluster.setDown(1)
        try waitUntilReachable(false, client)
        let late = try client.produce("orders", "2", partition: 0)
        first.stop()
        // The next one never saw the cluster: it knows the topic from the disk.
        let second = try gateway(cluster.bootstrapServers, in: first.directory)
        let other = try second.client()
        let last = try other.produce("orders", "3", partition: 0)
        cluster.setUp(1)
        #expect(try other.settled(late)["state"]?.string == "delivered")
        #expect(try other.settled(last)["state"]?.string == "delivered")
        // (Consumers need a controller, which the mock cluster has not.)
        let read = try other.request("GET", "/v1/topics/orders/partitions/0/records?offset=earliest")
        let values = try read.json()["records"]?.list.compactMap { $0["value"]?.int64 }
        #expect(values == [1, 2, 3])
    }

    @Test func secret_IsInNoAnswer() throws {
        let gateway = try gateway("127.0.0.1:1", properties: ["sasl.password": "hunter2"])
        for path in ["/readyz", "/v1/status", "/metrics"] {
            #expect(try !gateway.request("GET", path).text.contains("hunter2"))
        }
    }

    @Test func propertyOfWhichNoClientCanBeMade_EndsTheStart_WithItsName() throws {
        let error = #expect(throws: StartError.self) {
            _ = try gateway(
                "127.0.0.1:1", properties: ["security.protocol": "ssl", "ssl.ca.location": "/absent/ca.pem"])
        }
        #expect(error?.reason == .brokerFatal)
        #expect(error?.description.contains("ssl.ca.location") == true, "\(error?.description ?? "")")
    }
}
