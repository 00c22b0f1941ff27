public import Primitives

/// A record header: a name and bytes, as in Kafka; names may repeat.
public struct RecordHeader: Hashable, Sendable {
    public var name: String
    /// nil is Kafka's null.
    public var value: ByteSlice?

    public init(name: String, value: ByteSlice?) {
        self.name = name
        self.value = value
    }
}

/// What a client sends and a consumer gets.
public struct Record: Hashable, Sendable {
    /// nil: no key.
    public var key: ByteSlice?
    /// nil: a tombstone.
    public var value: ByteSlice?
    public var headers: [RecordHeader]
    /// Milliseconds since 1970 UTC.
    public var timestampMs: Int64

    public init(key: ByteSlice?, value: ByteSlice?, headers: [RecordHeader] = [], timestampMs: Int64) {
        self.key = key
        self.value = value
        self.headers = headers
        self.timestampMs = timestampMs
    }

    /// What counts against `limits.record_bytes_max`: key, value and headers.
    public var bytes: Int {
        (key?.count ?? 0) + (value?.count ?? 0) + headers.reduce(0) { $0 + $1.name.utf8.count + ($1.value?.count ?? 0) }
    }
}

/// A record on its way through the spool: where it goes, and who set its timestamp.
public struct SpoolRecord: Hashable, Sendable {
    public var topic: TopicName
    /// nil: chosen at the hand-over from the key, or sticky round robin without one.
    public var partition: Int32?
    /// The gateway set it, so it may be set again when the broker refuses it.
    public var timestampIsGateways: Bool
    public var record: Record
    /// The dead letter that this record sends again; nil for all others.
    public var redelivers: LSN?

    public init(
        topic: TopicName, partition: Int32?, timestampIsGateways: Bool, record: Record, redelivers: LSN? = nil
    ) {
        self.topic = topic
        self.partition = partition
        self.timestampIsGateways = timestampIsGateways
        self.record = record
        self.redelivers = redelivers
    }
}

/// A record as read back from a partition.
public struct StoredRecord: Hashable, Sendable {
    public var partition: TopicPartition
    public var offset: Int64
    public var record: Record

    public init(partition: TopicPartition, offset: Int64, record: Record) {
        self.partition = partition
        self.offset = offset
        self.record = record
    }
}
