import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import Testing

@testable import KafkaBroker

/// Faults of a mock cluster. It shows aborted records to everybody (`MockLimits`), so that what can be looked at here
/// is that every record is there, and in order when each is counted where it was delivered at last; that it is there
/// only once is looked at on a real cluster.
@Suite struct SinkFaultTests {
    struct Fault: CustomTestStringConvertible, Sendable {
        var kind: RequestKind
        var code: rd_kafka_resp_err_t
        var times = 1
        /// The class of the first error that the lane meets; nil: librdkafka gets over it by itself.
        var meets: BrokerError.Class?
        /// Before the sink is opened, or before its second hand-over.
        var onOpening = false

        var testDescription: String { "\(kind) \(KafkaError(code).name)\(onOpening ? " on opening" : "")" }
    }

    static let faults: [Fault] = [
        Fault(kind: .findCoordinator, code: RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, times: 2, onOpening: true),
        Fault(
            kind: .findCoordinator, code: RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, meets: .sinkFatal,
            onOpening: true),
        Fault(kind: .initProducerID, code: RD_KAFKA_RESP_ERR_NOT_COORDINATOR, onOpening: true),
        Fault(kind: .initProducerID, code: RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, times: 2, onOpening: true),
        Fault(kind: .initProducerID, code: RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, times: 2, onOpening: true),
        Fault(
            kind: .initProducerID, code: RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, meets: .sinkFatal,
            onOpening: true),
        Fault(kind: .initProducerID, code: RD_KAFKA_RESP_ERR_PRODUCER_FENCED, meets: .fenced, onOpening: true),
        Fault(kind: .listOffsets, code: RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, times: 2, onOpening: true),
        Fault(kind: .fetch, code: RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, times: 2, onOpening: true),
        Fault(kind: .fetch, code: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, meets: .retriable, onOpening: true),
        Fault(kind: .addPartitionsToTransaction, code: RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, times: 3),
        Fault(kind: .addPartitionsToTransaction, code: RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
        Fault(
            kind: .addPartitionsToTransaction, code: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, meets: .retriable),
        Fault(kind: .addPartitionsToTransaction, code: RD_KAFKA_RESP_ERR_PRODUCER_FENCED, meets: .fenced),
        Fault(kind: .addPartitionsToTransaction, code: RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, meets: .sinkFatal),
        Fault(kind: .produce, code: RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        Fault(kind: .produce, code: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
        Fault(kind: .produce, code: RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, times: 2),
        Fault(kind: .endTransaction, code: RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
        Fault(kind: .endTransaction, code: RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, times: 2),
        Fault(kind: .endTransaction, code: RD_KAFKA_RESP_ERR_PRODUCER_FENCED, meets: .fenced),
        Fault(kind: .endTransaction, code: RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, meets: .sinkFatal),
        Fault(
            kind: .endTransaction, code: RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, meets: .sinkFatal),
    ]

    @Test(arguments: faults) func everything_Arrives_AfterTheFault(_ fault: Fault) throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        // There is something to read on opening.
        try harness.open()
        try harness.hand(harness.records(1))
        if fault.onOpening { harness.close() }
        cluster.pushErrors(fault.kind, Array(repeating: fault.code.rawValue, count: fault.times))
        let delivered = harness.handUntilDelivered(harness.records(20))
        #expect(delivered, "\(harness.errors)")
        #expect(harness.errors.first?.class == fault.meets, "\(harness.errors)")
        expectAll(21, cluster)
    }

    static let refusals: [(rd_kafka_resp_err_t, BrokerError.Class)] = [
        (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, .retriable),
        (RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, .recordFatal),
        (RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, .sinkFatal),
        (RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, .fenced),
        (RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, .recordFatal),
        // Of one topic: no reason to end the process.
        (RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, .retriable),
    ]

    /// What became of the aborted transaction cannot be looked at: the mock shows its records and its checkpoint.
    @Test(arguments: refusals.map(\.0.rawValue), [Guarantee.exactlyOnce, .atLeastOnce])
    func handOver_FailsByClass_WhenRecordsAreRefused(_ raw: Int32, _ guarantee: Guarantee) throws {
        let expected = try #require(Self.refusals.first { $0.0.rawValue == raw })
        let (cluster, harness) = try apart(guarantee)
        for _ in 0..<2 { cluster.pushError(.produce, raw, afterMs: 0, broker: 1) }
        let error = #expect(throws: BrokerError.self) { try harness.hand(harness.records(20)) }
        #expect(error?.class == expected.1, "\(error?.description ?? "")")
    }

    /// The checkpoint is in the batch's transaction, and its refusal nobody's record's fault.
    @Test(arguments: [Guarantee.exactlyOnce, .atLeastOnce])
    func handOver_IsTriedAgain_WhenTheCheckpointIsRefused(_ guarantee: Guarantee) throws {
        let (cluster, harness) = try apart(guarantee)
        for _ in 0..<2 {
            cluster.pushError(.produce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE.rawValue, afterMs: 0, broker: 2)
        }
        let error = #expect(throws: BrokerError.self) { try harness.hand(harness.records(1)) }
        #expect(error?.class == .retriable)
        #expect(error?.code == "checkpoint_refused")
        #expect(error?.alarm == true)
    }

    /// A sink whose records go to broker 1, and its checkpoint to broker 2.
    private func apart(_ guarantee: Guarantee) throws -> (MockCluster, SinkHarness) {
        let cluster = SinkHarness.cluster(brokers: 2)
        let settings = SinkHarness.settings(cluster.bootstrapServers, guarantee)
        for partition in 0..<SinkHarness.partitions {
            cluster.setLeader(of: SinkHarness.records.text, partition: partition, to: 1)
        }
        cluster.setLeader(of: settings.checkpointTopic, partition: 0, to: 2)
        let harness = SinkHarness(settings)
        try harness.open()
        return (cluster, harness)
    }

    /// A first copy of the request may be answered to nobody long after the second ended the transaction, and would end
    /// the producer's next one: that must be another producer's.
    @Test(arguments: [RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_NOT_COORDINATOR].map(\.rawValue))
    func sink_IsUsedNoMore_WhenItsCommitWasSentTwice(_ code: Int32) throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        try harness.open()
        // A commit that was sent once spends nothing.
        for _ in 0..<2 { try harness.hand(harness.records(1)) }
        // `_TRANSPORT` closes the connection once the request has arrived.
        cluster.pushErrors(.endTransaction, [code])
        try harness.hand(harness.records(1))
        let error = #expect(throws: BrokerError.self) { try harness.hand(harness.records(1)) }
        #expect(error?.code == "sink_spent")
        try harness.open()
        #expect(harness.previous?.lsn == LSN(epoch: 1, sequence: 3))
    }

    enum Stall: CaseIterable {
        case produceAnswerLost, commitAnswerLost, leaderMoves, coordinatorMoves, brokerDown, allDown, frozen
    }

    @Test(arguments: Stall.allCases, [Guarantee.exactlyOnce, .atLeastOnce])
    func everything_Arrives_AfterTheStall(_ stall: Stall, _ guarantee: Guarantee) throws {
        let cluster = SinkHarness.cluster()
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers, guarantee))
        try harness.open()
        try harness.hand(harness.records(1))
        let over = Monitor(false)
        let end = WorkerThread(name: "stall") {
            _ = over.wait(until: SystemClock().now() + .seconds(1)) { $0 ? true : nil }
            Self.end(stall, cluster)
        }
        Self.begin(stall, cluster, harness)
        let delivered = harness.handUntilDelivered(harness.records(20))
        over.withLock { $0 = true }
        over.broadcast()
        end.join()
        #expect(delivered, "\(harness.errors)")
        expectAll(21, cluster)
        // Whatever happened, the next opening finds the way.
        try harness.open()
        #expect(harness.previous?.lsn == LSN(epoch: 1, sequence: 21))
    }

    private static func begin(_ stall: Stall, _ cluster: MockCluster, _ harness: SinkHarness) {
        switch stall {
        case .produceAnswerLost:
            for broker in 1...cluster.brokers { cluster.pushError(.produce, 0, afterMs: 1500, broker: broker) }
        case .commitAnswerLost:
            for broker in 1...cluster.brokers { cluster.pushError(.endTransaction, 0, afterMs: 1500, broker: broker) }
        case .leaderMoves:
            for partition in 0..<SinkHarness.partitions {
                cluster.setLeader(of: SinkHarness.records.text, partition: partition, to: 1)
                cluster.setLeader(of: SinkHarness.records.text, partition: partition, to: 2)
            }
        case .coordinatorMoves:
            for broker in 1...cluster.brokers {
                cluster.setCoordinator("transaction", of: "postrider-\(harness.spool)-0", to: broker)
            }
        case .brokerDown: cluster.setDown(1)
        case .allDown: for broker in 1...cluster.brokers { cluster.setDown(broker) }
        case .frozen: for broker in 1...cluster.brokers { cluster.setRoundTrip(broker, milliseconds: 3000) }
        }
    }

    private static func end(_ stall: Stall, _ cluster: MockCluster) {
        for broker in 1...cluster.brokers {
            switch stall {
            case .brokerDown, .allDown: cluster.setUp(broker)
            case .frozen: cluster.setRoundTrip(broker, milliseconds: 0)
            case .produceAnswerLost, .commitAnswerLost, .leaderMoves, .coordinatorMoves: break
            }
        }
    }

    /// Every record, and the first copy of each in the order of acceptance within its partition.
    private func expectAll(_ count: Int, _ cluster: MockCluster) {
        let entries = LogReader.read(
            SinkHarness.records.text, partitions: SinkHarness.partitions, at: cluster.bootstrapServers)
        let numbers = entries.compactMap { $0.text.flatMap { Int($0) } }
        #expect(Set(numbers) == Set(1...count))
        for partition in 0..<SinkHarness.partitions {
            var seen: Set<String> = []
            let firsts = entries.filter { $0.partition == partition }.compactMap(\.text).filter {
                seen.insert($0).inserted
            }
            let order = firsts.compactMap { Int($0) }
            #expect(order == order.sorted())
        }
    }
}
