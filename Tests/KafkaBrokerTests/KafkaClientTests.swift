import Broker
import CRdkafka
import KafkaTestSupport
import Testing

@testable import KafkaBroker

@Suite struct KafkaClientTests {
    @Test(arguments: [
        ClientRole.transactionalProducer(id: "a"), .idempotentProducer, .groupConsumer(group: "g"), .reader, .admin,
    ])
    func client_OpensAndCloses_WithoutABroker(_ role: ClientRole) throws {
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = "127.0.0.1:1"
        let client = try KafkaClient(ClientConfiguration(settings: settings, role: role))
        #expect(client.fatalError == nil)
        let isGone = client.close(within: .seconds(10))
        #expect(isGone)
    }

    @Test func property_IsRefusedByName_WhenAPromiseRestsOnIt() {
        var settings = KafkaBrokerSettings()
        settings.properties = ["acks": "1"]
        let error = #expect(throws: BrokerError.self) {
            _ = try KafkaClient(ClientConfiguration(settings: settings, role: .idempotentProducer))
        }
        #expect(error?.class == .processFatal)
        #expect(error?.detail.contains("acks") == true)
    }

    @Test func client_InitializesTransactions_AtTheMockCluster() throws {
        let cluster = MockCluster(brokers: 1)
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = cluster.bootstrapServers
        let client = try KafkaClient(ClientConfiguration(settings: settings, role: .transactionalProducer(id: "t")))
        try check(rd_kafka_init_transactions(client.handle, 10_000))
        client.close(within: .seconds(10))
    }
}
