import Broker
import Primitives
import Records

/// Records fetched from one partition for one poll, not leased yet.
struct GatheredPart: Sendable {
    let partition: TopicPartition
    let version: UInt64
    var records: [StoredRecord] = []
    /// Key, value and headers of the records.
    var bytes = 0
    /// What the records add to the answer.
    var answerBytes = 0
    /// Where fetching goes on among entries that were handed out before.
    var cursor: Int64 = 0
    /// The partition's position once the records are leased; nil as long as nothing new is among them.
    var position: Int64?
}

/// A poll's way through its partitions, one at a time.
struct Gather: Sendable {
    let slot: SlotID
    /// The last one is being fetched.
    var parts: [GatheredPart] = []
    /// An answer of this client that is still open: handed out again, unchanged.
    var repeated: UInt64?
    var count = 0
    /// Over the parts.
    var bytes = 0
    /// Over the parts.
    var answerBytes = 0
    /// Room under `max_in_flight` that new records of this poll take.
    var room = 0
    /// Of which the fetch under way asked for.
    var asked = 0
    var fetches = 0
    /// The fetch under way.
    var ticket: FetchTicket?
}

/// A poll that is not answered yet.
struct PollState: Sendable {
    enum Phase: Sendable {
        /// For records.
        case waiting
        /// Has claimed a partition, waits for the right to hold its records.
        case queued(Gather)
        case gathering(Gather)
        /// The runner asks for client and memory.
        case offering(Gather)
        /// For response memory.
        case starved
    }

    let id: PollID
    let client: String?
    let max: Int
    let maxBytes: Int
    let memory: AnswerMemory
    let waitUntil: MonotonicInstant
    /// Past `waitUntil`, what is under way gets this long.
    let giveUpAt: MonotonicInstant
    var phase = Phase.waiting
    var isWaitOver = false
    /// What it is answered with when the runner comes back: it ended while the runner was asking.
    var doom: ConsumerError?
    /// Taken from the caller's memory, and not given back. Nothing while it waits for records, or for memory: who holds
    /// some and waits for more keeps it from others that do the same.
    var reservedBytes = 0

    /// A poll that waited for memory makes an answer of what it got, not a larger one that has to wait again.
    var answerBytesMax: Int { reservedBytes > 0 ? min(reservedBytes, memory.answerBytesMax) : memory.answerBytesMax }

    /// nil while the runner is about to come back.
    var deadline: MonotonicInstant? {
        if case .offering = phase { return nil }
        return isWaitOver ? giveUpAt : waitUntil
    }

    var gather: Gather? {
        switch phase {
        case .queued(let gather), .gathering(let gather), .offering(let gather): gather
        case .waiting, .starved: nil
        }
    }
}

/// An answer with open deliveries.
struct OpenAnswer: Sendable {
    let serial: UInt64
    let client: String?
    /// Deadline as handed out, on both clocks: the wall clock may have jumped since.
    let firstDeadline: MonotonicInstant
    let firstDeadlineWallMs: Int64
    /// No lease of it ends before.
    var deadline: MonotonicInstant
    /// Offsets handed out and not given back, for each partition whose lease is not void.
    var partitions: [TopicPartition: OffsetRuns]
    let skipped: [SkippedRange]
    /// No lease of it became void or ran out.
    var isWhole = true
    /// Its client gave none back.
    var isComplete = true

    func wallMs(of end: MonotonicInstant) -> Int64 {
        let (wall, overflow) = firstDeadlineWallMs.addingReportingOverflow((end - firstDeadline).wholeMilliseconds)
        return overflow ? firstDeadlineWallMs : wall
    }
}
