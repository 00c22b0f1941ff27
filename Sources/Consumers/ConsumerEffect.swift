import Broker
import Primitives
import Records

/// One poll of one consumer; ascending in order of arrival.
struct PollID: Hashable, Comparable, Sendable {
    let number: UInt64

    static func < (a: Self, b: Self) -> Bool { a.number < b.number }
}

/// One acknowledgement or seek of one consumer.
struct CallID: Hashable, Sendable {
    let number: UInt64
}

/// One asking of a poll, or of the dead-letter round, for the right to hold fetched records. Each has another number: a
/// poll may ask again before the effect that gives the old one back is performed.
struct SlotID: Hashable, Sendable {
    let poll: PollID
    let number: UInt64
}

/// Says whose a fetch was and under which version of the partition, so that a late answer is told from a current one.
struct FetchTicket: Hashable, Sendable {
    let slot: SlotID
    let number: UInt64
    let partition: TopicPartition
    let version: UInt64
    let offset: Int64
    let isFresh: Bool

    var poll: PollID { slot.poll }
}

/// What `ConsumerState` wants done, in order, once the lock is released.
enum ConsumerEffect: Sendable {
    case openSubscription(session: UInt64)
    /// The next may be open already: another thread performs its effects.
    case closeSubscription(session: UInt64)
    case loadCommitted(load: UInt64, [TopicPartition])
    /// Ask for the right to hold fetched records.
    case acquireSlot(SlotID)
    /// It is held, or in the queue.
    case releaseSlot(SlotID)
    case fetch(FetchTicket, FetchRequest)
    /// Records are there: is the client, is the memory? Answered by `offered`, and by `memoryGranted` when the memory
    /// comes later. 0: it was taken before.
    case offer(PollID, bytes: Int)
    /// The poll has no use now for memory that it took.
    case giveBack(PollID, bytes: Int)
    case complete(PollID, Result<PollAnswer, ConsumerError>)
    case commit(number: UInt64, [TopicPartition: CommittedOffset])
    case acknowledged(CallID, Result<LeaseResult, ConsumerError>)
    case fetchDeadLetters(round: UInt64, FetchRequest)
    case submit(round: UInt64, TopicName, [DeadLetterDraft])
    /// The state machine has ended and nothing of it is under way.
    case ended
    case note(ConsumerNote)
}

/// For logs and metrics.
enum ConsumerNote: Sendable {
    case delivered(records: Int, again: Int)
    case acknowledged(records: Int)
    case expired(records: Int)
    case givenBack(records: Int)
    case windowFull
    /// Somebody polls, and nothing more is handed out until something is acknowledged.
    case inFlightFull
    case deadLettered(records: Int)
    case deadLetterFailed(BrokerError)
    case deadLetterTooLarge(TopicPartition, [Int64])
    case fetchFailed(TopicPartition, BrokerError)
    /// - Parameter inARow: this one included, since the last that succeeded.
    case commitFailed(BrokerError, inARow: Int)
    case loadFailed(BrokerError)
    case metadataUnreadable(TopicPartition, MalformedBytes)
    case skipped(TopicPartition, Range<Int64>)
}
