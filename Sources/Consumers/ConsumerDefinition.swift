import Primitives
public import Records

/// How records of a partition are spread over clients.
public enum DeliveryMode: String, Sendable, CaseIterable {
    /// A partition's records go to one client at a time, in order.
    case ordered
    /// Any client gets any record that is not leased; no order.
    case shared
}

/// Where a new consumer begins.
public enum StartPosition: Hashable, Sendable {
    case earliest
    /// After what is there when the consumer is defined.
    case latest
    /// The first record at or after this time, milliseconds since 1970 UTC.
    case time(ms: Int64)
}

/// A named consumer as its users define it. nil in a field means the gateway's setting.
public struct ConsumerDefinition: Hashable, Sendable {
    /// Sorted; at most `ConsumersSettings.topicsPerConsumerMax`, no topic twice.
    public let topics: [TopicName]
    /// Applies once, when the consumer is defined; an update does not move anything.
    public var from: StartPosition
    public var mode: DeliveryMode
    /// Between `ConsumersSettings.ackDeadlineMin` and `ackDeadlineMax`.
    public var ackDeadlineMs: Int64?
    /// Records handed out and not acknowledged, over all partitions; at most `ConsumersSettings.maxInFlightMax`.
    public var maxInFlight: Int?
    /// A record that was handed out so often without an acknowledgement goes to the dead-letter topic; nil: no limit.
    public var maxDeliveries: Int?
    /// nil: `<consumer>.dead-letters`. Looked at when `maxDeliveries` is set.
    public var deadLetterTopic: TopicName?

    public init(
        topics: [TopicName], from: StartPosition = .earliest, mode: DeliveryMode = .ordered,
        ackDeadlineMs: Int64? = nil, maxInFlight: Int? = nil, maxDeliveries: Int? = nil,
        deadLetterTopic: TopicName? = nil
    ) {
        self.topics = topics.sorted()
        self.from = from
        self.mode = mode
        self.ackDeadlineMs = ackDeadlineMs
        self.maxInFlight = maxInFlight
        self.maxDeliveries = maxDeliveries
        self.deadLetterTopic = deadLetterTopic
    }

    /// With the name of the dead-letter topic; still nil when the consumer's name is too long for the default.
    public func completed(for name: ConsumerName) -> ConsumerDefinition {
        var definition = self
        definition.deadLetterTopic = deadLetterTopic ?? TopicName("\(name).dead-letters")
        return definition
    }

    /// What cannot change without `replace`: what decides whose offsets these are, and where dead letters are.
    ///
    /// - Precondition: both completed for the same name.
    func isCompatible(with other: ConsumerDefinition) -> Bool {
        topics == other.topics && mode == other.mode && deadLetterTopic == other.deadLetterTopic
    }

    /// - Precondition: completed.
    func check(_ settings: ConsumersSettings) throws(ConsumerError) {
        guard !topics.isEmpty, topics.count <= settings.topicsPerConsumerMax else {
            throw .invalid(field: "topics", reason: "between 1 and \(settings.topicsPerConsumerMax) topics")
        }
        guard Set(topics).count == topics.count else { throw .invalid(field: "topics", reason: "a topic is repeated") }
        if let ackDeadlineMs {
            let (least, most) = (settings.ackDeadlineMin.wholeMilliseconds, settings.ackDeadlineMax.wholeMilliseconds)
            guard ackDeadlineMs >= least, ackDeadlineMs <= most else {
                throw .invalid(field: "ack_deadline_ms", reason: "between \(least) and \(most)")
            }
        }
        if let maxInFlight, maxInFlight < 1 || maxInFlight > settings.maxInFlightMax {
            throw .invalid(field: "max_in_flight", reason: "between 1 and \(settings.maxInFlightMax)")
        }
        if let maxDeliveries {
            guard maxDeliveries >= 1, maxDeliveries <= Int(Int32.max) else {
                throw .invalid(field: "max_deliveries", reason: "between 1 and \(Int32.max)")
            }
            guard let deadLetterTopic else {
                throw .invalid(
                    field: "dead_letter_topic", reason: "is needed: the consumer's name is too long for the default")
            }
            guard !topics.contains(deadLetterTopic) else {
                throw .invalid(field: "dead_letter_topic", reason: "is one of the consumer's own topics")
            }
        }
        if case .time(let ms) = from, ms < 0 { throw .invalid(field: "from", reason: "is before 1970") }
    }
}

/// The stored form of a definition, opaque to the broker; integers little-endian, −1 for "none".
///
/// | bytes | field |
/// |---|---|
/// | 1 | form: 2 |
/// | 1 | mode: 0 ordered, 1 shared |
/// | 1 | from: 0 earliest, 1 latest, 2 time |
/// | 8 | that time, milliseconds since 1970; otherwise 0 |
/// | 8 | ack deadline, milliseconds |
/// | 4 | records in flight |
/// | 4 | deliveries |
/// | 2 | number of topics, then each: 2-byte length and name |
/// | 2 | length of the dead-letter topic's name, 0 for none; then the name. Form 1 ends before it |
enum ConsumerDefinitionCodec {
    static let form: UInt8 = 2

    static func encode(_ definition: ConsumerDefinition) -> ByteSlice {
        var writer = ByteWriter(capacity: 64)
        writer.integer(form)
        writer.integer(UInt8(definition.mode == .ordered ? 0 : 1))
        switch definition.from {
        case .earliest: start(0, 0)
        case .latest: start(1, 0)
        case .time(let ms): start(2, ms)
        }
        func start(_ kind: UInt8, _ ms: Int64) {
            writer.integer(kind)
            writer.integer(ms)
        }
        writer.integer(definition.ackDeadlineMs ?? -1)
        writer.integer(Int32(clamping: definition.maxInFlight ?? -1))
        writer.integer(Int32(clamping: definition.maxDeliveries ?? -1))
        writer.integer(UInt16(definition.topics.count))
        for topic in definition.topics { writer.string(topic.text) }
        writer.string(definition.deadLetterTopic?.text ?? "")
        return writer.bytes[...]
    }

    static func decode(_ bytes: ByteSlice) throws(MalformedBytes) -> ConsumerDefinition {
        var reader = ByteReader(bytes)
        let readForm = try reader.integer(UInt8.self)
        guard (1...form).contains(readForm) else { throw MalformedBytes("unknown definition form") }
        let mode: DeliveryMode
        switch try reader.integer(UInt8.self) {
        case 0: mode = .ordered
        case 1: mode = .shared
        case let other: throw MalformedBytes("mode \(other)")
        }
        let kind = try reader.integer(UInt8.self)
        let ms = try reader.integer(Int64.self)
        let from: StartPosition
        switch kind {
        case 0: from = .earliest
        case 1: from = .latest
        case 2: from = .time(ms: ms)
        default: throw MalformedBytes("start \(kind)")
        }
        let ackDeadlineMs = try reader.integer(Int64.self)
        let maxInFlight = try reader.integer(Int32.self)
        let maxDeliveries = try reader.integer(Int32.self)
        let count = Int(try reader.integer(UInt16.self))
        var topics: [TopicName] = []
        for _ in 0..<count {
            guard let topic = TopicName(try reader.string()) else { throw MalformedBytes("topic name") }
            topics.append(topic)
        }
        let deadLetterTopic = readForm == 1 ? "" : try reader.string()
        guard deadLetterTopic.isEmpty || TopicName(deadLetterTopic) != nil else { throw MalformedBytes("topic name") }
        guard !topics.isEmpty, reader.remaining == 0 else { throw MalformedBytes("definition's end") }
        return ConsumerDefinition(
            topics: topics, from: from, mode: mode, ackDeadlineMs: ackDeadlineMs == -1 ? nil : ackDeadlineMs,
            maxInFlight: maxInFlight == -1 ? nil : Int(maxInFlight),
            maxDeliveries: maxDeliveries == -1 ? nil : Int(maxDeliveries),
            deadLetterTopic: TopicName(deadLetterTopic))
    }
}
