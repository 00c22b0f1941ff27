public import Records

/// One poll.
public struct PollRequest: Sendable {
    public var consumer: ConsumerName
    /// Not empty: defines the consumer on the way when it does not exist, with the gateway's settings.
    public var topics: [TopicName]
    /// Records at most, from 1 to `ConsumersSettings.pollRecordsMax`.
    public var max: Int
    /// Keys, values and headers at most, from 1 to `ConsumersSettings.pollBytesMax`; one record is answered however
    /// large it is.
    public var maxBytes: Int
    /// How long to wait for the first record; negative counts as zero, more than `ConsumersSettings.pollWaitMax` as
    /// that.
    public var wait: Duration
    /// nil: this poll is its own client, and only the deadline gives its records back.
    public var client: String?
    /// What the answer costs, and where that comes from.
    public var memory: AnswerMemory
    /// Looked at right before records are leased: false leases nothing. Must not block.
    public var isClientPresent: @Sendable () -> Bool

    public init(
        consumer: ConsumerName, topics: [TopicName] = [], max: Int = 100, maxBytes: Int = 1 << 20,
        wait: Duration = .zero, client: String? = nil, memory: AnswerMemory = AnswerMemory(),
        isClientPresent: @escaping @Sendable () -> Bool = { true }
    ) {
        self.consumer = consumer
        self.topics = topics
        self.max = max
        self.maxBytes = maxBytes
        self.wait = wait
        self.client = client
        self.memory = memory
        self.isClientPresent = isClientPresent
    }

    func check(_ settings: ConsumersSettings) throws(ConsumerError) {
        guard max >= 1, max <= settings.pollRecordsMax else {
            throw .invalid(field: "max", reason: "between 1 and \(settings.pollRecordsMax)")
        }
        guard maxBytes >= 1, maxBytes <= settings.pollBytesMax else {
            throw .invalid(field: "max_bytes", reason: "between 1 and \(settings.pollBytesMax)")
        }
        guard memory.answerBytesMax >= 1 else {
            throw .invalid(field: "memory", reason: "answerBytesMax is at least 1")
        }
        if let client, client.isEmpty || client.utf8.count > settings.clientNameBytesMax {
            throw .invalid(field: "client", reason: "between 1 and \(settings.clientNameBytesMax) bytes")
        }
    }
}

/// A record handed out.
public struct DeliveredRecord: Equatable, Sendable {
    /// The longest `id`, and the longest `PollAnswer.ack`.
    public static let idBytesMax = DeliveryID.bytesMax

    public var record: StoredRecord
    /// Opaque; names this hand-out of this record.
    public var id: String
    /// From 1. Counted across restarts as far as commits told of it.
    public var attempt: Int
    /// When the record is handed out again without acknowledgement, milliseconds since 1970 UTC: for people. What
    /// counts is the monotonic clock.
    public var deadlineMs: Int64

    public init(record: StoredRecord, id: String, attempt: Int, deadlineMs: Int64) {
        self.record = record
        self.id = id
        self.attempt = attempt
        self.deadlineMs = deadlineMs
    }
}

/// Offsets that the broker no longer had (retention) when the consumer came to them.
public struct SkippedRange: Hashable, Sendable {
    public var partition: TopicPartition
    /// The first one's offset may lie in what was acknowledged.
    public var offsets: Range<Int64>

    public init(partition: TopicPartition, offsets: Range<Int64>) {
        self.partition = partition
        self.offsets = offsets
    }
}

/// What a poll answers. In each partition, records are in offset order.
public struct PollAnswer: Equatable, Sendable {
    /// Names the whole answer in an acknowledgement; nil when there are no records.
    public var ack: String?
    public var records: [DeliveredRecord]
    public var skipped: [SkippedRange]

    public init(ack: String? = nil, records: [DeliveredRecord] = [], skipped: [SkippedRange] = []) {
        self.ack = ack
        self.records = records
        self.skipped = skipped
    }
}

public typealias PollCompletion = @Sendable (Result<PollAnswer, ConsumerError>) -> Void
