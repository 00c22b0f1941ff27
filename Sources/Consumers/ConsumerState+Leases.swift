import Primitives
import Records

/// What the runner found when it asked for the client and for memory.
enum OfferVerdict: Sendable {
    case granted
    case noMemory
    case clientGone
}

/// From gathered records to an answer.
extension ConsumerState {
    /// - Parameter serial: never used before in this epoch.
    mutating func offered(
        _ id: PollID, _ verdict: OfferVerdict, bytes: Int, serial: UInt64, now: MonotonicInstant, wallMs: Int64
    ) {
        guard let index = index(of: id), case .offering(let gather) = polls[index].phase else { return }
        let doom = polls[index].doom ?? (verdict == .clientGone ? .clientLeft : nil)
        if let doom {
            dismiss(id, .failure(doom))
        } else if verdict == .noMemory {
            giveUp(id, gather)
            // It may have come meanwhile.
            if polls[index].reservedBytes == 0 { polls[index].phase = .starved }
        } else {
            polls[index].reservedBytes += bytes
            let answer =
                gather.repeated == nil
                ? lease(gather, polls[index], serial, now, wallMs) : again(gather)
            // Revoked, expired or acknowledged while the runner was asking.
            guard let answer else { return giveUp(id, gather) }
            dismiss(id, .success(answer))
        }
    }

    private mutating func lease(
        _ gather: Gather, _ poll: PollState, _ serial: UInt64, _ now: MonotonicInstant, _ wallMs: Int64
    ) -> PollAnswer? {
        let deadlineMs = wallMs + ackDeadline.wholeMilliseconds
        let token = AnswerToken(epoch: epoch, serial: serial)
        var answer = PollAnswer(ack: token.description)
        var leased: [TopicPartition: OffsetRuns] = [:]
        var again = 0
        let deadline = now + ackDeadline
        for part in gather.parts {
            guard var partition = partitions[part.partition], partition.version == part.version, !part.records.isEmpty
            else { continue }
            var (runs, isCut) = (OffsetRuns(), false)
            for record in part.records {
                guard
                    let attempt = partition.lease(
                        record, answer: serial, until: deadline, inOrder: mode == .ordered)
                else {
                    isCut = true
                    continue
                }
                if attempt > 1 { again += 1 }
                runs.append(record.offset)
                answer.records.append(delivered(record, token, attempt, deadlineMs))
            }
            // In order, what follows one that was not leased was not leased either.
            if let position = part.position, !isCut || mode == .shared { partition.advance(to: position) }
            if !runs.isEmpty {
                leased[part.partition] = runs
                if let skipped = partition.skipped {
                    answer.skipped.append(SkippedRange(partition: part.partition, offsets: skipped))
                    partition.skipped = nil
                }
            }
            partitions[part.partition] = partition
        }
        guard !answer.records.isEmpty else { return nil }
        answers[serial] = OpenAnswer(
            serial: serial, client: poll.client, firstDeadline: deadline, firstDeadlineWallMs: deadlineMs,
            deadline: deadline, partitions: leased, skipped: answer.skipped)
        if let client = poll.client { answerOfClient[client] = serial }
        effects.append(.note(.delivered(records: answer.records.count, again: again)))
        return answer
    }

    /// The client lost its answer: the same once more, without what was acknowledged since.
    private func again(_ gather: Gather) -> PollAnswer? {
        guard let serial = gather.repeated, let open = answers[serial] else { return nil }
        let token = AnswerToken(epoch: epoch, serial: serial)
        var answer = PollAnswer(ack: token.description, skipped: open.skipped)
        for part in gather.parts.sorted(by: { $0.partition < $1.partition }) {
            guard let partition = partitions[part.partition], partition.version == part.version else { continue }
            for record in part.records {
                guard let index = partition.index(of: record.offset) else { continue }
                let entry = partition.entries[index]
                guard entry.answer == serial, entry.status == .open else { continue }
                answer.records.append(delivered(record, token, entry.attempts, open.wallMs(of: entry.until)))
            }
        }
        return answer.records.isEmpty ? nil : answer
    }

    private func delivered(
        _ record: StoredRecord, _ token: AnswerToken, _ attempt: UInt32, _ deadlineMs: Int64
    ) -> DeliveredRecord {
        let id = DeliveryID(
            answer: token, topicIndex: topics.firstIndex(of: record.partition.topic) ?? 0,
            partition: record.partition.partition, offset: record.offset, attempt: attempt)
        return DeliveredRecord(record: record, id: id.description, attempt: Int(attempt), deadlineMs: deadlineMs)
    }

    /// Forgets an answer of which nothing is leased any more.
    ///
    /// - Parameter remember: its last records were acknowledged, so saying so again is no lost lease.
    mutating func closeIfDone(_ serial: UInt64, remember: Bool) {
        guard let answer = answers[serial],
            !answer.partitions.keys.contains(where: { partitions[$0]?.leases(of: serial).any ?? false })
        else { return }
        forget(answer)
        guard remember, answer.isWhole else { return }
        finished.append(
            FinishedAnswer(
                serial: serial, partitions: Set(answer.partitions.keys), isComplete: answer.isComplete))
        if finished.count > settings.finishedAnswersMax { finished.removeFirst() }
    }
}
