import Broker
import HTTPServer
import Records

/// One stateless read: a pure value that says what to do next. Whoever holds it does that outside of its lock.
///
///     begin ──reserve──▶ reserving ──reserved──▶ fetching ──fetched──▶ answered or refused
///                          ▲   ▲                   │  │
///                          │   └── more memory ────┘  │ nothing there, and it may wait
///                          └────────── told ────── watching
///
/// Memory is set aside before each fetch, and given back before it waits: who waits for records keeps none from others.
struct ReadState {
    enum Start: Hashable, Sendable {
        case earliest
        case latest
        case offset(Int64)
    }

    /// What was asked for.
    struct Question: Sendable {
        var partition: TopicPartition
        var start: Start
        var max: Int
        var maxBytes: Int
        /// Nothing there is waited for.
        var waits: Bool
    }

    /// Of response memory.
    struct Memory: Sendable {
        /// Reads that hold memory and fetch at one time, at most, whatever they ask for: `bytesMax` / `partsMax` is the
        /// least that one sets aside.
        static let partsMax = 64

        /// All there is.
        var bytesMax: Int
        /// For one answer, unless a single record takes more.
        var answerBytesMax: Int
    }

    enum Effect: Sendable {
        /// Then `reserved`.
        case reserve(Int, givingBack: Int)
        /// Then `fetched`.
        case fetch(FetchRequest)
        /// Then `watching`, and `told` with this number.
        case watch(TopicPartition, from: Int64, number: Int, givingBack: Int)
        case answer(FetchResult)
        case refuse(Problem)
    }

    private enum Phase {
        case reserving(Int)
        case fetching
        case watching
        case ended
    }

    /// Fetches of one read, so that a broker that says there is something and has nothing is not asked for ever.
    static let fetchesMax = 256

    private let question: Question
    private let memory: Memory
    private var phase = Phase.ended
    private var reservedBytes = 0
    private var fetches = 0
    /// nil as long as `earliest` or `latest` is not known.
    private var position: Int64?
    /// The answer without records, once something was fetched.
    private var empty: FetchResult?
    private var watch: (any PartitionWatch)?
    private var isParked = false

    init(_ question: Question, _ memory: Memory) {
        self.question = question
        self.memory = memory
        if case .offset(let offset) = question.start { position = offset }
    }

    mutating func begin() -> Effect { reserve(firstBytes, givingBack: 0) }

    /// Enough for what is asked for, mostly: values that become much longer as JSON are cut earlier.
    private var firstBytes: Int {
        let wanted = AnswerBytes.emptyRead + 2 * question.maxBytes + question.max * Self.recordFrameBytes
        return min(memory.answerBytesMax, max(wanted, memory.bytesMax / Memory.partsMax))
    }
    private static let recordFrameBytes = 512

    private mutating func reserve(_ bytes: Int, givingBack: Int) -> Effect {
        reservedBytes = 0
        phase = .reserving(bytes)
        return .reserve(bytes, givingBack: givingBack)
    }

    private mutating func end(_ effect: Effect) -> Effect {
        phase = .ended
        return effect
    }

    mutating func reserved() -> Effect? {
        guard case .reserving(let bytes) = phase else { return nil }
        reservedBytes = bytes
        phase = .fetching
        fetches += 1
        // No record costs less in the answer than its bytes.
        return .fetch(
            FetchRequest(
                partition: question.partition, offset: position ?? (question.start == .latest ? .max : 0),
                recordsMax: question.max, bytesMax: min(question.maxBytes, bytes)))
    }

    /// - Parameter costs: `AnswerBytes` of each record.
    mutating func fetched(_ result: Result<FetchResult, BrokerError>, costs: [Int]) -> Effect? {
        guard case .fetching = phase else { return nil }
        switch result {
        case .failure(let error): return end(.refuse(Problem(reading: question.partition, error)))
        case .success(let fetch):
            let from = start(in: fetch)
            guard from >= fetch.lowWatermark, from <= fetch.highWatermark else {
                return end(.refuse(.offsetOutOfRange(from, in: fetch)))
            }
            if fetch.records.isEmpty { return foundNothing(from, fetch) }
            return found(fetch, costs)
        }
    }

    /// A number means that very offset; a word means what is there.
    private func start(in fetch: FetchResult) -> Int64 {
        switch question.start {
        case .offset: position ?? fetch.lowWatermark
        case .earliest: max(position ?? 0, fetch.lowWatermark)
        case .latest: max(position ?? fetch.highWatermark, fetch.lowWatermark)
        }
    }

    private mutating func found(_ fetch: FetchResult, _ costs: [Int]) -> Effect {
        precondition(costs.count == fetch.records.count)
        let least = AnswerBytes.emptyRead + costs[0]
        if least > reservedBytes {
            guard least <= memory.bytesMax else {
                return end(.refuse(.recordTooLargeToRead(bytes: least, bytesMax: memory.bytesMax)))
            }
            guard fetches < Self.fetchesMax else { return end(.refuse(.noMemoryForAnswer)) }
            return reserve(least, givingBack: reservedBytes)
        }
        var (sum, count) = (AnswerBytes.emptyRead, 0)
        for cost in costs.prefix(question.max) {
            guard sum + cost <= reservedBytes else { break }
            sum += cost
            count += 1
        }
        var answer = fetch
        if count < fetch.records.count {
            answer.records = Array(fetch.records[..<count])
            answer.nextOffset = fetch.records[count - 1].offset + 1
        }
        return end(.answer(answer))
    }

    private mutating func foundNothing(_ from: Int64, _ fetch: FetchResult) -> Effect {
        // Behind a gap at the end, if there is one; never back.
        let next = position == nil && question.start == .latest ? from : max(from, fetch.nextOffset)
        position = next
        let nothing = FetchResult(
            records: [], nextOffset: next, lowWatermark: fetch.lowWatermark, highWatermark: fetch.highWatermark)
        empty = nothing
        guard question.waits, fetches < Self.fetchesMax else { return end(.answer(nothing)) }
        phase = .watching
        defer { reservedBytes = 0 }
        return .watch(question.partition, from: next, number: fetches, givingBack: reservedBytes)
    }

    // MARK: Waiting

    /// - Returns: false when it is not wanted any more.
    mutating func watching(_ watch: any PartitionWatch, number: Int) -> Bool {
        guard case .watching = phase, number == fetches else { return false }
        self.watch = watch
        return true
    }

    /// There may be something.
    mutating func told(number: Int) -> Effect? {
        guard case .watching = phase, number == fetches else { return nil }
        watch = nil
        return reserve(firstBytes, givingBack: 0)
    }

    mutating func watchFailed(_ error: BrokerError) -> Effect? {
        guard case .watching = phase else { return nil }
        return end(.refuse(Problem(reading: question.partition, error)))
    }

    /// - Returns: whether it was not parked before.
    mutating func park() -> Bool {
        defer { isParked = true }
        return !isParked
    }

    /// Nothing more is done. - Returns: what to answer, and what to cancel.
    mutating func waitOver() -> (effect: Effect, watch: (any PartitionWatch)?) {
        defer { watch = nil }
        return (end(empty.map { .answer($0) } ?? .refuse(.noMemoryForAnswer)), watch)
    }
}

extension Problem {
    /// Why a partition cannot be read.
    init(reading partition: TopicPartition, _ error: BrokerError) {
        switch error.code {
        case "unknown_topic":
            self.init(404, "unknown_topic", "There is no such topic", "\(partition.topic) does not exist")
        case "unknown_partition":
            self.init(404, "unknown_partition", "There is no such partition", error.detail)
        default: self.init(error)
        }
    }

    static func offsetOutOfRange(_ offset: Int64, in fetch: FetchResult) -> Problem {
        let (low, high) = (fetch.lowWatermark, fetch.highWatermark)
        var problem = Problem(
            400, "offset_out_of_range", "The offset is outside of the partition", "\(offset) is not in \(low)...\(high)"
        )
        problem.extra = { $0.watermarks(low: low, high: high) }
        return problem
    }

    static let noMemoryForAnswer = Problem(
        503, "overloaded", "The gateway is out of memory for answers", "http.response_memory_max is used up",
        retryable: true, retryAfterSeconds: 1)

    /// Stored under larger limits than those of now.
    static func recordTooLargeToRead(bytes: Int, bytesMax: Int) -> Problem {
        Problem(
            500, "answer_too_large", "The record does not fit an answer",
            "it takes \(bytes) bytes, http.response_memory_max is \(bytesMax)")
    }
}
