import Broker
import Primitives
import Records

/// One named consumer as a pure value: it is told what happened, and says what to do (`takeEffects`). Its owner holds
/// the one lock and performs the effects after releasing it.
///
/// Life: closed → opening → joined → closed again when idle; `ended` for good. It remembers offsets and attempts; bytes
/// of records are in it only between a poll's fetch and its answer, bounded by `ConsumersSettings.pollsFetchingMax`.
///
/// Mode `ordered`: all leases of a partition belong to one answer, and nothing of it is handed out while a record of it
/// is on its way to the dead-letter topic. Mode `shared`: several answers hold one partition, each its own records.
/// In both, one poll at a time fetches in a partition (`PartitionState.claim`).
struct ConsumerState: Sendable {
    enum Session: Sendable {
        case closed
        /// `assigned`: the broker has said which partitions are ours.
        case opening(UInt64, assigned: Bool)
        /// Subscribed.
        case joined(UInt64, assigned: Bool)
        /// Deleted, replaced or stopped: every call gets this error.
        case ended(ConsumerError)
    }

    let settings: ConsumersSettings
    /// For the times between retries.
    var jitter: any RandomNumberGenerator & Sendable
    let epoch: UInt32
    /// As in the definition: delivery ids name topics by their place in it.
    let topics: [TopicName]
    let mode: DeliveryMode
    let deadLetterTopic: TopicName?
    var ackDeadline: Duration
    var maxInFlight: Int
    /// With so many hand-outs a record is dead; `.max`: no limit.
    var deliveriesMax = UInt32.max

    var session = Session.closed
    var sessions: UInt64 = 0
    var openError: BrokerError?
    var openRetryAt: MonotonicInstant?
    var openBackoff: Backoff

    var partitions: [TopicPartition: PartitionState] = [:]
    /// Sorted; taken in turn from `turn` on.
    var order: [TopicPartition] = []
    var turn = 0
    var versions: UInt64 = 0

    /// Assigned; their committed offsets are not asked for yet.
    var unloaded: Set<TopicPartition> = []
    /// Their committed offsets are on the way.
    var loading: Set<TopicPartition> = []
    var loads: UInt64 = 0
    var isLoadUnderWay = false
    var loadError: BrokerError?
    var loadRetryAt: MonotonicInstant?
    var loadBackoff: Backoff

    var polls: [PollState] = []
    var nextPoll: UInt64 = 1
    var fetches: UInt64 = 0
    /// Sum over the polls' gathers.
    var reservedRoom = 0
    private var slots: UInt64 = 0

    var answers: [UInt64: OpenAnswer] = [:]
    var answerOfClient: [String: UInt64] = [:]
    /// Answers whose every record is acknowledged, oldest first.
    var finished: [FinishedAnswer] = []

    struct FinishedAnswer {
        var serial: UInt64
        var partitions: Set<TopicPartition>
        /// Every delivery of it was acknowledged: none was given back.
        var isComplete: Bool
    }

    var calls: [PendingCall] = []
    var nextCall: UInt64 = 1
    var commits: UInt64 = 0
    var commit: CommitUnderWay?
    var commitRetryAt: MonotonicInstant?
    var commitBackoff: Backoff
    /// Since the last that succeeded.
    var commitFailures = 0
    /// Some entry may wait for its `until` (`PartitionState.wakeAt`).
    var hasDelays = false

    var rounds: UInt64 = 0
    var round: DeadLetterRound?
    var deadLetterError: BrokerError?
    var deadLetterRetryAt: MonotonicInstant?
    var deadLetterBackoff: Backoff

    /// It was told that `maxInFlight` keeps records back.
    var isInFlightFull = false

    var idleSince: MonotonicInstant?
    var hasSaidEnded = false
    var effects: [ConsumerEffect] = []

    init(
        _ definition: ConsumerDefinition, epoch: UInt32, settings: ConsumersSettings,
        jitter: any RandomNumberGenerator & Sendable
    ) {
        self.settings = settings
        self.jitter = jitter
        self.epoch = epoch
        topics = definition.topics
        mode = definition.mode
        deadLetterTopic = definition.deadLetterTopic
        ackDeadline = settings.ackDeadlineDefault
        maxInFlight = settings.maxInFlightDefault
        openBackoff = Backoff(initial: settings.retryInitial, cap: settings.retryMax)
        loadBackoff = openBackoff
        commitBackoff = openBackoff
        deadLetterBackoff = Backoff(initial: settings.retryInitial, cap: settings.deadLetterRetryMax)
        update(definition)
    }

    /// - Precondition: compatible (`ConsumerDefinition.isCompatible`).
    mutating func update(_ definition: ConsumerDefinition) {
        precondition(definition.topics == topics && definition.mode == mode)
        ackDeadline = definition.ackDeadlineMs.map { .milliseconds($0) } ?? settings.ackDeadlineDefault
        maxInFlight = definition.maxInFlight ?? settings.maxInFlightDefault
        deliveriesMax = definition.maxDeliveries.map { UInt32(clamping: $0) } ?? .max
        reconsiderDead()
    }

    mutating func takeEffects() -> [ConsumerEffect] {
        defer { effects = [] }
        return effects
    }

    /// Does what the last event made possible. The owner calls it after every event.
    mutating func settle(_ now: MonotonicInstant) {
        startCommit(now)
        expireAnswers(now)
        refreshDelays(now)
        // Again: what ran out may have to be told to the store.
        startCommit(now)
        startLoad(now)
        expirePolls(now)
        startDeadLetters(now)
        serveWaiting(now)
        giveMemoryBack()
        settleIdle(now)
        if case .ended = session, polls.isEmpty, calls.isEmpty, commit == nil, !hasSaidEnded {
            hasSaidEnded = true
            effects.append(.ended)
        }
    }

    /// When `settle` has something to do without any other event. What was due at `now` is done, or waits for an event
    /// (a claim, a slot, a commit): a timer for it would fire for ever.
    func nextDeadline(after now: MonotonicInstant) -> MonotonicInstant? {
        var next: MonotonicInstant?
        func consider(_ instant: MonotonicInstant?) {
            if let instant, instant > now, next.map({ instant < $0 }) ?? true { next = instant }
        }
        for index in polls.indices { consider(polls[index].deadline) }
        consider(commitRetryAt)
        consider(deadLetterRetryAt)
        if hasDelays { for partition in partitions.values { consider(partition.wakeAt) } }
        if calls.isEmpty {
            for answer in answers.values where answer.deadline < .distantFuture { consider(answer.deadline) }
        }
        if !polls.isEmpty {
            consider(openRetryAt)
            consider(loadRetryAt)
            for partition in partitions.values { consider(partition.retryAt) }
        }
        consider(idleSince.map { $0 + settings.idleClose })
        return next
    }

    // MARK: Session

    mutating func ensureOpen(_ now: MonotonicInstant) {
        guard case .closed = session else { return }
        if let openRetryAt, now < openRetryAt { return }
        sessions += 1
        session = .opening(sessions, assigned: false)
        effects.append(.openSubscription(session: sessions))
    }

    mutating func opened(session number: UInt64, error: BrokerError?, now: MonotonicInstant) {
        guard case .opening(number, let assigned) = session else { return }
        if let error {
            session = .closed
            openError = error
            openRetryAt = now + openBackoff.nextDelay(using: &jitter)
            unloaded = []
        } else {
            session = .joined(number, assigned: assigned)
            openError = nil
            openRetryAt = nil
            openBackoff.reset()
        }
    }

    /// Its number, while there is one.
    var currentSession: UInt64? {
        switch session {
        case .opening(let current, _), .joined(let current, _): current
        case .closed, .ended: nil
        }
    }

    func isCurrent(_ number: UInt64) -> Bool { currentSession == number }

    mutating func nextSlot(_ poll: PollID) -> SlotID {
        slots += 1
        return SlotID(poll: poll, number: slots)
    }

    mutating func assigned(_ assigned: [TopicPartition], session number: UInt64) {
        guard isCurrent(number) else { return }
        for partition in assigned
        where partitions[partition] == nil && !loading.contains(partition) && topics.contains(partition.topic) {
            unloaded.insert(partition)
        }
        switch session {
        case .opening: session = .opening(number, assigned: true)
        case .joined: session = .joined(number, assigned: true)
        case .closed, .ended: break
        }
    }

    mutating func revoked(_ revoked: [TopicPartition], session number: UInt64) {
        guard isCurrent(number) else { return }
        for partition in revoked {
            unloaded.remove(partition)
            loading.remove(partition)
            voidLeases(partition)
            partitions[partition] = nil
        }
        sortOrder()
    }

    mutating func available(_ available: Set<TopicPartition>, session number: UInt64) {
        guard isCurrent(number) else { return }
        for partition in available { partitions[partition]?.ready = true }
    }

    private mutating func settleIdle(_ now: MonotonicInstant) {
        guard case .joined = session, polls.isEmpty, answers.isEmpty, calls.isEmpty, commit == nil,
            commitRetryAt == nil, round == nil, !hasDelays, deadCount == 0
        else {
            idleSince = nil
            return
        }
        let since = idleSince ?? now
        idleSince = since
        if now >= since + settings.idleClose { leave() }
    }

    private mutating func leave() {
        idleSince = nil
        if let currentSession { effects.append(.closeSubscription(session: currentSession)) }
        session = .closed
        forgetPartitions()
    }

    private mutating func forgetPartitions() {
        partitions = [:]
        order = []
        unloaded = []
        loading = []
        answers = [:]
        answerOfClient = [:]
        hasDelays = false
        commitRetryAt = nil
        deadLetterRetryAt = nil
        deadLetterError = nil
    }

    /// Answers everything that waits. A commit under way is still waited for, then `ended` is said.
    mutating func end(_ error: ConsumerError) {
        if case .ended = session { return }
        for poll in polls { refuse(poll.id, error) }
        for call in calls { effects.append(.acknowledged(call.id, .failure(error))) }
        calls = []
        leave()
        finished = []
        session = .ended(error)
    }

    // MARK: Committed offsets

    private mutating func startLoad(_ now: MonotonicInstant) {
        guard !unloaded.isEmpty, !isLoadUnderWay, commit == nil, case .joined = session else { return }
        if let loadRetryAt, now < loadRetryAt { return }
        isLoadUnderWay = true
        loading = unloaded
        unloaded = []
        loads += 1
        effects.append(.loadCommitted(load: loads, loading.sorted()))
    }

    mutating func loaded(
        _ result: Result<[TopicPartition: CommittedOffset], BrokerError>, load: UInt64, now: MonotonicInstant
    ) {
        precondition(isLoadUnderWay && load == loads)
        isLoadUnderWay = false
        // Revoked meanwhile, or the session is another one: those are not in `loading` any more.
        let concerned = loading
        loading = []
        switch result {
        case .failure(let error):
            effects.append(.note(.loadFailed(error)))
            loadError = error
            loadRetryAt = now + loadBackoff.nextDelay(using: &jitter)
            unloaded.formUnion(concerned)
        case .success(let offsets):
            loadError = nil
            loadRetryAt = nil
            loadBackoff.reset()
            // A partition without an offset was added after the consumer was defined: it starts at 0.
            for partition in concerned { place(partition, offsets[partition] ?? CommittedOffset(offset: 0)) }
            sortOrder()
        }
    }

    /// The partition goes on at a committed offset; nothing is leased in it.
    mutating func place(_ partition: TopicPartition, _ committed: CommittedOffset) {
        var metadata = CommitMetadata()
        do {
            metadata = try CommitMetadata(decoding: committed.metadata, committed: committed.offset)
        } catch {
            effects.append(.note(.metadataUnreadable(partition, error)))
        }
        versions += 1
        partitions[partition] = PartitionState(
            version: versions, committed: committed.offset, metadata: metadata,
            backoff: Backoff(initial: settings.retryInitial, cap: settings.retryMax))
    }

    private mutating func sortOrder() {
        order = partitions.keys.sorted()
        turn = order.isEmpty ? 0 : turn % order.count
    }
}
