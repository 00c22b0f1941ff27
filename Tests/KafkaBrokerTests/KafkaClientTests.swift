import Broker
import CRdkafka
import KafkaTestSupport
import Records
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

    @Test func client_ThatCannotBeMade_EndsTheProcessOnly_WhenTheConfigurationIsWrong() {
        let wrong = BrokerError.notMade(RD_KAFKA_RESP_ERR__INVALID_ARG, "ssl.ca.location failed")
        #expect(wrong.class == .processFatal && wrong.detail.contains("ssl.ca.location failed"))
        let busy = BrokerError.notMade(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "Failed to create thread")
        #expect(busy.class == .retriable && busy.alarm, "threads and files come back")
    }

    @Test func list_Lives_AsLongAsItsPointerIsUsed() {
        final class Seen { weak var list: TopicPartitionList? }
        let seen = Seen()
        func list() -> TopicPartitionList {
            let list = TopicPartitionList([TopicPartition("t", 3)])
            seen.list = list
            return list
        }
        let isAlive = list().withPointer { seen.list != nil && $0.pointee.cnt == 1 }
        #expect(isAlive)
        #expect(seen.list == nil)
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
