import Broker
import KafkaTestSupport
import Primitives
import Records
import Testing

@testable import KafkaBroker

/// A lane without a spool: its records, and the way back that the forwarder goes after every error.
final class SinkHarness {
    static let records: TopicName = name("records")
    static let partitions: Int32 = 2

    let settings: KafkaBrokerSettings
    let spool = SpoolID.random()
    let lane: Int
    let sinks: KafkaSinks
    private(set) var sink: (any RecordSink)?
    /// By the last opening.
    private(set) var previous: SinkCheckpoint?
    private(set) var errors: [BrokerError] = []
    private var next: UInt32 = 1
    private let nonce = UInt64.random(in: .min ... .max)

    static func name(_ text: String) -> TopicName {
        guard let name = TopicName(text) else { preconditionFailure("not a topic name: \(text)") }
        return name
    }

    /// Time-outs short enough for tests, long enough for a busy machine.
    static func settings(_ bootstrapServers: String, _ guarantee: Guarantee = .exactlyOnce) -> KafkaBrokerSettings {
        var settings = KafkaBrokerSettings()
        settings.bootstrapServers = bootstrapServers
        settings.guarantee = guarantee
        settings.socketTimeout = .milliseconds(700)
        settings.transactionTimeout = .seconds(4)
        settings.reconnectMax = .milliseconds(200)
        settings.adminTimeout = .seconds(4)
        settings.closeTimeout = .seconds(2)
        return settings
    }

    /// A cluster with the topics of a test. (A mock cluster creates none by request.)
    static func cluster(brokers: Int32 = 3) -> MockCluster {
        let cluster = MockCluster(brokers: brokers)
        cluster.createTopic(KafkaBrokerSettings().checkpointTopic, partitions: CheckpointTopic.partitions)
        cluster.createTopic(records.text, partitions: partitions)
        return cluster
    }

    init(_ settings: KafkaBrokerSettings, lane: Int = 0, maxMessageBytes: Int? = nil) {
        self.settings = settings
        self.lane = lane
        sinks = KafkaSinks(settings: settings, maxMessageBytes: { _ in maxMessageBytes })
    }

    deinit { sink?.close() }

    /// The next records of the lane: `value` is their number.
    func records(_ count: Int, topic: TopicName = SinkHarness.records, key: ByteSlice? = nil) -> [OutgoingRecord] {
        (0..<count).map { _ in
            defer { next += 1 }
            return outgoing(Record(key: key, value: Array("\(next)".utf8)[...], timestampMs: 1_700_000_000_000), topic)
        }
    }

    /// A record as the next of the lane.
    func record(_ record: Record, topic: TopicName = SinkHarness.records) -> OutgoingRecord {
        defer { next += 1 }
        return outgoing(record, topic)
    }

    private func outgoing(_ record: Record, _ topic: TopicName) -> OutgoingRecord {
        OutgoingRecord(
            lsn: LSN(epoch: 1, sequence: next),
            spooled: SpoolRecord(topic: topic, partition: nil, timestampIsGateways: false, record: record))
    }

    func open() throws(BrokerError) {
        close()
        let opened = try sinks.openSink(spool: spool, lane: lane)
        sink = opened.sink
        previous = opened.previous
    }

    func close() {
        sink?.close()
        sink = nil
    }

    /// One hand-over with the sink that is open.
    @discardableResult
    func hand(
        _ batch: [OutgoingRecord], prepared: ([Delivery]) throws(BrokerError) -> Void = { _ throws(BrokerError) in }
    ) throws(BrokerError) -> [Delivery] {
        let checkpoint = checkpoint(batch.last?.lsn ?? previous?.lsn ?? .zero)
        guard let sink else { throw BrokerError(.sinkFatal, code: "no_sink", detail: "") }
        return try sink.deliver(batch, checkpoint: checkpoint, prepared: prepared)
    }

    func checkpoint(_ lsn: LSN) -> SinkCheckpoint { SinkCheckpoint(lsn: lsn, epoch: 1, nonce: nonce) }

    /// Tries until the batch is at the broker, as the forwarder does: close, open, read the checkpoint, go on after it.
    ///
    /// - Returns: false at the deadline.
    func handUntilDelivered(_ batch: [OutgoingRecord], within limit: Duration = .seconds(30)) -> Bool {
        let deadline = SystemClock().now() + limit
        while SystemClock().now() < deadline {
            do throws(BrokerError) {
                if sink == nil {
                    try open()
                    if let previous, let last = batch.last, previous.lsn >= last.lsn { return true }
                }
                try hand(batch)
                return true
            } catch {
                errors.append(error)
                close()
            }
        }
        return false
    }
}
