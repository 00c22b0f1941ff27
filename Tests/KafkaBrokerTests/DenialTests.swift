import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import Testing

@testable import KafkaBroker

/// Rights that are withdrawn for a while: the lane that needs them waits with an alarm, others go on, and everything
/// arrives when they are given back.
@Suite struct DenialTests {
    struct Denial: CustomTestStringConvertible, Sendable {
        var kind: RequestKind
        var code: rd_kafka_resp_err_t
        /// While a sink is opened, or during its hand-overs.
        var onOpening = false
        var guarantee = Guarantee.exactlyOnce
        /// The records are at the broker when it is refused: the mock shows them although they are aborted
        /// (`MockLimits`).
        var isWritten = false

        var testDescription: String { "\(kind) \(KafkaError(code).name)" }
    }

    static let denials: [Denial] = [
        Denial(
            kind: .initProducerID, code: RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, onOpening: true),
        Denial(kind: .initProducerID, code: RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, onOpening: true),
        Denial(kind: .addPartitionsToTransaction, code: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
        Denial(
            kind: .addPartitionsToTransaction, code: RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        // (Within a transaction the mock would show its checkpoint, which is at the other broker.)
        Denial(kind: .produce, code: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, guarantee: .atLeastOnce),
        Denial(
            kind: .endTransaction, code: RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, isWritten: true),
    ]

    /// Tries that are refused before the right is given back.
    private static let tries = 3

    @Test(arguments: denials) func everything_Arrives_WhenTheRightIsGivenBack(_ denial: Denial) throws {
        let cluster = SinkHarness.cluster(brokers: 2)
        let others = SinkHarness.name("others")
        cluster.createTopic(others.text, partitions: 1)
        let settings = SinkHarness.settings(cluster.bootstrapServers, denial.guarantee)
        // What the first lane needs is at broker 1, what the second needs, and all checkpoints, at broker 2.
        let (denied, other) = (SinkHarness(settings), SinkHarness(settings, lane: 1))
        for partition in 0..<SinkHarness.partitions {
            cluster.setLeader(of: SinkHarness.records.text, partition: partition, to: 1)
        }
        for partition in 0..<CheckpointTopic.partitions {
            cluster.setLeader(of: settings.checkpointTopic, partition: partition, to: 2)
        }
        cluster.setLeader(of: others.text, partition: 0, to: 2)
        for (harness, broker) in [(denied, Int32(1)), (other, 2)] {
            cluster.setCoordinator("transaction", of: "postrider-\(harness.spool)-\(harness.lane)", to: broker)
        }
        try denied.open()
        try denied.hand(denied.records(1))
        try other.open()
        if denial.onOpening { denied.close() }

        cluster.deny(denial.kind, denial.code.rawValue, exceptAt: 2)
        let batch = denied.records(20)
        for _ in 0..<Self.tries {
            let error = #expect(throws: BrokerError.self) {
                if denied.sink == nil { try denied.open() }
                try denied.hand(batch)
            }
            // For ever, and somebody has to look: never a dead letter, never the end of the process.
            #expect(error?.class == .retriable || error?.class == .sinkFatal, "\(error?.description ?? "")")
            #expect(error?.alarm == true, "\(error?.description ?? "")")
            denied.close()
            try other.hand(other.records(1, topic: others))
        }
        cluster.allow(denial.kind)
        let delivered = denied.handUntilDelivered(batch)
        #expect(delivered, "\(denied.errors)")

        let entries = LogReader.read(
            SinkHarness.records.text, partitions: SinkHarness.partitions, at: cluster.bootstrapServers)
        var firsts: Set<Int> = []
        let numbers = entries.compactMap { $0.text.flatMap { Int($0) } }
        let inOrder = numbers.filter { firsts.insert($0).inserted }
        #expect(firsts == Set(1...21))
        #expect(denial.isWritten || numbers.count == inOrder.count, "written once")
        #expect(LogReader.read(others.text, partitions: 1, at: cluster.bootstrapServers).count == Self.tries)
    }
}
