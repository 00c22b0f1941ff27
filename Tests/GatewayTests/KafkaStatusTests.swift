import Gateway
import GatewayTestSupport
import JSON
import KafkaBroker
import KafkaTestSupport
import Testing
import TestSupport

/// What a gateway says of its cluster's topics.
@Suite struct KafkaStatusTests {
    @Test func status_CountsTopicsThatCanLoseData_AndNamesItsOwn() throws {
        let cluster = MockCluster(brokers: 1)
        cluster.createTopic("_postrider_checkpoints", partitions: 8)
        cluster.createTopic("_postrider_consumers", partitions: 1)
        let gateway = try LocalGateway { settings in
            settings.brokerKind = .kafka
            settings.kafka.bootstrapServers = cluster.bootstrapServers
        }
        let client = try gateway.client()
        let isTold = try eventually {
            try client.request("GET", "/v1/status").json()["broker"]?["topics_warned"]?.int64 == 2
        }
        #expect(isTold)
        let warnings = try client.request("GET", "/v1/status").json()["broker"]?["warnings"]?.list
        let texts = warnings?.compactMap { $0.string } ?? []
        #expect(texts.contains { $0.hasPrefix("_postrider_checkpoints: replication factor 1") }, "\(texts)")
        gateway.stop()
    }
}
