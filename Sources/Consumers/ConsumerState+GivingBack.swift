import Primitives
import Records

/// How leases end, or are prolonged, without an acknowledgement: deadlines, nacks, extensions, revocations.
extension ConsumerState {
    /// Deadlines rest while calls wait for the commit before theirs: they came in time. All of them are taken up when
    /// it is done, so this is put off by one commit at most.
    mutating func expireAnswers(_ now: MonotonicInstant) {
        guard calls.isEmpty else { return }
        // Oldest first, whatever the order of a dictionary: what is told, and what is kept of it, comes in this order.
        for answer in answers.values.filter({ $0.deadline <= now }).sorted(by: { $0.serial < $1.serial }) {
            expire(answer, now)
        }
    }

    private static let deadlinePassed = "the ack deadline passed"

    private mutating func expire(_ old: OpenAnswer, _ now: MonotonicInstant) {
        var answer = old
        var expired = 0
        let how = GivingBack(expiredBy: now, deliveriesMax: deliveriesMax, reason: Self.deadlinePassed)
        for tp in answer.partitions.keys.sorted() { expired += giveBack(&answer, tp, 0...Int64.max, how) }
        if expired > 0 {
            answer.isWhole = false
            effects.append(.note(.expired(records: expired)))
        }
        review(answer)
    }

    /// - Returns: how many.
    private mutating func giveBack(
        _ answer: inout OpenAnswer, _ tp: TopicPartition, _ offsets: ClosedRange<Int64>, _ how: GivingBack
    ) -> Int {
        guard let given = partitions[tp]?.giveBack(answer.serial, offsets, how), !given.isEmpty else { return 0 }
        for offset in given { answer.partitions[tp]?.remove(offset) }
        if how.until != nil { hasDelays = true }
        // Without a limit nobody decides by the count: a later commit tells it.
        if deliveriesMax < .max { partitions[tp]?.wantsCommit = true }
        return given.count
    }

    /// A nack. In ordered mode what is leased behind the first of these in its partition comes back too, or the order
    /// would be lost; nobody could have been done with it, so that hand-out does not count.
    mutating func giveBack(
        _ selections: [Selection], delay: Duration, reason: String?, _ now: MonotonicInstant
    ) {
        var how = GivingBack(until: delay > .zero ? now + delay : nil, deliveriesMax: deliveriesMax, reason: reason)
        var first: [Selection.Part: Int64] = [:]
        var given = 0
        for selection in selections {
            guard var answer = answers[selection.part.serial] else { continue }
            let lowest = partitions[selection.part.partition]?.firstOpen(selection.part.serial, selection.offsets)
            let count = giveBack(&answer, selection.part.partition, selection.offsets, how)
            guard let lowest, count > 0 else { continue }
            given += count
            first[selection.part] = min(first[selection.part] ?? lowest, lowest)
            answer.isComplete = false
            answers[answer.serial] = answer
        }
        how.isCounted = false
        for (part, lowest) in first {
            guard var answer = answers[part.serial] else { continue }
            if mode == .ordered { given += giveBack(&answer, part.partition, lowest...Int64.max, how) }
            review(answer)
        }
        if given > 0 { effects.append(.note(.givenBack(records: given))) }
    }

    /// After a commit that failed: what it had of the answer is open again. In ordered mode that comes back where a
    /// record before it did meanwhile (given back, or past its deadline): alone it would be handed out before that one.
    mutating func reopen(_ serial: UInt64, _ now: MonotonicInstant) {
        guard var answer = answers[serial] else { return }
        var (expired, given) = (0, 0)
        if mode == .ordered {
            let past = GivingBack(expiredBy: now, deliveriesMax: deliveriesMax, reason: Self.deadlinePassed)
            let behind = GivingBack(deliveriesMax: deliveriesMax, isCounted: false)
            for tp in answer.partitions.keys.sorted() {
                guard let first = partitions[tp]?.firstNotLeased else { continue }
                expired += giveBack(&answer, tp, first...Int64.max, past)
                given += giveBack(&answer, tp, first...Int64.max, behind)
            }
        }
        if expired + given > 0 { answer.isWhole = false }
        if expired > 0 { effects.append(.note(.expired(records: expired))) }
        if given > 0 { effects.append(.note(.givenBack(records: given))) }
        review(answer)
    }

    /// In ordered mode the leases of one answer in one partition end together, so that what comes back is in order.
    mutating func extend(_ selections: [Selection], by duration: Duration, _ now: MonotonicInstant) {
        var wanted = Selected(selections: selections)
        if mode == .ordered {
            for index in selections.indices { wanted.selections[index].offsets = 0...Int64.max }
            wanted.merge()
        }
        for selection in wanted.selections {
            let (part, offsets) = (selection.part, selection.offsets)
            partitions[part.partition]?.extend(part.serial, offsets, until: now + duration)
        }
        for serial in Set(selections.map(\.part.serial)) { if let answer = answers[serial] { review(answer) } }
    }

    /// Stores the answer with its next deadline, or forgets it when nothing of it is leased any more.
    mutating func review(_ old: OpenAnswer) {
        var answer = old
        var (isLeased, firstEnd): (Bool, MonotonicInstant?) = (false, nil)
        for tp in answer.partitions.keys {
            guard let leases = partitions[tp]?.leases(of: answer.serial), leases.any else { continue }
            isLeased = true
            if let end = leases.firstEnd { firstEnd = min(firstEnd ?? end, end) }
        }
        guard isLeased else { return forget(answer) }
        // All of it in the commit under way: that has no deadline.
        answer.deadline = firstEnd ?? .distantFuture
        answers[answer.serial] = answer
    }

    mutating func forget(_ answer: OpenAnswer) {
        answers[answer.serial] = nil
        if let client = answer.client, answerOfClient[client] == answer.serial { answerOfClient[client] = nil }
    }

    /// Late acknowledgements of this partition's deliveries lose.
    mutating func voidLeases(_ partition: TopicPartition) {
        for var answer in answers.values where answer.partitions.removeValue(forKey: partition) != nil {
            answer.isWhole = false
            review(answer)
        }
    }

    mutating func refreshDelays(_ now: MonotonicInstant) {
        guard hasDelays else { return }
        var isAnyLeft = false
        for (tp, partition) in partitions {
            guard let wakeAt = partition.wakeAt else { continue }
            if wakeAt <= now { partitions[tp]?.refreshWake(now) }
            if partitions[tp]?.wakeAt != nil { isAnyLeft = true }
        }
        hasDelays = isAnyLeft
    }
}
