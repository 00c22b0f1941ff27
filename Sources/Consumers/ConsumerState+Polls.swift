import Broker
import Primitives
import Records

/// Polls: arriving, waiting in order of arrival, being answered or given up.
extension ConsumerState {
    /// A poll of this client that is waiting.
    func poll(of client: String) -> PollID? { polls.first { $0.client == client }?.id }

    /// - Returns: the poll's id; it is answered by a `complete` effect, once.
    mutating func poll(_ request: PollRequest, now: MonotonicInstant) throws(ConsumerError) -> PollID {
        if case .ended(let error) = session { throw error }
        guard polls.count < settings.pollsWaitingPerConsumerMax else {
            throw .limitReached("polls_waiting_per_consumer_max")
        }
        if let client = request.client, poll(of: client) != nil { throw .clientBusy(client) }
        let id = PollID(number: nextPoll)
        nextPoll += 1
        let waitUntil = now + min(max(request.wait, .zero), settings.pollWaitMax)
        polls.append(
            PollState(
                id: id, client: request.client, max: request.max, maxBytes: request.maxBytes,
                memory: request.memory, waitUntil: waitUntil, giveUpAt: waitUntil + settings.brokerTimeout,
                isWaitOver: waitUntil <= now))
        // Also one that is answered at once says that somebody is there.
        idleSince = nil
        ensureOpen(now)
        return id
    }

    /// The client left: the poll leaves no lease. Unknown ids are answered already.
    mutating func cancel(_ id: PollID) {
        refuse(id, .clientLeft)
    }

    /// Ends a poll with an error; while the runner asks for client and memory, as soon as it comes back.
    mutating func refuse(_ id: PollID, _ error: ConsumerError) {
        guard let index = index(of: id) else { return }
        if case .offering = polls[index].phase {
            polls[index].doom = polls[index].doom ?? error
        } else {
            dismiss(id, .failure(error))
        }
    }

    /// Memory for the poll's answer was taken after all. It may have ended: then the caller frees it with the error.
    mutating func memoryGranted(_ id: PollID, bytes: Int) {
        guard let index = index(of: id) else { return }
        polls[index].reservedBytes += bytes
        if case .starved = polls[index].phase { polls[index].phase = .waiting }
    }

    /// Others took the records that the memory was for.
    mutating func giveMemoryBack() {
        for index in polls.indices where polls[index].reservedBytes > 0 {
            guard case .waiting = polls[index].phase else { continue }
            effects.append(.giveBack(polls[index].id, bytes: polls[index].reservedBytes))
            polls[index].reservedBytes = 0
        }
    }

    func index(of id: PollID) -> Int? {
        var (low, high) = (0, polls.count)
        while low < high {
            let middle = (low + high) / 2
            if polls[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < polls.count && polls[low].id == id ? low : nil
    }

    /// Ends a poll and frees what it holds. A fetch under way gives its slot back when it returns.
    mutating func dismiss(_ id: PollID, _ result: Result<PollAnswer, ConsumerError>) {
        guard let index = index(of: id) else { return }
        let poll = polls.remove(at: index)
        if let gather = poll.gather {
            release(gather, of: id)
            if gather.ticket == nil { effects.append(.releaseSlot(gather.slot)) }
        }
        effects.append(.complete(id, result))
    }

    /// Gives claims and room back; the records go.
    mutating func release(_ gather: Gather, of poll: PollID) {
        for part in gather.parts {
            unclaim(part, poll)
            if let ticket = gather.ticket, ticket.partition == part.partition {
                partitions[part.partition]?.ready = true
            }
        }
        reservedRoom -= gather.room
    }

    mutating func unclaim(_ part: GatheredPart, _ poll: PollID) {
        guard let partition = partitions[part.partition], partition.version == part.version, partition.claim == poll
        else { return }
        partitions[part.partition]?.claim = nil
        // What was fetched and not leased is still there.
        if !part.records.isEmpty { partitions[part.partition]?.ready = true }
    }

    mutating func expirePolls(_ now: MonotonicInstant) {
        // (In place, here and below: a thousand may wait, this runs at the end of each one's wait, and a copy of each
        // is what would take the time.)
        var overdue: [PollID] = []
        for index in polls.indices {
            guard let deadline = polls[index].deadline, deadline <= now else { continue }
            if polls[index].isWaitOver { overdue.append(polls[index].id) } else { polls[index].isWaitOver = true }
        }
        for id in overdue { dismiss(id, .failure(.unavailable(brokerProblem ?? Self.timeout))) }
    }

    private static let timeout = BrokerError(
        .retriable, code: "broker_timeout", detail: "no answer, or no assignment of partitions, in time")

    /// What keeps records from being found, if anything.
    private var brokerProblem: BrokerError? {
        openError ?? loadError ?? order.lazy.compactMap { partitions[$0]?.lastError }.first
    }

    /// Gives each waiting poll, in order of arrival, a partition with records; answers those whose wait is over.
    mutating func serveWaiting(_ now: MonotonicInstant) {
        guard !polls.isEmpty else { return }
        ensureOpen(now)
        var (mayHaveCandidates, isSomethingClosed) = (true, false)
        for id in polls.map(\.id) {
            guard let index = index(of: id) else { continue }
            let isWaitOver = polls[index].isWaitOver
            switch polls[index].phase {
            case .starved where isWaitOver: dismiss(id, .failure(.limitReached("poll_memory")))
            case .waiting:
                if let client = polls[index].client, let serial = answerOfClient[client] {
                    // All of it in the commit under way: that decides whether the answer is still open.
                    if isRepeatable(serial, now) {
                        start(id, Gather(slot: nextSlot(id), repeated: serial))
                    } else if !hasLeases(serial) {
                        // Retention or compaction took the last of it: nothing is left to wait for.
                        closeIfDone(serial, remember: false)
                        isSomethingClosed = true
                    } else if isWaitOver, let problem = brokerProblem {
                        dismiss(id, .failure(.unavailable(problem)))
                    }
                } else if mayHaveCandidates, let candidate = nextCandidate(now) {
                    let part = claim(candidate, for: id)
                    start(id, Gather(slot: nextSlot(id), parts: [part]))
                } else {
                    mayHaveCandidates = false
                    if isWaitOver { finishWait(id) }
                }
            case .queued, .gathering, .offering, .starved: break
            }
        }
        // Each closing leaves one answer less.
        if isSomethingClosed { serveWaiting(now) }
    }

    private func hasLeases(_ serial: UInt64) -> Bool {
        answers[serial]?.partitions.keys.contains { partitions[$0]?.leases(of: serial).any ?? false } ?? false
    }

    private mutating func start(_ id: PollID, _ gather: Gather) {
        guard let index = index(of: id) else { return }
        polls[index].phase = .queued(gather)
        effects.append(.acquireSlot(gather.slot))
    }

    private mutating func finishWait(_ id: PollID) {
        if let problem = brokerProblem {
            dismiss(id, .failure(.unavailable(problem)))
        } else if case .joined(_, assigned: true) = session, unloaded.isEmpty, !isLoadUnderWay {
            dismiss(id, .success(PollAnswer()))
        }
        // Otherwise it is not known yet whether there are records: until `giveUpAt`.
    }

    // MARK: Partitions

    var unacknowledgedCount: Int { partitions.values.reduce(0) { $0 + $1.entries.count } }

    /// The next partition, in turn, that may give records to another client.
    mutating func nextCandidate(_ now: MonotonicInstant) -> TopicPartition? {
        let unacknowledged = unacknowledgedCount
        let hasRoom = unacknowledged + reservedRoom < maxInFlight
        noteInFlight(isFull: unacknowledged >= maxInFlight)
        for step in 0..<order.count {
            let candidate = order[(turn + step) % order.count]
            guard let partition = partitions[candidate], partition.claim == nil, partition.isDue(now),
                maySpend(partition, hasRoom, now)
            else { continue }
            turn = (turn + step + 1) % order.count
            return candidate
        }
        return nil
    }

    /// Once each time that `maxInFlight` keeps records back.
    private mutating func noteInFlight(isFull: Bool) {
        if isFull, !isInFlightFull {
            guard order.contains(where: { partitions[$0]?.ready == true }) else { return }
            effects.append(.note(.inFlightFull))
        }
        isInFlightFull = isFull
    }

    /// Whether records of the partition may be handed out.
    private func maySpend(_ partition: PartitionState, _ hasRoom: Bool, _ now: MonotonicInstant) -> Bool {
        let mayTakeNew = partition.ready && hasRoom
        switch mode {
        case .ordered:
            guard partition.leased == 0, partition.dead == 0 else { return false }
            // Every entry is in line, but for a delay.
            return partition.entries.first.map { $0.until <= now } ?? mayTakeNew
        case .shared:
            return partition.hasReturned(now)
                || mayTakeNew && partition.admits(partition.position, gathered: 0, firstGathered: nil)
        }
    }

    mutating func claim(_ partition: TopicPartition, for poll: PollID) -> GatheredPart {
        partitions[partition]?.claim = poll
        return GatheredPart(partition: partition, version: partitions[partition]?.version ?? 0)
    }
}
