import Broker
import CRdkafka
import KafkaTestSupport
import Primitives
import Records
import Testing

@testable import KafkaBroker

@Suite struct SinkTests {
    @Test(arguments: [Guarantee.exactlyOnce, .atLeastOnce])
    func batch_IsReadWithItsDeliveries_WhenItIsHandedOver(_ guarantee: Guarantee) throws {
        let cluster = SinkHarness.cluster()
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers, guarantee), lane: 3)
        try harness.open()
        #expect(harness.previous == nil)
        let batch = harness.records(200)
        var prepared: [Delivery] = []
        let deliveries = try harness.hand(batch) { prepared = $0 }
        #expect(prepared == deliveries)
        #expect(deliveries.map(\.lsn) == batch.map(\.lsn))
        let entries = LogReader.read(
            SinkHarness.records.text, partitions: SinkHarness.partitions, at: cluster.bootstrapServers)
        let found = Dictionary(
            uniqueKeysWithValues: entries.map { ([Int64($0.partition), $0.offset], $0) })
        for (outgoing, delivery) in zip(batch, deliveries) {
            let entry = found[[Int64(delivery.partition.partition), delivery.offset]]
            #expect(entry?.value == outgoing.spooled.record.value.map { Array($0) })
            #expect(entry?.timestampMs == outgoing.spooled.record.timestampMs)
            #expect(entry?.header("postrider-id") == "\(harness.spool.short)-\(outgoing.lsn)")
        }
        #expect(entries.count == batch.count)
        try harness.open()
        #expect(harness.previous == harness.checkpoint(batch[199].lsn))
    }

    @Test(arguments: [Guarantee.exactlyOnce, .atLeastOnce])
    func checkpoint_IsWrittenAlone_WhenTheBatchIsEmpty(_ guarantee: Guarantee) throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers, guarantee))
        try harness.open()
        let checkpoint = harness.checkpoint(LSN(epoch: 1, sequence: 77))
        let sink = try #require(harness.sink)
        _ = try sink.deliver([], checkpoint: checkpoint) { _ throws(BrokerError) in }
        try harness.open()
        #expect(harness.previous == checkpoint)
    }

    /// 8 lanes share 8 partitions with those of other spools.
    @Test func checkpoint_IsTheLanesOwn_WhenManyShareThePartition() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let settings = SinkHarness.settings(cluster.bootstrapServers)
        let harnesses = [0, 8, 16].map { SinkHarness(settings, lane: $0) } + [SinkHarness(settings, lane: 0)]
        for (index, harness) in harnesses.enumerated() {
            try harness.open()
            #expect(harness.previous == nil)
            try harness.hand(harness.records(index + 1))
        }
        for (index, harness) in harnesses.enumerated() {
            try harness.open()
            #expect(harness.previous?.lsn == LSN(epoch: 1, sequence: UInt32(index + 1)))
        }
    }

    /// A cluster that does not compact keeps all that was ever written, and reading it takes as long as it takes.
    @Test func checkpoint_IsFound_HoweverMuchLiesBeforeIt() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        var settings = SinkHarness.settings(cluster.bootstrapServers)
        settings.socketTimeout = .seconds(3)
        let harness = SinkHarness(settings)
        try harness.open()
        // A mock cluster answers a fetch with one batch, and each commit makes one.
        for _ in 0..<30 { try harness.hand(harness.records(1)) }
        let client = try KafkaClient(ClientConfiguration(settings: settings, role: .admin))
        defer { client.close(within: .seconds(2)) }
        cluster.setRoundTrip(1, milliseconds: 100)
        let still = Duration.milliseconds(1500)
        let began = SystemClock().now()
        let reader = CheckpointReader(settings: settings, interruption: Interruption(), stillMax: still)
        let found = try reader.read(spool: harness.spool, lane: 0, end: client)
        #expect(found?.lsn == LSN(epoch: 1, sequence: 30))
        let isLonger = SystemClock().now() - began > still
        #expect(isLonger, "or this shows nothing")
    }

    /// Brokers learn of a topic one after the other, and a client asks now this one, now that one.
    @Test func topicOfCheckpoints_IsWaitedFor_WhileABrokerDoesNotKnowIt() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        var settings = SinkHarness.settings(cluster.bootstrapServers)
        settings.socketTimeout = .seconds(1)
        let harness = SinkHarness(settings)
        try harness.open()
        try harness.hand(harness.records(1))
        let topic = settings.checkpointTopic
        cluster.setError(of: topic, to: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART.rawValue)
        let reader = CheckpointReader(settings: settings, interruption: Interruption())
        // Each time one that knows nothing of the topic yet.
        func read() throws(BrokerError) -> SinkCheckpoint? {
            let client = try KafkaClient(ClientConfiguration(settings: settings, role: .admin))
            defer { client.close(within: .seconds(2)) }
            return try reader.read(spool: harness.spool, lane: 0, end: client)
        }
        let error = #expect(throws: BrokerError.self) { try read() }
        #expect(error?.code == "checkpoint_unread" && error?.class == .retriable && error?.alarm == true)
        let learns = WorkerThread(name: "learns") {
            _ = Monitor(false).wait(until: SystemClock().now() + .milliseconds(300)) { $0 ? true : nil }
            cluster.setError(of: topic, to: RD_KAFKA_RESP_ERR_NO_ERROR.rawValue)
        }
        defer { learns.join() }
        #expect(try read()?.lsn == LSN(epoch: 1, sequence: 1))
    }

    @Test func emptyAndNull_StayApart() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        try harness.open()
        let empty: ByteSlice = []
        let headers = [
            RecordHeader(name: "null", value: nil), RecordHeader(name: "empty", value: empty),
            RecordHeader(name: "twice", value: [1]), RecordHeader(name: "twice", value: [0, 2]),
        ]
        let batch = [
            Record(key: nil, value: nil, timestampMs: 1), Record(key: empty, value: empty, timestampMs: 2),
            Record(key: [0], value: [0], headers: headers, timestampMs: 3),
        ].map { harness.record($0) }
        try harness.hand(batch)
        let entries = LogReader.read(
            SinkHarness.records.text, partitions: SinkHarness.partitions, at: cluster.bootstrapServers
        ).sorted { $0.timestampMs < $1.timestampMs }
        #expect(entries.map(\.key) == [nil, [], [0]])
        #expect(entries.map(\.value) == [nil, [], [0]])
        let found = entries.last?.headers.dropLast().map {
            RecordHeader(name: $0.name, value: $0.value.map { $0[...] })
        }
        #expect(found == headers)
    }

    @Test(arguments: [Guarantee.exactlyOnce, .atLeastOnce])
    func largeBatch_KeepsItsOrder_WithinAPartition(_ guarantee: Guarantee) throws {
        let cluster = SinkHarness.cluster()
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers, guarantee))
        try harness.open()
        let batch = harness.records(10_000)
        let deliveries = try harness.hand(batch)
        for partition in 0..<SinkHarness.partitions {
            let offsets = deliveries.filter { $0.partition.partition == partition }.map(\.offset)
            #expect(!offsets.isEmpty)
            #expect(offsets == offsets.sorted())
            #expect(Set(offsets).count == offsets.count)
        }
    }

    @Test func keyedRecord_GoesWhereTheJavaClientPutsIt() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        try harness.open()
        let keys = (0..<20).map { Array("key-\($0)".utf8)[...] }
        let deliveries = try harness.hand(keys.flatMap { harness.records(1, key: $0) })
        let expected = keys.map { Int32(murmur2($0) & 0x7FFF_FFFF) % SinkHarness.partitions }
        #expect(deliveries.map(\.partition.partition) == expected)
    }

    @Test func batch_IsNotCommitted_WhenPreparedThrows() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        try harness.open()
        let refusal = BrokerError(.retriable, code: "outcomes_unwritable", detail: "as told by the test")
        let error = #expect(throws: BrokerError.self) {
            try harness.hand(harness.records(3)) { (_) throws(BrokerError) in throw refusal }
        }
        #expect(error == refusal)
        // What failed once may have failed half: only another sink knows.
        let second = #expect(throws: BrokerError.self) { try harness.hand([]) }
        #expect(second?.code == "sink_spent")
    }

    @Test func partition_IsMissing_WhenTheTopicHasFewer() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        try harness.open()
        var batch = harness.records(1)
        batch[0].spooled.partition = SinkHarness.partitions
        let error = #expect(throws: BrokerError.self) { try harness.hand(batch) }
        #expect(error?.code == "partition_missing")
        #expect(error?.class == .retriable && error?.alarm == true)
    }

    @Test func topic_IsMissing_WhenFreshMetadataSaysSo() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        cluster.setError(of: "nobody-made-it", to: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART.rawValue)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        for _ in 0..<2 {
            try harness.open()
            let error = #expect(throws: BrokerError.self) {
                try harness.hand(harness.records(1, topic: SinkHarness.name("nobody-made-it")))
            }
            #expect(error?.code == "topic_missing")
            #expect(error?.class == .retriable)
        }
    }

    @Test func record_IsRefusedAlone_WhenItIsTooLarge() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        var settings = SinkHarness.settings(cluster.bootstrapServers)
        settings.recordBytesMax = 1000
        let harness = SinkHarness(settings)
        try harness.open()
        let value = [UInt8](repeating: 7, count: 200_000)[...]
        let error = #expect(throws: BrokerError.self) {
            try harness.hand([harness.record(Record(key: nil, value: value, timestampMs: 1))])
        }
        #expect(error?.class == .recordFatal)
        #expect(error?.code == "record_too_large")
    }

    @Test func nextSink_SendsSmallerBatches_WhenATopicTakesLess() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers), maxMessageBytes: 10_000)
        try harness.open()
        let batch = harness.records(5)
        let error = #expect(throws: BrokerError.self) { try harness.hand(batch) }
        #expect(error?.class == .sinkFatal)
        try harness.open()
        try harness.hand(batch)
    }

    @Test func openingAndHandOver_EndSoon_WhenInterrupted() throws {
        let cluster = SinkHarness.cluster(brokers: 1)
        let harness = SinkHarness(SinkHarness.settings(cluster.bootstrapServers))
        try harness.open()
        harness.sink?.interrupt()
        let handing = #expect(throws: BrokerError.self) { try harness.hand(harness.records(1)) }
        #expect(handing?.code == "interrupted")
        harness.sinks.interrupt()
        let opening = #expect(throws: BrokerError.self) { try harness.open() }
        #expect(opening?.code == "interrupted")
    }
}
