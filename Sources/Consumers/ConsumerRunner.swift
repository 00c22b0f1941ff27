import Broker
import Logging
import CoreMetrics
import Primitives
import Records

/// One named consumer at work: holds the lock over its `ConsumerState`, performs the effects outside it and brings back
/// what became of them. Any thread may call; completions run on the thread that brought the news.
final class ConsumerRunner: Sendable {
    private struct Guarded {
        var state: ConsumerState
        var polls: [PollID: (request: PollRequest, completion: PollCompletion)] = [:]
        var calls: [CallID: Consumers.LeaseCompletion] = [:]
        /// By session; more than one only between the effects of two threads.
        var memberships: [UInt64: Membership] = [:]
        /// The delegate of a membership that is being opened: nobody else holds it.
        var opening: SubscriptionListener?
        var timer: (deadline: MonotonicInstant, token: TimerToken)?
        var onEnded: (@Sendable () -> Void)?
    }

    private struct Membership {
        let subscription: any Subscription
        let listener: SubscriptionListener
    }

    let name: ConsumerName
    private let context: ConsumerContext
    private let guarded: Lock<Guarded>

    init(_ name: ConsumerName, _ definition: ConsumerDefinition, _ context: ConsumerContext) {
        self.name = name
        self.context = context
        guarded = Lock(
            Guarded(
                state: ConsumerState(
                    definition.completed(for: name), epoch: context.epoch, settings: context.settings,
                    jitter: context.makeJitter())))
    }

    // MARK: Calls

    /// - Throws: without calling `completion`.
    func poll(_ request: PollRequest, _ completion: @escaping PollCompletion) throws(ConsumerError) -> PollID {
        dropGonePoll(of: request.client)
        return try counted {
            () throws(ConsumerError) in
            try run { (guarded, now) throws(ConsumerError) in
                let id = try guarded.state.poll(request, now: now)
                guarded.polls[id] = (request, completion)
                return id
            }
        }
    }

    /// A limit that the call meets is counted.
    private func counted<Result>(_ call: () throws(ConsumerError) -> Result) throws(ConsumerError) -> Result {
        do throws(ConsumerError) {
            return try call()
        } catch {
            error.countLimit()
            throw error
        }
    }

    /// A parked connection does not notice that its client left; the same client coming back tells.
    private func dropGonePoll(of client: String?) {
        guard let client else { return }
        let old = guarded.withLock { guarded -> (PollID, PollRequest)? in
            guard let id = guarded.state.poll(of: client), let call = guarded.polls[id] else { return nil }
            return (id, call.request)
        }
        if let (id, request) = old, !request.isClientPresent() { cancel(id) }
    }

    func cancel(_ id: PollID) { run { guarded, _ in guarded.state.cancel(id) } }

    func perform(
        _ action: LeaseAction, on selector: ParsedSelector, _ completion: @escaping Consumers.LeaseCompletion
    ) throws(ConsumerError) {
        try enqueue(.leases(action, selector), completion)
    }

    func seek(_ offsets: [TopicPartition: Int64], _ completion: @escaping Consumers.LeaseCompletion)
        throws(ConsumerError)
    {
        try enqueue(.seek(offsets), completion)
    }

    private func enqueue(
        _ kind: PendingCall.Kind, _ completion: @escaping Consumers.LeaseCompletion
    ) throws(ConsumerError) {
        try counted { () throws(ConsumerError) in
            try run { (guarded, _) throws(ConsumerError) in
                guarded.calls[try guarded.state.enqueue(kind)] = completion
            }
        }
    }

    func update(_ definition: ConsumerDefinition) { run { guarded, _ in guarded.state.update(definition) } }

    /// Answers all calls with `error`. `ended` is called once no commit of this consumer is under way; call it once.
    func end(_ error: ConsumerError, ended: @escaping @Sendable () -> Void) {
        run { guarded, _ in
            guarded.onEnded = ended
            guarded.state.end(error)
        }
    }

    func snapshot() -> ConsumerSnapshot { guarded.withLock { $0.state.snapshot } }

    // MARK: Running

    private func run<Result, Failure: Error>(
        _ event: (inout Guarded, MonotonicInstant) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let (result, effects) = try guarded.withLock { guarded throws(Failure) -> (Result, [ConsumerEffect]) in
            let now = context.clock.now()
            let result = try event(&guarded, now)
            guarded.state.settle(now)
            arm(&guarded, now)
            return (result, guarded.state.takeEffects())
        }
        for effect in effects { perform(effect) }
        return result
    }

    /// A timer that is early finds nothing to do and arms the next, so only an earlier deadline replaces it.
    private func arm(_ guarded: inout Guarded, _ now: MonotonicInstant) {
        guard let next = guarded.state.nextDeadline(after: now) else { return }
        if let timer = guarded.timer {
            if timer.deadline <= next { return }
            context.timers.cancel(timer.token)
        }
        let token = context.timers.schedule(at: next) { [weak self] in
            self?.run { guarded, now in
                if let timer = guarded.timer, timer.deadline <= now { guarded.timer = nil }
            }
        }
        guarded.timer = (next, token)
    }

    private func perform(_ effect: ConsumerEffect) {
        switch effect {
        case .openSubscription(let session): open(session)
        case .closeSubscription(let session):
            // None when it is being opened: whoever does that finds that it is not wanted any more.
            let membership = guarded.withLock { $0.memberships.removeValue(forKey: session) }
            membership?.subscription.close()
        case .loadCommitted(let load, let partitions):
            context.offsets.committed(consumer: name, of: partitions) { result in
                self.run { guarded, now in guarded.state.loaded(result, load: load, now: now) }
            }
        case .acquireSlot(let slot):
            context.slots.acquire(key(slot)) {
                self.run { guarded, now in guarded.state.slotGranted(slot, now: now) }
            }
        case .releaseSlot(let slot): context.slots.release(key(slot))
        case .fetch(let ticket, let request): fetch(ticket, request)
        case .offer(let poll, let bytes): offer(poll, bytes)
        case .giveBack(let poll, let bytes):
            let request = guarded.withLock { $0.polls[poll]?.request }
            request?.memory.giveBack(bytes)
        case .complete(let poll, let result):
            if case .failure(let error) = result { error.countLimit() }
            let call = guarded.withLock { $0.polls.removeValue(forKey: poll) }
            call?.completion(result)
        case .commit(let number, let offsets):
            context.offsets.commit(consumer: name, offsets: offsets) { result in
                self.run { guarded, now in guarded.state.committed(number: number, result, now: now) }
            }
        case .acknowledged(let call, let result):
            let completion = guarded.withLock { $0.calls.removeValue(forKey: call) }
            completion?(result.mapError { $0.named(name) })
        case .fetchDeadLetters(let round, let request):
            fetch(request) { result in
                self.run { guarded, now in guarded.state.deadLettersFetched(round: round, result, now: now) }
            }
        case .submit(let round, let topic, let drafts):
            DeadLetterRecord.submit(drafts, to: topic, of: name, context) { outcome in
                self.run { guarded, now in guarded.state.deadLettersSubmitted(round: round, outcome, now: now) }
            }
        case .ended:
            let ended = guarded.withLock { guarded in
                defer { guarded.onEnded = nil }
                return guarded.onEnded
            }
            ended?()
        case .note(let note): report(note)
        }
    }

    private func key(_ slot: SlotID) -> FetchSlots.Key {
        FetchSlots.Key(consumer: ObjectIdentifier(self), slot: slot)
    }

    // MARK: Subscription

    private func open(_ session: UInt64) {
        let listener = SubscriptionListener(self, session)
        let topics = guarded.withLock { guarded in
            guarded.opening = listener
            return guarded.state.topics
        }
        do throws(BrokerError) {
            let subscription = try context.source.subscribe(consumer: name, topics: topics, delegate: listener)
            let isWanted = run { guarded, now in
                guarded.opening = nil
                guard guarded.state.isCurrent(session) else { return false }
                guarded.memberships[session] = Membership(subscription: subscription, listener: listener)
                guarded.state.opened(session: session, error: nil, now: now)
                return true
            }
            if !isWanted { subscription.close() }
        } catch {
            context.log.warning(
                "joining the consumer's group failed", metadata: ["consumer": "\(name)", "error": "\(error)"])
            run { guarded, now in
                guarded.opening = nil
                guarded.state.opened(session: session, error: error, now: now)
            }
        }
    }

    fileprivate func assigned(_ partitions: [TopicPartition], _ session: UInt64) {
        run { guarded, _ in guarded.state.assigned(partitions, session: session) }
    }

    fileprivate func revoked(_ partitions: [TopicPartition], _ session: UInt64) {
        run { guarded, _ in guarded.state.revoked(partitions, session: session) }
    }

    fileprivate func available(_ partitions: Set<TopicPartition>, _ session: UInt64) {
        run { guarded, _ in guarded.state.available(partitions, session: session) }
    }

    private func fetch(
        _ request: FetchRequest, _ completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void
    ) {
        let subscription = guarded.withLock { guarded in
            guarded.state.currentSession.flatMap { guarded.memberships[$0]?.subscription }
        }
        guard let subscription else {
            // Closed between the decision and now.
            return completion(
                .failure(
                    BrokerError(.retriable, code: "subscription_closed", detail: "the consumer left its group")))
        }
        subscription.fetch(request, completion: completion)
    }

    private func fetch(_ ticket: FetchTicket, _ request: FetchRequest) {
        fetch(request) { result in
            let costs = self.costs(result, for: ticket.poll)
            self.run { guarded, now in guarded.state.fetched(ticket, result, costs: costs, now: now) }
        }
    }

    /// Looks at every byte, so not under the lock.
    private func costs(_ result: Result<FetchResult, BrokerError>, for poll: PollID) -> [Int] {
        guard case .success(let fetch) = result, let request = guarded.withLock({ $0.polls[poll]?.request }) else {
            return []
        }
        return fetch.records.map(request.memory.recordBytes)
    }

    // MARK: Answering

    private func offer(_ poll: PollID, _ bytes: Int) {
        let request = guarded.withLock { $0.polls[poll]?.request }
        let verdict: OfferVerdict
        if let request, request.isClientPresent() {
            verdict = bytes == 0 || reserve(bytes, for: poll, request) ? .granted : .noMemory
        } else {
            verdict = .clientGone
        }
        let (serial, wallMs) = (context.nextSerial(), context.clock.wallMilliseconds())
        run { guarded, now in
            guarded.state.offered(poll, verdict, bytes: bytes, serial: serial, now: now, wallMs: wallMs)
        }
    }

    private func reserve(_ bytes: Int, for poll: PollID, _ request: PollRequest) -> Bool {
        request.memory.reserve(bytes) { [weak self] in
            self?.run { guarded, _ in guarded.state.memoryGranted(poll, bytes: bytes) }
        }
    }

    private func report(_ note: ConsumerNote) {
        let metrics = context.metrics
        func warn(_ message: Logger.Message, _ facts: [String: String]) {
            var metadata: Logger.Metadata = ["consumer": "\(name)"]
            for (key, value) in facts { metadata[key] = "\(value)" }
            context.log.warning(message, metadata: metadata)
        }
        switch note {
        case .delivered(let records, let again):
            metrics.delivered.increment(by: records)
            if again > 0 { metrics.redelivered.increment(by: again) }
        case .acknowledged(let records): metrics.acknowledged.increment(by: records)
        case .expired(let records): metrics.expired.increment(by: records)
        case .givenBack(let records): metrics.givenBack.increment(by: records)
        case .windowFull:
            metrics.windowsFull.increment()
            Limit.window.reached()
        case .inFlightFull: Limit.inFlight.reached()
        case .deadLettered(let records): metrics.deadLettered.increment(by: records)
        case .deadLetterFailed(let error):
            metrics.deadLetterErrors.increment()
            warn("sending to the dead-letter topic failed", ["error": "\(error)"])
        case .deadLetterTooLarge(let partition, let offsets):
            metrics.deadLetterErrors.increment()
            warn(
                "the dead-letter topic does not take records of this size: they are handed to nobody",
                ["partition": "\(partition)", "offsets": "\(offsets)"])
        case .fetchFailed(let partition, let error):
            metrics.fetchErrors.increment()
            warn("fetching failed", ["partition": "\(partition)", "error": "\(error)"])
        case .commitFailed(let error, let inARow):
            metrics.commitErrors.increment()
            // Clients that repeat their acknowledgements make many.
            if Backoff.isTold(inARow) {
                warn("committing failed", ["error": "\(error)", "in_a_row": "\(inARow)"])
            }
        case .loadFailed(let error): warn("reading committed offsets failed", ["error": "\(error)"])
        case .metadataUnreadable(let partition, let error):
            warn(
                "commit metadata is unreadable: what it acknowledged is handed out again",
                ["partition": "\(partition)", "error": "\(error)"])
        case .skipped(let partition, let range):
            warn("records went by retention before delivery", ["partition": "\(partition)", "offsets": "\(range)"])
        }
    }
}

/// Tells the runner which session's news it is: a membership that was left may still speak.
final class SubscriptionListener: SubscriptionDelegate {
    private let session: UInt64
    private let runner: WeakRunner

    // SAFETY: `runner` is written once in init; weak references are read atomically.
    private final class WeakRunner: @unchecked Sendable {
        weak let runner: ConsumerRunner?
        init(_ runner: ConsumerRunner) { self.runner = runner }
    }

    init(_ runner: ConsumerRunner, _ session: UInt64) {
        self.session = session
        self.runner = WeakRunner(runner)
    }

    func assigned(_ partitions: [TopicPartition]) { runner.runner?.assigned(partitions, session) }
    func revoked(_ partitions: [TopicPartition]) { runner.runner?.revoked(partitions, session) }
    func available(_ partitions: Set<TopicPartition>) { runner.runner?.available(partitions, session) }
}
