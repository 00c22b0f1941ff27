import Broker
import Primitives
import Records

/// Records of one partition on their way to the dead-letter topic.
struct DeadLetterRound: Sendable {
    enum Phase: Sendable {
        /// For the right to hold fetched records.
        case queued
        case fetching
        case submitting
    }

    let number: UInt64
    let slot: SlotID
    let partition: TopicPartition
    let version: UInt64
    let offsets: Range<Int64>
    var phase = Phase.queued
}

/// A record whose deliveries are used up, as fetched.
struct DeadLetterDraft: Sendable {
    var record: StoredRecord
    /// Hand-outs that ended without an acknowledgement.
    var attempts: UInt32
    /// What the last nack said, or that the deadline passed; nil after a restart.
    var reason: String?
}

/// What became of the drafts of one round.
struct DeadLetterOutcome: Sendable {
    /// Offsets that are synced in the spool.
    var submitted: Set<Int64> = []
    /// Offsets of records that the dead-letter topic would refuse as they are.
    var tooLarge: Set<Int64> = []
    /// Why the others are not.
    var error: BrokerError?
}

extension PollID {
    /// Stands for the dead-letter round where a poll would: no poll has it.
    static let deadLetters = PollID(number: 0)
}

/// Records whose deliveries are used up: fetch them again, submit them, and only then let commits pass them. A crash
/// between the sync and the commit submits them twice: the dead-letter topic gets each at least once.
///
/// One round at a time, so that what is fetched is bounded; a slot as polls have it bounds it over all consumers.
extension ConsumerState {
    var deadCount: Int { partitions.values.reduce(0) { $0 + $1.dead } }

    mutating func startDeadLetters(_ now: MonotonicInstant) {
        guard deliveriesMax < .max, round == nil, case .joined = session else { return }
        if let deadLetterRetryAt, now < deadLetterRetryAt { return }
        deadLetterRetryAt = nil
        for tp in order {
            guard let partition = partitions[tp], partition.claim == nil,
                let offsets = partition.nextDead(now: now, wanted: settings.deadLettersPerRoundMax)
            else { continue }
            rounds += 1
            let slot = nextSlot(.deadLetters)
            round = DeadLetterRound(
                number: rounds, slot: slot, partition: tp, version: partition.version, offsets: offsets)
            partitions[tp]?.claim = .deadLetters
            return effects.append(.acquireSlot(slot))
        }
    }

    mutating func deadLetterSlotGranted() {
        guard let round, case .queued = round.phase, partitions[round.partition]?.version == round.version else {
            return endRound()
        }
        self.round?.phase = .fetching
        effects.append(
            .fetchDeadLetters(
                round: round.number,
                FetchRequest(
                    partition: round.partition, offset: round.offsets.lowerBound, endOffset: round.offsets.upperBound,
                    recordsMax: settings.deadLettersPerRoundMax, bytesMax: settings.deadLetterBytesPerRoundMax)))
    }

    mutating func deadLettersFetched(
        round number: UInt64, _ result: Result<FetchResult, BrokerError>, now: MonotonicInstant
    ) {
        guard let round, round.number == number, case .fetching = round.phase else { return }
        guard var partition = partitions[round.partition], partition.version == round.version else {
            return endRound()
        }
        partition.claim = nil
        let fetch: FetchResult
        switch result {
        case .failure(let error):
            partitions[round.partition] = partition
            return failRound(error, now)
        case .success(let success): fetch = success
        }
        let (low, countBefore) = (fetch.lowWatermark, partition.entries.count)
        if low > round.offsets.lowerBound {
            partition.raiseLowWatermark(to: low, from: round.offsets.lowerBound)
            effects.append(.note(.skipped(round.partition, round.offsets.lowerBound..<low)))
        }
        let covered = min(max(fetch.nextOffset, round.offsets.lowerBound), round.offsets.upperBound)
        partition.dropVanished(in: round.offsets.lowerBound..<covered, found: fetch.records[...]) { $0.status == .dead }
        let drafts = fetch.records.compactMap { record -> DeadLetterDraft? in
            guard round.offsets.contains(record.offset), let index = partition.index(of: record.offset),
                partition.entries[index].status == .dead
            else { return nil }
            return DeadLetterDraft(
                record: record, attempts: partition.entries[index].attempts, reason: partition.reasons[record.offset])
        }
        // What retention or compaction took needs no acknowledgement, but the commit that says so.
        if partition.entries.count < countBefore { partition.wantsCommit = true }
        partitions[round.partition] = partition
        if drafts.isEmpty {
            guard covered > round.offsets.lowerBound || low > round.offsets.lowerBound else {
                let detail = "\(round.partition) at \(round.offsets.lowerBound)"
                return failRound(BrokerError(.retriable, code: "fetch_without_progress", detail: detail), now)
            }
            return endRound()
        }
        self.round?.phase = .submitting
        guard let deadLetterTopic else { preconditionFailure("max_deliveries without a dead-letter topic") }
        effects.append(.submit(round: number, deadLetterTopic, drafts))
    }

    mutating func deadLettersSubmitted(round number: UInt64, _ outcome: DeadLetterOutcome, now: MonotonicInstant) {
        guard let round, round.number == number, case .submitting = round.phase else { return }
        if partitions[round.partition]?.version == round.version {
            partitions[round.partition]?.bury(outcome.submitted)
            if !outcome.tooLarge.isEmpty {
                let until = now + settings.deadLetterRetryMax
                partitions[round.partition]?.postpone(outcome.tooLarge, until: until)
                hasDelays = true
            }
        }
        if !outcome.submitted.isEmpty { effects.append(.note(.deadLettered(records: outcome.submitted.count))) }
        if !outcome.tooLarge.isEmpty {
            effects.append(.note(.deadLetterTooLarge(round.partition, outcome.tooLarge.sorted())))
        }
        if let error = outcome.error { return failRound(error, now) }
        deadLetterBackoff.reset()
        deadLetterError =
            outcome.tooLarge.isEmpty
            ? nil
            : BrokerError(
                .recordFatal, code: "dead_letter_too_large",
                detail: "\(outcome.tooLarge.count) records of \(round.partition)")
        endRound()
    }

    private mutating func failRound(_ error: BrokerError, _ now: MonotonicInstant) {
        effects.append(.note(.deadLetterFailed(error)))
        deadLetterError = error
        deadLetterRetryAt = now + deadLetterBackoff.nextDelay(using: &jitter)
        endRound()
    }

    private mutating func endRound() {
        guard let ended = round else { return }
        if let partition = partitions[ended.partition], partition.version == ended.version,
            partition.claim == .deadLetters
        {
            partitions[ended.partition]?.claim = nil
        }
        round = nil
        reconsiderDead()
        effects.append(.releaseSlot(ended.slot))
    }

    /// Under another `max_deliveries`, records may be dead, or not any more.
    mutating func reconsiderDead() {
        for (tp, partition) in partitions where !partition.entries.isEmpty {
            let isConcerned = round?.partition == tp && round?.version == partition.version
            partitions[tp]?.reconsider(deliveriesMax: deliveriesMax, except: isConcerned ? round?.offsets : nil)
        }
    }
}
