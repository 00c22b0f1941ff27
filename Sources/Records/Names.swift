public import Primitives

/// A Kafka topic's name: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..` (as `Topic.validate` in Kafka).
public struct TopicName: Hashable, Comparable, Sendable, CustomStringConvertible {
    public static let bytesMax = 249

    public let text: String

    /// nil when the text breaks the rule.
    public init?(_ text: String) {
        guard isKafkaName(text.utf8, bytesMax: Self.bytesMax) else { return nil }
        self.text = text
    }

    /// nil when the bytes break the rule.
    public init?(bytes: ByteSlice) {
        guard isKafkaName(bytes, bytesMax: Self.bytesMax) else { return nil }
        text = String(decoding: bytes, as: UTF8.self)
    }

    /// Kafka's own (`__consumer_offsets`) and Postrider's (`_postrider_checkpoints`): clients change none of them.
    public var isInternal: Bool { text.hasPrefix("__") || text.hasPrefix("_postrider") }

    public static func < (a: Self, b: Self) -> Bool { a.text < b.text }

    public var description: String { text }
}

/// A named consumer: the same alphabet and length as a topic's name; in Kafka it is the group id.
public struct ConsumerName: Hashable, Comparable, Sendable, CustomStringConvertible {
    public static let bytesMax = 249

    public let text: String

    /// nil when the text breaks the rule.
    public init?(_ text: String) {
        guard isKafkaName(text.utf8, bytesMax: Self.bytesMax) else { return nil }
        self.text = text
    }

    public static func < (a: Self, b: Self) -> Bool { a.text < b.text }

    public var description: String { text }
}

private func isKafkaName(_ bytes: some Collection<UInt8>, bytesMax: Int) -> Bool {
    guard !bytes.isEmpty, bytes.count <= bytesMax else { return false }
    var onlyDots = true
    for byte in bytes {
        switch byte {
        case UInt8(ascii: "."): continue
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            onlyDots = false
        default: return false
        }
    }
    return !onlyDots || bytes.count > 2
}

/// One partition of one topic.
public struct TopicPartition: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let topic: TopicName
    /// From 0.
    public let partition: Int32

    public init(topic: TopicName, partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    public static func < (a: Self, b: Self) -> Bool { (a.topic, a.partition) < (b.topic, b.partition) }

    public var description: String { "\(topic)/\(partition)" }
}
