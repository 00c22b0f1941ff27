import Broker
import Primitives
import Records

/// A call that changes committed offsets and waits for its commit.
struct PendingCall: Sendable {
    enum Kind: Sendable {
        case acknowledge(ParsedAcknowledgement)
        case seek([TopicPartition: Int64])
    }

    let id: CallID
    let kind: Kind
}

/// The one commit that is on its way to the store.
struct CommitUnderWay: Sendable {
    let number: UInt64
    var offsets: [TopicPartition: CommittedOffset] = [:]
    /// Those the offsets were computed from.
    var versions: [TopicPartition: UInt64] = [:]
    var answers: Set<UInt64> = []
    var calls: [(id: CallID, outcomes: [AcknowledgementOutcome], partitions: Set<TopicPartition>)] = []
    var isSeek = false
    var records = 0
}

/// Acknowledgements and seeks: one commit at a time; what arrives meanwhile shares the next.
extension ConsumerState {
    /// - Returns: the call's id; it is answered by an `acknowledged` effect, once.
    mutating func enqueue(_ kind: PendingCall.Kind) throws(ConsumerError) -> CallID {
        if case .ended(let error) = session { throw error }
        guard calls.count < settings.commitsWaitingPerConsumerMax else {
            throw .limitReached("commits_waiting_per_consumer_max")
        }
        let id = CallID(number: nextCall)
        nextCall += 1
        calls.append(PendingCall(id: id, kind: kind))
        return id
    }

    /// - Precondition: called with no load under way on the partitions' committed offsets, or it would undo the commit.
    mutating func startCommit() {
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
                guard case .acknowledge(let acknowledgement) = call.kind else { continue }
                let (outcomes, touched) = resolve(acknowledgement, &next)
                next.calls.append((call.id, outcomes, touched))
            }
            calls.removeFirst(count)
            takeEnds(&next)
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

    private mutating func takeEnds(_ next: inout CommitUnderWay) {
        for (tp, partition) in partitions where partition.wantsEndCommitted {
            partitions[tp]?.wantsEndCommitted = false
            if partition.entries.isEmpty { next.versions[tp] = partition.version }
        }
    }

    mutating func committed(number: UInt64, _ result: Result<Void, BrokerError>) {
        guard let done = commit, done.number == number else {
            preconditionFailure("a commit was answered twice")
        }
        commit = nil
        if case .failure(let error) = result {
            effects.append(.note(.commitFailed(error)))
            for (tp, version) in done.versions where partitions[tp]?.version == version {
                let open = answers
                partitions[tp]?.undoCommitting { open[$0] != nil }
            }
            for serial in done.answers { closeIfDone(serial, remember: false) }
            for call in done.calls { effects.append(.acknowledged(call.id, .failure(.unavailable(error)))) }
            return
        }
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
            for serial in done.answers { closeIfDone(serial, remember: true) }
            if done.records > 0 { effects.append(.note(.acknowledged(records: done.records))) }
        }
        let offsets = done.offsets.mapValues(\.offset)
        for call in done.calls {
            var now = committedNow(call.partitions)
            for tp in call.partitions { now[tp] = offsets[tp] ?? now[tp] }
            answer(call.id, call.outcomes, now)
        }
    }

    private func committedNow(_ touched: Set<TopicPartition>) -> [TopicPartition: Int64] {
        touched.reduce(into: [:]) { $0[$1] = partitions[$1]?.committed }
    }

    private mutating func answer(
        _ id: CallID, _ outcomes: [AcknowledgementOutcome], _ committed: [TopicPartition: Int64]
    ) {
        let result = AcknowledgementResult(outcomes: outcomes, committed: committed)
        effects.append(
            .acknowledged(id, outcomes.contains(.leaseLost) ? .failure(.leasesLost(result)) : .success(result)))
    }

    // MARK: Items

    private mutating func resolve(
        _ acknowledgement: ParsedAcknowledgement, _ next: inout CommitUnderWay
    ) -> ([AcknowledgementOutcome], Set<TopicPartition>) {
        var touched: Set<TopicPartition> = []
        var outcomes: [AcknowledgementOutcome] = []
        switch acknowledgement {
        case .answer(let token):
            outcomes = [.leaseLost]
            if token.epoch == epoch, let answer = answers[token.serial] {
                for tp in answer.partitions.keys { take(tp, answer.serial, 0...Int64.max, &next, &touched) }
                if answer.isWhole { outcomes = [.acknowledged] }
            } else if let answer = finished(token) {
                touched.formUnion(answer.partitions)
                outcomes = [.acknowledged]
            }
        case .deliveries(let ids):
            for id in ids { outcomes.append(resolve(id, through: false, &next, &touched)) }
        case .through(let ids):
            for id in ids { outcomes.append(resolve(id, through: true, &next, &touched)) }
        case .offsets(let places, let client):
            for place in places {
                guard let serial = answerOfClient[client],
                    holds(serial, place.partition, place.offset, attempt: nil)
                else {
                    outcomes.append(.leaseLost)
                    continue
                }
                take(place.partition, serial, 0...place.offset, &next, &touched)
                outcomes.append(.acknowledged)
            }
        }
        return (outcomes, touched)
    }

    private mutating func resolve(
        _ id: DeliveryID, through: Bool, _ next: inout CommitUnderWay, _ touched: inout Set<TopicPartition>
    ) -> AcknowledgementOutcome {
        guard id.answer.epoch == epoch, topics.indices.contains(id.topicIndex) else { return .leaseLost }
        let tp = TopicPartition(topic: topics[id.topicIndex], partition: id.partition)
        if let answer = finished(id.answer) {
            guard answer.partitions.contains(tp) else { return .leaseLost }
            touched.insert(tp)
            return .acknowledged
        }
        guard holds(id.answer.serial, tp, id.offset, attempt: id.attempt) else { return .leaseLost }
        take(tp, id.answer.serial, (through ? 0 : id.offset)...id.offset, &next, &touched)
        return .acknowledged
    }

    private func finished(_ token: AnswerToken) -> FinishedAnswer? {
        token.epoch == epoch ? finished.first { $0.serial == token.serial } : nil
    }

    /// Whether the answer is open and handed out this record: still open, or acknowledged since.
    private func holds(_ serial: UInt64, _ tp: TopicPartition, _ offset: Int64, attempt: UInt32?) -> Bool {
        guard let range = answers[serial]?.partitions[tp], range.contains(offset), let partition = partitions[tp]
        else { return false }
        guard let index = partition.index(of: offset) else { return true }
        let entry = partition.entries[index]
        return entry.answer == serial && entry.status != .returned && (attempt.map { entry.attempts == $0 } ?? true)
    }

    private mutating func take(
        _ tp: TopicPartition, _ serial: UInt64, _ offsets: ClosedRange<Int64>, _ next: inout CommitUnderWay,
        _ touched: inout Set<TopicPartition>
    ) {
        guard let version = partitions[tp]?.version else { return }
        touched.insert(tp)
        guard let taken = partitions[tp]?.beginCommitting(serial, offsets), taken > 0 else { return }
        next.versions[tp] = version
        next.answers.insert(serial)
        next.records += taken
    }
}
