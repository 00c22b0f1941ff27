import Broker
import Primitives
import Records
import Store
import Testing

@testable import EmbeddedBroker

@Suite struct TopicTests {
    @Test(arguments: [
        (TopicSettings(partitions: 0), "invalid_partitions"), (TopicSettings(partitions: 1_025), "invalid_partitions"),
        (TopicSettings(retentionMs: 0), "invalid_topic_settings"),
        (TopicSettings(retentionBytes: 0), "invalid_topic_settings"),
        (TopicSettings(recordBytesMax: 0), "invalid_topic_settings"),
    ])
    func create_Refuses_WhenASettingIsOutOfRange(settings: TopicSettings, code: String) throws {
        let harness = try BrokerHarness()
        let error = try brokerError { _ = try harness.create(orders, settings) }
        #expect(error.code == code)
        #expect(try harness.describe(orders) == nil)
    }

    @Test func topicsMax_RefusesCreateAsRetriable_AndKnowledgeSaysMissing() throws {
        let harness = try BrokerHarness { $0.topicsMax = 1 }
        #expect(
            harness.broker.knowledge(of: payments) == .creatable(KnownTopic(partitions: 4, recordBytesMax: 1_114_112)))
        _ = try harness.create(orders)
        #expect(harness.broker.knowledge(of: payments) == .missing)
        try expectRefusal("too_many_topics", class: .retriable) { _ = try harness.create(payments) }
    }

    /// Intake said `creatable` to each of them before any was handed over: refusing one later would hold up its lane
    /// for good.
    @Test func handOver_CreatesWhatIntakeAdmitted_WhenTopicsMaxIsPassedMeanwhile() throws {
        let harness = try BrokerHarness { $0.topicsMax = 2 }
        let names = (1...4).compactMap { TopicName("topic-\($0)") }
        for name in names {
            #expect(harness.broker.knowledge(of: name) == .creatable(harness.broker.settings.created))
        }
        let sink = try harness.sink()
        try sink.deliver(names.prefix(3).enumerated().map { outgoing($0.offset + 1, $0.element) })
        try sink.deliver([outgoing(4, names[3])])
        for reopened in [false, true] {
            if reopened { try harness.reopen() }
            for (index, name) in names.enumerated() {
                #expect(try harness.values(name)[0] == ["v\(index + 1)"])
            }
            // Nothing more than that.
            #expect(harness.broker.knowledge(of: payments) == .missing)
            try expectRefusal("too_many_topics") { _ = try harness.create(payments) }
        }
    }

    @Test func newTopic_IsRecordFatal_WhenPartitionNumbersAreUsedUp() throws {
        let harness = try BrokerHarness { $0.topicsMax = .max }
        try harness.broker.writes.wait { (writer) throws(JobFailure) in
            // Room for one topic of 4 partitions.
            try stored { () throws(StoreError) in
                try writer.connection.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES ('partitions', \(RecordKey.partitionEnd - 5))")
                writer.ledger = try Ledger.load(writer.connection, writer.outcomes)
            }
        }
        let sink = try harness.sink()
        try expectRefusal("partition_numbers_exhausted", class: .recordFatal) {
            try sink.deliver([outgoing(1), outgoing(2, payments)])
        }
        try sink.deliver([outgoing(1)])
        try expectRefusal("partition_numbers_exhausted", class: .recordFatal) {
            try sink.deliver([outgoing(2, payments)])
        }
        try expectRefusal("partition_numbers_exhausted") {
            _ = try harness.create(payments, TopicSettings(partitions: 1))
        }
        // The lane goes on.
        try sink.deliver([outgoing(3)])
        try harness.reopen()
        #expect(try harness.values(orders)[0] == ["v1", "v3"])
    }

    @Test func deletedTopic_IsNotCreatedByProducing_OnlyByCreate() throws {
        let harness = try BrokerHarness()
        let sink = try harness.sink()
        try sink.deliver([outgoing(1)])
        #expect(try harness.delete(orders))
        #expect(try !harness.delete(orders))
        for reopened in [false, true] {
            if reopened { try harness.reopen() }
            #expect(harness.broker.knowledge(of: orders) == .missing)
            let error = try brokerError { try harness.sink().deliver([outgoing(2)]) }
            #expect(error.class == .recordFatal)
            #expect(error.code == "topic_deleted")
        }
        #expect(try harness.create(orders))
        try harness.sink().deliver([outgoing(3)])
        #expect(try harness.values(orders) == [["v3"], [], [], []])
    }

    @Test func deletedTopic_TakesItsOffsetsAndRecordsWithIt_AndNumbersAreNotUsedAgain() throws {
        let harness = try BrokerHarness { $0.retentionSliceRecords = 10 }
        let sink = try harness.sink()
        try sink.deliver((1...55).map { outgoing($0) })
        let partition = TopicPartition(topic: orders, partition: 0)
        try harness.commit(billing, [partition: CommittedOffset(offset: 5)])
        let before = try #require(harness.broker.published[orders])
        _ = try harness.delete(orders)
        _ = try harness.create(orders)
        let after = try #require(harness.broker.published[orders])
        #expect(after.number > before.number)
        #expect(Set(after.partitions.map(\.number)).isDisjoint(with: before.partitions.map(\.number)))
        #expect(try harness.committed(billing).isEmpty)
        #expect(try sink.deliver([outgoing(56)]).map(\.offset) == [0])
        try harness.settle()
        let rows = try harness.broker.reads.wait { (reader) throws(JobFailure) in
            try stored { () throws(StoreError) in
                try Statement(
                    reader.connection, "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM partitions)"
                )
                .first { [$0.integer(0), $0.integer(1)] } ?? []
            }
        }
        #expect(rows == [1, 4])
    }

    @Test func deletedTopicsKept_BoundsWhatIsRemembered() throws {
        let harness = try BrokerHarness { $0.deletedTopicsKept = 1 }
        for topic in [orders, payments] {
            _ = try harness.create(topic)
            _ = try harness.delete(topic)
        }
        #expect(harness.broker.knowledge(of: payments) == .missing)
        guard case .creatable = harness.broker.knowledge(of: orders) else {
            Issue.record("the oldest was not forgotten")
            return
        }
    }

    @Test func topics_AreListedAndDescribedAlsoAfterReopening() throws {
        let harness = try BrokerHarness()
        let settings = TopicSettings(partitions: 2, retentionMs: 5, retentionBytes: 6, recordBytesMax: 7)
        #expect(try harness.create(payments, settings))
        #expect(try !harness.create(payments, TopicSettings(partitions: 3)))
        try harness.sink().deliver([outgoing(1), outgoing(2)])
        for reopened in [false, true] {
            if reopened { try harness.reopen() }
            let names = try answer { harness.broker.topics(completion: $0) }
            #expect(names == [orders, payments])
            let description = try #require(try harness.describe(payments))
            #expect(description.settings == settings)
            #expect(description.partitions.map(\.partition) == [0, 1])
            #expect(try harness.describe(orders)?.partitions.map(\.highWatermark) == [2, 0, 0, 0])
            #expect(harness.broker.knowledge(of: payments) == .known(KnownTopic(partitions: 2, recordBytesMax: 7)))
        }
        #expect(try harness.describe(try #require(TopicName("none"))) == nil)
    }
}
