public import Broker
import Logging
public import Primitives
public import Records

/// What `define` did.
public enum DefineOutcome: String, Hashable, Sendable {
    case created
    case updated
}

/// Where `seek` moves the committed offsets.
public enum SeekTarget: Hashable, Sendable {
    /// Every partition of the consumer's topics.
    case start(StartPosition)
    /// These partitions only, to the next offset to read.
    case offsets([TopicPartition: Int64])
}

/// All named consumers of this gateway: definitions, polls, acknowledgements, seeks.
///
/// Life: created with the definitions that the store holds; serves until `stop`. A consumer that nobody polls costs its
/// definition and an empty table; it joins its group at the first poll and leaves it after `idleClose`.
///
/// Any thread may call, and no call blocks (but `init`). Each completion is called exactly once: on a thread of the
/// broker or of the timers, or on the caller's before the call returns. It must not block.
public final class Consumers: Sendable {
    struct Table: Sendable {
        enum Entry: Sendable {
            case running(ConsumerDefinition, ConsumerRunner)
            case unreadable
        }

        var entries: [ConsumerName: Entry] = [:]
        /// Definitions and deletions of one name run one after the other.
        var administrations: [ConsumerName: [@Sendable () -> Void]] = [:]
        var isStopping = false
        /// The store has said which consumers there are.
        var isVerified = false
        /// What others did to a definition, and is not taken over yet; nil: forgotten.
        var changes: [ConsumerName: ByteSlice?] = [:]
    }

    let context: ConsumerContext
    let table = Lock(Table())
    /// Waiting over all consumers.
    private let pollCount = Lock(0)

    /// - Parameters:
    ///   - epoch: greater than in every earlier process over this store; delivery ids derive from it.
    ///   - submitter: takes what goes to dead-letter topics.
    ///   - timers: its actions call completions.
    ///   - makeJitter: called once for each consumer, on any thread: what spreads its retries.
    /// - Throws: when the definitions can never be read; when they can only not be read now, every call fails with
    ///   `unverified` until the store tells them. One that this version does not understand is kept and refused
    ///   by name (`ConsumerError.unreadable`); the others are served.
    public init(
        source: any RecordSource, offsets: any OffsetStore, topics: any TopicAdmin, submitter: any RecordSubmitter,
        clock: any TimeSource, timers: any Timers, epoch: UInt32, settings: ConsumersSettings = ConsumersSettings(),
        makeJitter: @escaping @Sendable () -> any RandomNumberGenerator & Sendable = { SystemRandomNumberGenerator() }
    ) throws(BrokerError) {
        settings.check()
        context = ConsumerContext(
            source: source, offsets: offsets, topics: topics, submitter: submitter, clock: clock, timers: timers,
            epoch: epoch,
            settings: settings, slots: FetchSlots(limit: settings.pollsFetchingMax), makeJitter: makeJitter)
        do throws(BrokerError) {
            definitionsLoaded(try offsets.definitions())
        } catch {
            guard error.class == .retriable else { throw error }
            context.log.warning(
                "the consumers' definitions cannot be read: no consumer is served until they can",
                metadata: ["error": "\(error)"])
        }
        offsets.watchDefinitions(self)
    }

    /// Sorted by name. - Throws: `unverified`.
    public func list() throws(ConsumerError) -> [ConsumerName] {
        try table.withLock { table throws(ConsumerError) in
            guard table.isVerified else { throw .unverified }
            return table.entries.keys.sorted()
        }
    }

    /// Whether the store has said which consumers there are: until then none is served.
    public var isVerified: Bool { table.withLock { $0.isVerified } }

    /// As far as the store has said.
    public var count: Int { table.withLock { $0.entries.count } }

    func runner(_ name: ConsumerName) throws(ConsumerError) -> (ConsumerDefinition, ConsumerRunner) {
        try table.withLock { table throws(ConsumerError) in
            if table.isStopping { throw .stopping }
            switch table.entries[name] {
            case nil: throw table.isVerified ? .unknownConsumer(name) : .unverified
            case .unreadable: throw .unreadable(name)
            case .running(let definition, let runner): return (definition, runner)
            }
        }
    }

    // MARK: Polling

    /// Hands out records: at the first there are, or an empty answer when `wait` is over. A client name that has an
    /// answer open gets what is still open of it, unchanged (same ids, attempts, deadline), whatever `max` and
    /// `maxBytes` say; so a lost answer loses nothing.
    ///
    /// Fails with `unknownConsumer`, `unknownTopic`, `conflict` (`topics` differ from the definition), `clientBusy`,
    /// `clientLeft`, `invalid`, `unreadable`, `unavailable`, `limitReached`, `stopping`.
    ///
    /// - Returns: to be cancelled when the client leaves.
    @discardableResult
    public func poll(_ request: PollRequest, completion: @escaping PollCompletion) -> PollHandle {
        let handle = PollHandle()
        do throws(ConsumerError) {
            try request.check(context.settings)
            try takePoll()
        } catch {
            error.countLimit()
            completion(.failure(error))
            return handle
        }
        let answered: PollCompletion = { [self] result in
            pollCount.withLock { $0 -= 1 }
            completion(result)
        }
        if request.topics.isEmpty {
            start(request, handle, answered)
        } else {
            defineAndStart(request, handle, answered)
        }
        return handle
    }

    private func takePoll() throws(ConsumerError) {
        let limit = context.settings.pollsWaitingMax
        try pollCount.withLock { count throws(ConsumerError) in
            guard count < limit else { throw .limitReached("polls_waiting_max") }
            count += 1
        }
    }

    private func start(_ request: PollRequest, _ handle: PollHandle, _ answered: @escaping PollCompletion) {
        do throws(ConsumerError) {
            let (definition, runner) = try runner(request.consumer)
            if !request.topics.isEmpty, definition.topics != request.topics.sorted() {
                throw .conflict(request.consumer, reason: "it is defined with other topics")
            }
            handle.started(try runner.poll(request, answered), runner)
        } catch {
            answered(.failure(error))
        }
    }

    private func defineAndStart(_ request: PollRequest, _ handle: PollHandle, _ answered: @escaping PollCompletion) {
        if table.withLock({ $0.entries[request.consumer] }) != nil { return start(request, handle, answered) }
        define(request.consumer, ConsumerDefinition(topics: request.topics)) { [self] result in
            switch result {
            case .failure(let error): answered(.failure(error))
            case .success: start(request, handle, answered)
            }
        }
    }

    // MARK: Leases

    public typealias LeaseCompletion = @Sendable (Result<LeaseResult, ConsumerError>) -> Void

    /// Commits what the client is done with; completes after the store's sync.
    ///
    /// Fails with `leasesLost` (the good items are committed, the result tells which), `invalid` (malformed ids, too
    /// many items), `unavailable` (whether it was committed is unknown; the leases are as before, so repeat it),
    /// `unknownConsumer`, `unreadable`, `limitReached`, `stopping`. Repeating an acknowledgement that was committed
    /// succeeds while its answer is open or among the last `finishedAnswersMax`.
    public func acknowledge(
        _ name: ConsumerName, _ selector: LeaseSelector, completion: @escaping LeaseCompletion
    ) {
        perform(.acknowledge, name, selector, completion)
    }

    /// Gives records back: each is handed out again, to any client, once `delay` is over. In mode `ordered` what the
    /// same answer leased behind them in their partition comes back too, without counting as delivered, and the delay
    /// holds the partition. The hand-out counts against `max_deliveries`; delays end with the process.
    ///
    /// - Parameters:
    ///   - delay: from 0 to `ConsumersSettings.nackDelayMax`; nil: `nackDelayDefault`.
    ///   - reason: for the dead-letter record, at most `ConsumersSettings.reasonBytesMax` bytes.
    ///
    /// Fails as `acknowledge` does. Given back is given back: `unavailable` does not occur.
    public func giveBack(
        _ name: ConsumerName, _ selector: LeaseSelector, delay: Duration? = nil, reason: String? = nil,
        completion: @escaping LeaseCompletion
    ) {
        let settings = context.settings
        let delay = delay ?? settings.nackDelayDefault
        guard delay >= .zero, delay <= settings.nackDelayMax else {
            return completion(
                .failure(
                    .invalid(field: "delay_ms", reason: "between 0 and \(settings.nackDelayMax.wholeMilliseconds)")))
        }
        if let reason, reason.utf8.count > settings.reasonBytesMax {
            return completion(
                .failure(.invalid(field: "reason", reason: "at most \(settings.reasonBytesMax) bytes")))
        }
        perform(.giveBack(delay: delay, reason: reason), name, selector, completion)
    }

    /// Gives leases a new deadline, `deadline` from when the call is taken up (at once, or after the commit that is
    /// under way); it may be an earlier one. In mode `ordered` all leases of the same answer in the partition get it.
    /// It does not outlive the process.
    ///
    /// - Parameter deadline: between `ConsumersSettings.ackDeadlineMin` and `ackDeadlineMax`.
    ///
    /// Fails as `acknowledge` does, but for `unavailable`.
    public func extend(
        _ name: ConsumerName, _ selector: LeaseSelector, deadline: Duration, completion: @escaping LeaseCompletion
    ) {
        let (least, most) = (context.settings.ackDeadlineMin, context.settings.ackDeadlineMax)
        guard deadline >= least, deadline <= most else {
            let range = "between \(least.wholeMilliseconds) and \(most.wholeMilliseconds)"
            return completion(.failure(.invalid(field: "deadline_ms", reason: range)))
        }
        perform(.extend(by: deadline), name, selector, completion)
    }

    private func perform(
        _ action: LeaseAction, _ name: ConsumerName, _ selector: LeaseSelector, _ completion: @escaping LeaseCompletion
    ) {
        do throws(ConsumerError) {
            let (_, runner) = try runner(name)
            try runner.perform(action, on: try ParsedSelector(selector, context.settings), completion)
        } catch {
            completion(.failure(error))
        }
    }

    /// Moves committed offsets. What is leased in the partitions concerned is void: late acknowledgements lose, and
    /// attempts count from 1 again. Answers the new committed offsets.
    ///
    /// Fails with `unknownTopic`, `invalid` (a partition that is not the consumer's, an offset beyond
    /// its end), and as `acknowledge`.
    public func seek(
        _ name: ConsumerName, to target: SeekTarget,
        completion: @escaping @Sendable (Result<[TopicPartition: Int64], ConsumerError>) -> Void
    ) {
        let definition: ConsumerDefinition
        let runner: ConsumerRunner
        do throws(ConsumerError) {
            (definition, runner) = try self.runner(name)
        } catch {
            return completion(.failure(error))
        }
        let seek: StartOffsets.Completion = { resolved in
            do throws(ConsumerError) {
                try runner.seek(try resolved.get()) { completion($0.map(\.committed)) }
            } catch {
                completion(.failure(error))
            }
        }
        switch target {
        case .start(let from):
            StartOffsets.resolve(definition.topics[...], from: from, admin: context.topics, completion: seek)
        case .offsets(let offsets):
            // Which partitions there are, where they end, and that the topics exist.
            StartOffsets.resolve(definition.topics[...], from: .latest, admin: context.topics) { ends in
                seek(ends.flatMap { ends in Self.checkSeek(offsets, ends) })
            }
        }
    }

    private static func checkSeek(
        _ offsets: [TopicPartition: Int64], _ ends: [TopicPartition: Int64]
    ) -> Result<[TopicPartition: Int64], ConsumerError> {
        if offsets.isEmpty { return .failure(.invalid(field: "offsets", reason: "is empty")) }
        for (partition, offset) in offsets {
            guard let end = ends[partition] else {
                return .failure(.invalid(field: "offsets", reason: "\(partition) is not the consumer's"))
            }
            guard offset >= 0 else {
                return .failure(.invalid(field: "offsets", reason: "\(partition): the offset is negative"))
            }
            // The consumer would pass over every record that comes until then, in silence.
            guard offset <= end else {
                return .failure(
                    .invalid(field: "offsets", reason: "\(partition): \(offset) is beyond the end, \(end)"))
            }
        }
        return .success(offsets)
    }

    // MARK: Stopping

    /// Answers every waiting poll, and acknowledgements that no commit has taken up, with `stopping`, and leaves all
    /// groups. Completes when no commit is under way any more. Later calls fail with `stopping`.
    public func stop(completion: @escaping @Sendable () -> Void) {
        let runners = table.withLock { table -> [ConsumerRunner] in
            table.isStopping = true
            defer { table.entries = [:] }
            return table.entries.values.compactMap { if case .running(_, let runner) = $0 { runner } else { nil } }
        }
        guard !runners.isEmpty else { return completion() }
        let left = Lock(runners.count)
        for runner in runners {
            runner.end(.stopping) {
                let isLast = left.withLock { left in
                    left -= 1
                    return left == 0
                }
                if isLast { completion() }
            }
        }
    }
}

/// A poll that may still be waiting. Any thread may call.
public final class PollHandle: Sendable {
    private enum State: Sendable {
        case starting
        case waiting(PollID, ConsumerRunner)
        case cancelled
    }

    private let state = Lock(State.starting)

    init() {}

    func started(_ id: PollID, _ runner: ConsumerRunner) {
        let isCancelled = state.withLock { state in
            if case .cancelled = state { return true }
            state = .waiting(id, runner)
            return false
        }
        if isCancelled { runner.cancel(id) }
    }

    /// The client left: the poll completes with `clientLeft` and leaves no lease, unless it was answered already.
    public func cancel() {
        let old = state.withLock { state in
            defer { state = .cancelled }
            return state
        }
        if case .waiting(let id, let runner) = old { runner.cancel(id) }
    }
}
