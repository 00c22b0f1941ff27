import Broker
import Logging
import Primitives
import Records
import Store
import Telemetry
import TestSupport
import Testing

@testable import EmbeddedBroker

/// A broker in a temporary directory, with a manual clock, and blocking forms of its calls.
final class BrokerHarness {
    private let parent: TemporaryDirectory
    let directory: String
    let clock = ManualClock()
    let metrics = MetricsRegistry()
    let log = RecordedLog()
    /// What the process was to end for.
    let fatal = Lock<[BrokerError]>([])
    private(set) var broker: EmbeddedBroker

    init(_ configure: (inout EmbeddedBrokerSettings) -> Void = { _ in }) throws {
        parent = try TemporaryDirectory()
        directory = parent.path + "/broker"
        var settings = EmbeddedBrokerSettings()
        configure(&settings)
        let fatal = fatal
        broker = try EmbeddedBroker(
            directory: directory, settings: settings, clock: clock, timers: clock, log: log.logger, metrics: metrics,
            failed: { error in fatal.withLock { $0.append(error) } })
    }

    deinit {
        broker.close()
    }

    func reopen(_ configure: (inout EmbeddedBrokerSettings) -> Void = { _ in }) throws {
        broker.close()
        var settings = broker.settings
        configure(&settings)
        broker = try EmbeddedBroker(
            directory: directory, settings: settings, clock: clock, timers: clock, log: log.logger, metrics: metrics)
    }

    /// `postrider_broker_failures_total` of one reason.
    func failures(_ reason: StoreError.Kind) -> Int {
        let prefix = #"postrider_broker_failures_total{reason="\#(reason.rawValue)"} "#
        let lines = String(decoding: metrics.text(), as: UTF8.self).split(separator: "\n")
        return lines.first { $0.hasPrefix(prefix) }.flatMap { Int($0.dropFirst(prefix.count)) } ?? 0
    }

    func sink(spool: SpoolID = spoolOne, lane: Int = 0) throws -> any RecordSink {
        try broker.openSink(spool: spool, lane: lane).sink
    }

    func create(_ topic: TopicName, _ settings: TopicSettings = TopicSettings()) throws -> Bool {
        try answer { self.broker.create(topic, settings: settings, completion: $0) }
    }

    func configure(_ topic: TopicName, _ settings: TopicSettings) throws -> Bool {
        try answer { self.broker.configure(topic, settings: settings, completion: $0) }
    }

    func purge(_ topic: TopicName, below offsets: [Int32: Int64]) throws -> [Int32: Int64] {
        try answer { self.broker.purge(topic, below: offsets, completion: $0) }
    }

    /// Rows of the records table, whether they can be read or not.
    func rows() throws -> Int64? {
        try broker.reads.wait { (reader) throws(JobFailure) in
            try stored { () throws(StoreError) in
                try Statement(reader.connection, "SELECT count(*) FROM records").first { $0.integer(0) }
            }
        }
    }

    func delete(_ topic: TopicName) throws -> Bool { try answer { self.broker.delete(topic, completion: $0) } }

    func describe(_ topic: TopicName) throws -> TopicDescription? {
        try answer { self.broker.describe(topic, completion: $0) }
    }

    func fetch(
        _ topic: TopicName, _ partition: Int32 = 0, from offset: Int64 = 0, to end: Int64? = nil, max: Int = 1000,
        bytes: Int = 1 << 20
    ) throws -> FetchResult {
        let request = FetchRequest(
            partition: TopicPartition(topic: topic, partition: partition), offset: offset, endOffset: end,
            recordsMax: max, bytesMax: bytes)
        return try answer { self.broker.fetch(request, completion: $0) }
    }

    func commit(_ consumer: ConsumerName, _ offsets: [TopicPartition: CommittedOffset]) throws {
        try answer { self.broker.commit(consumer: consumer, offsets: offsets, completion: $0) }
    }

    func committed(_ consumer: ConsumerName) throws -> [TopicPartition: CommittedOffset] {
        let topics = try answer { self.broker.topics(completion: $0) }
        let partitions = try topics.flatMap { topic in
            try describe(topic)?.partitions.map { TopicPartition(topic: topic, partition: $0.partition) } ?? []
        }
        return try answer { self.broker.committed(consumer: consumer, of: partitions, completion: $0) }
    }

    /// Every value of a topic, by partition.
    func values(_ topic: TopicName) throws -> [[String]] {
        let partitions = try #require(try describe(topic)).partitions
        return try partitions.map { partition in
            try fetch(topic, partition.partition).records.map { text($0.record.value) }
        }
    }

    /// Waits for the calls that delegates and retention make behind the answers: both run on the writer thread.
    /// Lets time pass, and a whole round of retention see where it ended: one that was under way began earlier.
    func pass(_ time: Duration) throws {
        clock.advance(by: time)
        try settle()
        clock.advance(by: EmbeddedBrokerSettings().retentionInterval)
        try settle()
    }

    func settle() throws {
        try broker.writes.wait { (_) throws(JobFailure) in }
        // A slice of retention queues the next one.
        while broker.isRetaining { try broker.writes.wait { (_) throws(JobFailure) in } }
    }
}

/// Calls something that answers on another thread, and waits.
func answer<Answer: Sendable>(
    _ call: (@escaping @Sendable (Result<Answer, BrokerError>) -> Void) -> Void
) throws -> Answer {
    let result = waitForAnswer(call)
    return try #require(result, "no answer").get()
}

/// The error that `body` throws.
func brokerError(_ body: () throws -> Void) throws -> BrokerError {
    do {
        try body()
    } catch let error as BrokerError {
        return error
    }
    Issue.record("no error was thrown")
    return BrokerError(.processFatal, code: "none", detail: "")
}

/// Checks that `body` is refused, with this code and class where given. A function, because closures written inside
/// `#expect` can be mixed up with others of the same test (seen with Swift 6.3.1): no `#expect` here has one.
func expectRefusal(
    _ code: String? = nil, class: BrokerError.Class? = nil, at location: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) throws {
    let error = try brokerError(body)
    #expect(code == nil || error.code == code, sourceLocation: location)
    #expect(`class` == nil || error.class == `class`, sourceLocation: location)
}

let spoolOne = SpoolID(high: 0x0102_0304_0506_4708, low: 0x8910_1112_1314_1516)
let spoolTwo = SpoolID(high: 2, low: 2)
let orders = TopicName("orders")!
let payments = TopicName("payments")!
let billing = ConsumerName("billing")!

func lsn(_ sequence: Int) -> LSN { LSN(epoch: 1_800_000_000, sequence: UInt32(sequence)) }

func text(_ bytes: ByteSlice?) -> String { bytes.map { String(decoding: $0, as: UTF8.self) } ?? "nil" }

func checkpoint(_ sequence: Int, nonce: UInt64 = 1) -> SinkCheckpoint {
    SinkCheckpoint(lsn: lsn(sequence), epoch: 1_800_000_000, nonce: nonce)
}

func outgoing(
    _ sequence: Int, _ topic: TopicName = orders, partition: Int32? = 0, key: String? = nil, value: String? = nil,
    headers: [RecordHeader] = [], atMs: Int64 = 1_790_000_000_000
) -> OutgoingRecord {
    let record = Record(
        key: key.map { ByteSlice($0.utf8) }, value: ByteSlice((value ?? "v\(sequence)").utf8), headers: headers,
        timestampMs: atMs)
    return OutgoingRecord(
        lsn: lsn(sequence),
        spooled: SpoolRecord(topic: topic, partition: partition, timestampIsGateways: true, record: record))
}

extension RecordSink {
    /// Delivers with the checkpoint at the last record.
    @discardableResult
    func deliver(_ batch: [OutgoingRecord]) throws(BrokerError) -> [Delivery] {
        try deliver(
            batch, checkpoint: SinkCheckpoint(lsn: batch.last?.lsn ?? .zero, epoch: 1_800_000_000, nonce: 1))
    }

    /// Outcomes are in the transaction: nothing may be prepared apart from it.
    func deliver(_ batch: [OutgoingRecord], checkpoint: SinkCheckpoint) throws(BrokerError) -> [Delivery] {
        try deliver(batch, checkpoint: checkpoint) { _ in Issue.record("the embedded broker keeps outcomes itself") }
    }
}
