import Broker
import Primitives
import Records

/// A call on leases or committed offsets, in line behind the commit that is under way.
struct PendingCall: Sendable {
    enum Kind: Sendable {
        case leases(LeaseAction, ParsedSelector)
        case seek([TopicPartition: Int64])
    }

    let id: CallID
    let kind: Kind
    /// For offsets: the answer that the client had when it spoke of them. It does not speak of one that comes while the
    /// call waits.
    let answer: UInt64?
}

/// The one commit that is on its way to the store.
struct CommitUnderWay: Sendable {
    let number: UInt64
    var offsets: [TopicPartition: CommittedOffset] = [:]
    /// Those the offsets were computed from.
    var versions: [TopicPartition: UInt64] = [:]
    /// Written for themselves: tried again when the commit fails.
    var wanted: Set<TopicPartition> = []
    var answers: Set<UInt64> = []
    var calls: [(id: CallID, outcomes: [LeaseOutcome], partitions: Set<TopicPartition>)] = []
    var isSeek = false
    var records = 0
}

/// Acknowledgements, nacks, extensions and seeks, in order of arrival: one commit at a time, and what arrives meanwhile
/// waits for it. Acknowledgements then share the next.
extension ConsumerState {
    /// - Returns: the call's id; it is answered by an `acknowledged` effect, once.
    mutating func enqueue(_ kind: PendingCall.Kind) throws(ConsumerError) -> CallID {
        if case .ended(let error) = session { throw error }
        guard calls.count < settings.commitsWaitingPerConsumerMax else {
            throw .limitReached("commits_waiting_per_consumer_max")
        }
        let id = CallID(number: nextCall)
        nextCall += 1
        var answer: UInt64?
        if case .leases(_, .offsets(_, let client)) = kind { answer = answerOfClient[client] }
        calls.append(PendingCall(id: id, kind: kind, answer: answer))
        return id
    }

    /// - Precondition: called with no load under way on the partitions' committed offsets, or it would undo the commit.
    mutating func startCommit(_ now: MonotonicInstant) {
        guard commit == nil, !isLoadUnderWay else { return }
        commits += 1
        var next = CommitUnderWay(number: commits)
        if case .seek(let offsets) = calls.first?.kind {
            next.isSeek = true
            next.offsets = offsets.mapValues { CommittedOffset(offset: $0) }
            next.calls = [(calls.removeFirst().id, [], Set(offsets.keys))]
        } else {
            let count = calls.firstIndex { if case .seek = $0.kind { true } else { false } } ?? calls.count
            for call in calls.prefix(count) {
                guard case .leases(let action, let selector) = call.kind else { continue }
                perform(action, on: selector, for: call, &next, now)
            }
            calls.removeFirst(count)
            takeWanted(&next, now)
            for tp in next.versions.keys { next.offsets[tp] = partitions[tp]?.commitValue }
        }
        // Nothing to write for these: all lost, or acknowledged before.
        let written = next.offsets
        next.calls.removeAll { call in
            guard call.partitions.isDisjoint(with: written.keys) else { return false }
            answer(call.id, call.outcomes, committedNow(call.partitions))
            return true
        }
        if next.offsets.isEmpty { return }
        commit = next
        effects.append(.commit(number: next.number, next.offsets))
    }

    private mutating func perform(
        _ action: LeaseAction, on selector: ParsedSelector, for call: PendingCall, _ next: inout CommitUnderWay,
        _ now: MonotonicInstant
    ) {
        let found = select(selector, by: action, answer: call.answer)
        switch action {
        case .acknowledge:
            var touched = found.finished
            for selection in found.selections { take(selection, &next, &touched) }
            next.calls.append((call.id, found.outcomes, touched))
        case .giveBack(let delay, let reason):
            giveBack(found.selections, delay: delay, reason: reason, now)
            answer(call.id, found.outcomes, committedNow(found.touched))
        case .extend(let duration):
            extend(found.selections, by: duration, now)
            answer(call.id, found.outcomes, committedNow(found.touched))
        }
    }

    private mutating func takeWanted(_ next: inout CommitUnderWay, _ now: MonotonicInstant) {
        let mayRetry = commitRetryAt.map { $0 <= now } ?? true
        for (tp, partition) in partitions {
            if partition.wantsEndCommitted {
                partitions[tp]?.wantsEndCommitted = false
                if partition.entries.isEmpty { next.versions[tp] = partition.version }
            }
            if partition.wantsCommit, mayRetry || next.versions[tp] != nil {
                partitions[tp]?.wantsCommit = false
                next.versions[tp] = partition.version
                next.wanted.insert(tp)
            }
        }
    }

    mutating func committed(number: UInt64, _ result: Result<Void, BrokerError>, now: MonotonicInstant) {
        guard let done = commit, done.number == number else {
            preconditionFailure("a commit was answered twice")
        }
        commit = nil
        if case .failure(let error) = result {
            commitFailures += 1
            effects.append(.note(.commitFailed(error, inARow: commitFailures)))
            for (tp, version) in done.versions where partitions[tp]?.version == version {
                partitions[tp]?.undoCommitting()
                if done.wanted.contains(tp) { partitions[tp]?.wantsCommit = true }
            }
            if !done.wanted.isEmpty { commitRetryAt = now + commitBackoff.nextDelay(using: &jitter) }
            for serial in done.answers.sorted() { reopen(serial, now) }
            for call in done.calls { effects.append(.acknowledged(call.id, .failure(.unavailable(error)))) }
            return
        }
        commitRetryAt = nil
        commitBackoff.reset()
        commitFailures = 0
        if done.isSeek {
            for (tp, offset) in done.offsets where partitions[tp] != nil {
                voidLeases(tp)
                place(tp, offset)
            }
            finished = []
        } else {
            for (tp, version) in done.versions where partitions[tp]?.version == version {
                partitions[tp]?.endCommitting(committed: done.offsets[tp]?.offset ?? 0)
            }
            // Oldest first: in this order they are forgotten.
            for serial in done.answers.sorted() { closeIfDone(serial, remember: true) }
            if done.records > 0 { effects.append(.note(.acknowledged(records: done.records))) }
        }
        let offsets = done.offsets.mapValues(\.offset)
        for call in done.calls {
            var told = committedNow(call.partitions)
            for tp in call.partitions { told[tp] = offsets[tp] ?? told[tp] }
            answer(call.id, call.outcomes, told)
        }
    }

    private func committedNow(_ touched: Set<TopicPartition>) -> [TopicPartition: Int64] {
        touched.reduce(into: [:]) { $0[$1] = partitions[$1]?.committed }
    }

    private mutating func answer(
        _ id: CallID, _ outcomes: [LeaseOutcome], _ committed: [TopicPartition: Int64]
    ) {
        let result = LeaseResult(outcomes: outcomes, committed: committed)
        effects.append(
            .acknowledged(id, outcomes.contains(.leaseLost) ? .failure(.leasesLost(result)) : .success(result)))
    }

    private mutating func take(
        _ selection: Selection, _ next: inout CommitUnderWay, _ touched: inout Set<TopicPartition>
    ) {
        let (tp, serial) = (selection.part.partition, selection.part.serial)
        guard let version = partitions[tp]?.version else { return }
        touched.insert(tp)
        guard let taken = partitions[tp]?.beginCommitting(serial, selection.offsets), taken > 0 else { return }
        next.versions[tp] = version
        next.answers.insert(serial)
        next.records += taken
    }
}
