import Broker
import Primitives
import Records
import TestSupport
import Testing

@testable import EmbeddedBroker

/// `configure` and `purge`.
@Suite struct TopicChangeTests {
    @Test func configure_ChangesWhatIsGiven_AndKeepsTheRest_AlsoAfterReopening() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders, TopicSettings(partitions: 2, retentionMs: 5, recordBytesMax: 7))
        #expect(try harness.configure(orders, TopicSettings(retentionBytes: 6, recordBytesMax: 9)))
        let expected = TopicSettings(partitions: 2, retentionMs: 5, retentionBytes: 6, recordBytesMax: 9)
        for reopened in [false, true] {
            if reopened { try harness.reopen() }
            #expect(try harness.describe(orders)?.settings == expected)
            #expect(harness.broker.knowledge(of: orders) == .known(KnownTopic(partitions: 2, recordBytesMax: 9)))
        }
        #expect(try !harness.configure(payments, TopicSettings()))
        #expect(try harness.describe(payments) == nil)
    }

    @Test func describe_ShowsTheBrokersDefaults_WhereATopicHasNone() throws {
        let harness = try BrokerHarness { $0.retentionBytes = 99 }
        _ = try harness.create(orders)
        _ = try harness.create(payments, TopicSettings(retentionMs: -1, retentionBytes: -1))
        let week: Int64 = 7 * 24 * 3600 * 1000
        #expect(
            try harness.describe(orders)?.settings
                == TopicSettings(partitions: 4, retentionMs: week, retentionBytes: 99, recordBytesMax: 1_114_112))
        #expect(
            try harness.describe(payments)?.settings
                == TopicSettings(partitions: 4, retentionMs: -1, retentionBytes: -1, recordBytesMax: 1_114_112))
        try harness.reopen { $0.retentionMs = nil }
        #expect(try harness.describe(orders)?.settings.retentionMs == TopicSettings.unlimited)
    }

    @Test(arguments: [
        TopicSettings(retentionMs: 0), TopicSettings(retentionMs: -2), TopicSettings(retentionBytes: 0),
        TopicSettings(retentionBytes: Int64.min), TopicSettings(recordBytesMax: 0),
        TopicSettings(recordBytesMax: 512 << 20 + 1),
    ])
    func configure_Refuses_WhenASettingIsOutOfRange(settings: TopicSettings) throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let before = try harness.describe(orders)
        try expectRefusal("invalid_topic_settings") { _ = try harness.configure(orders, settings) }
        #expect(try harness.describe(orders) == before)
    }

    @Test func configuredRetention_DecidesWhatTheNextRoundTakes() throws {
        let harness = try BrokerHarness { $0.retentionMs = 1 }
        _ = try harness.create(orders, TopicSettings(retentionMs: TopicSettings.unlimited))
        try harness.sink().deliver([outgoing(1, atMs: 0)])
        try harness.pass(.seconds(60))
        #expect(try harness.values(orders)[0] == ["v1"])
        _ = try harness.configure(orders, TopicSettings(retentionMs: 1_000))
        try harness.pass(.seconds(60))
        #expect(try harness.values(orders)[0] == [])
    }

    @Test func loweredRecordBytesMax_RefusesALargerRecordAlone() throws {
        let harness = try BrokerHarness()
        _ = try harness.create(orders)
        let sink = try harness.sink()
        _ = try harness.configure(orders, TopicSettings(recordBytesMax: 3))
        try expectRefusal("record_too_large", class: .recordFatal) {
            try sink.deliver([outgoing(1, value: "four")])
        }
        try sink.deliver([outgoing(2, value: "abc")])
        #expect(try harness.values(orders)[0] == ["abc"])
    }

    @Test func purge_HidesAtOnce_AndRemovesInSlices_AndSurvivesReopening() throws {
        let harness = try BrokerHarness {
            $0.retentionSliceRecords = 4
            $0.retentionMs = nil
        }
        let sink = try harness.sink()
        try sink.deliver((1...30).map { outgoing($0, partition: Int32($0 % 2)) })
        let billing = try #require(ConsumerName("billing"))
        try harness.commit(billing, [TopicPartition(topic: orders, partition: 0): CommittedOffset(offset: 3)])
        #expect(try harness.purge(orders, below: [0: 10, 1: 15]) == [0: 10, 1: 15])
        for reopened in [false, true] {
            if reopened { try harness.reopen() }
            #expect(try harness.describe(orders)?.partitions.map(\.lowWatermark) == [10, 15, 0, 0])
            #expect(try harness.describe(orders)?.partitions.map(\.highWatermark) == [15, 15, 0, 0])
            let read = try harness.fetch(orders, 0, from: 3)
            #expect(read.records.map(\.offset) == [10, 11, 12, 13, 14])
            #expect(read.lowWatermark == 10)
            let empty = try harness.fetch(orders, 1, from: 0)
            #expect(empty.records.isEmpty && empty.nextOffset == 15 && empty.lowWatermark == 15)
        }
        // The slices that were left when the broker was closed.
        try harness.pass(.seconds(60))
        #expect(try harness.rows() == 5)
        // A position below stays what it was: reading from it tells what is gone.
        #expect(try harness.committed(billing).values.map(\.offset) == [3])
        // Lower again changes nothing, and offsets go on where they were.
        #expect(try harness.purge(orders, below: [0: 9, 1: 0]) == [0: 10, 1: 15])
        #expect(try harness.sink().deliver([outgoing(31, partition: 1)]).map(\.offset) == [15])
        let bytes = try #require(harness.broker.published[orders]).partitions.map(\.bytes)
        #expect(bytes == [15, 3, 0, 0])
    }

    @Test func purge_IsGoneOnWith_WhenTheProcessEndedBeforeTheRowsWereRemoved() throws {
        let harness = try BrokerHarness {
            $0.retentionSliceRecords = 4
            $0.retentionMs = nil
        }
        try harness.sink().deliver((1...30).map { outgoing($0) })
        try harness.broker.writes.wait { (writer) throws(JobFailure) in
            // As the call does, without the turn of retention behind it.
            _ = try writer.purge(orders, below: [0: 21])
        }
        try harness.reopen()
        #expect(try harness.rows() == 30)
        #expect(try harness.fetch(orders, 0).records.map(\.offset) == Array(21..<30))
        // Another purge of it while rows wait does not lose any of them.
        #expect(try harness.purge(orders, below: [0: 22]) == [0: 22])
        try harness.pass(.seconds(60))
        #expect(try harness.rows() == 8)
        #expect(try harness.fetch(orders, 0).records.map(\.offset) == Array(22..<30))
    }

    @Test func purge_ChangesNothing_WhenOneOfItsOffsetsIsRefused() throws {
        let harness = try BrokerHarness()
        try harness.sink().deliver((1...6).map { outgoing($0) })
        try expectRefusal("offset_out_of_range", class: .recordFatal) {
            _ = try harness.purge(orders, below: [0: 3, 1: 1])
        }
        try expectRefusal("offset_out_of_range") { _ = try harness.purge(orders, below: [0: -1]) }
        try expectRefusal("unknown_partition") { _ = try harness.purge(orders, below: [0: 3, 4: 0]) }
        try expectRefusal("unknown_topic") { _ = try harness.purge(payments, below: [0: 0]) }
        #expect(try harness.fetch(orders).records.count == 6)
        #expect(try harness.purge(orders, below: [0: 6, 3: 0]) == [0: 6, 3: 0])
    }

    @Test func purge_GoesIntoAGap_AndTimesAreFoundBehindIt() throws {
        let harness = try BrokerHarness {
            $0.retentionMs = nil
            $0.gapAfterEachHandOver = { _ in 2 }
        }
        let sink = try harness.sink()
        for number in 1...3 { try sink.deliver([outgoing(number, atMs: Int64(number) * 1000)]) }
        // Records at 0, 3 and 6; the end is 9.
        #expect(try harness.purge(orders, below: [0: 2]) == [0: 2])
        try harness.settle()
        let read = try harness.fetch(orders)
        #expect(read.lowWatermark == 2)
        #expect(read.records.map(\.offset) == [3, 6])
        let found = try answer { harness.broker.offsets(of: orders, atOrAfterMs: 500, completion: $0) }
        #expect(found[0] == 3)
        #expect(try harness.purge(orders, below: [0: 9]) == [0: 9])
        try harness.settle()
        #expect(try harness.rows() == 0)
        #expect(try harness.fetch(orders).nextOffset == 9)
    }
}
