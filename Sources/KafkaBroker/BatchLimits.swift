import Primitives
import Records

/// How large a batch for one partition each lane may send. Kafka refuses a whole batch that is larger than its topic's
/// `max.message.bytes`, so that no limit of the lane's topics may be under it. Never raised before the next start.
final class BatchLimits: Sendable {
    /// What a batch needs on the wire beside what librdkafka counts.
    private static let overheadBytes = 512
    private static let bytesMin = 1024

    private let lanes = Lock<[Int: Int]>([:])
    private let maxMessageBytes: @Sendable (TopicName) -> Int?

    /// - Parameter maxMessageBytes: a topic's, where it is known; from memory.
    init(maxMessageBytes: @escaping @Sendable (TopicName) -> Int?) { self.maxMessageBytes = maxMessageBytes }

    /// `Int.max` before a topic asked for less.
    func bytes(of lane: Int) -> Int { lanes.withLock { $0[lane] ?? .max } }

    /// - Parameter bytes: what the lane sends now.
    /// - Returns: what its next sink may send, when this topic takes less; nil when it does not.
    func lower(_ lane: Int, under bytes: Int, for topic: TopicName) -> Int? {
        guard let limit = maxMessageBytes(topic) else { return nil }
        let most = max(Self.bytesMin, limit - Self.overheadBytes)
        guard most < bytes else { return nil }
        lanes.withLock { $0[lane] = min($0[lane] ?? .max, most) }
        return most
    }
}
