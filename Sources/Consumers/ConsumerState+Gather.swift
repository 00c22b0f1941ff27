import Broker
import Primitives
import Records

/// A poll's way through its partitions: claim, fetch, offer, lease.
extension ConsumerState {
    /// A poll that has this share of its bytes, or of its answer's, is answered; looking for more would mostly fetch
    /// what does not fit.
    static let enoughBytesShare = 0.75

    /// Something of it is open, and none of it waits for the next try.
    func isRepeatable(_ serial: UInt64, _ now: MonotonicInstant) -> Bool {
        guard let answer = answers[serial] else { return false }
        let open = answer.partitions.keys.compactMap { partitions[$0] }.filter { $0.hasOpen(serial) }
        return !open.isEmpty && open.allSatisfy { $0.isDue(now) }
    }

    /// The poll may hold records now.
    mutating func slotGranted(_ slot: SlotID, now: MonotonicInstant) {
        if slot.poll == .deadLetters { return deadLetterSlotGranted() }
        guard let index = index(of: slot.poll), case .queued(let gather) = polls[index].phase, gather.slot == slot
        else {
            effects.append(.releaseSlot(slot))
            return
        }
        fetchNext(slot.poll, gather, now)
    }

    private mutating func fetchNext(_ id: PollID, _ start: Gather, _ now: MonotonicInstant) {
        guard let index = index(of: id) else { return }
        var gather = start
        let next =
            gather.repeated == nil ? nextFetch(&gather, polls[index], now) : nextRepeat(&gather, polls[index])
        guard let (ticket, request) = next else { return finish(id, gather) }
        gather.ticket = ticket
        gather.fetches += 1
        polls[index].phase = .gathering(gather)
        effects.append(.fetch(ticket, request))
    }

    private mutating func finish(_ id: PollID, _ gather: Gather) {
        guard gather.count > 0, let index = index(of: id) else { return giveUp(id, gather) }
        polls[index].phase = .offering(gather)
        let wanted = overheadBytes(gather, polls[index]) + gather.answerBytes
        let reserved = polls[index].reservedBytes
        if wanted <= reserved {
            effects.append(.offer(id, bytes: 0))
        } else {
            if reserved > 0 { effects.append(.giveBack(id, bytes: reserved)) }
            polls[index].reservedBytes = 0
            effects.append(.offer(id, bytes: wanted))
        }
    }

    /// What the answer costs besides its records.
    private func overheadBytes(_ gather: Gather, _ poll: PollState) -> Int {
        let skipped: [TopicPartition]
        if let serial = gather.repeated {
            skipped = answers[serial]?.skipped.map(\.partition) ?? []
        } else {
            skipped = gather.parts.map(\.partition).filter { partitions[$0]?.skipped != nil }
        }
        return skipped.reduce(poll.memory.emptyBytes) { $0 + poll.memory.skippedBytes($1) }
    }

    /// Back into the line, at the old place.
    mutating func giveUp(_ id: PollID, _ gather: Gather) {
        guard let index = index(of: id) else { return }
        release(gather, of: id)
        effects.append(.releaseSlot(gather.slot))
        polls[index].phase = .waiting
        if let serial = gather.repeated { closeIfDone(serial, remember: false) }
    }

    private mutating func ticket(
        _ slot: SlotID, _ part: GatheredPart, _ offset: Int64, isFresh: Bool
    ) -> FetchTicket {
        fetches += 1
        return FetchTicket(
            slot: slot, number: fetches, partition: part.partition, version: part.version, offset: offset,
            isFresh: isFresh)
    }

    /// In the claimed partition first what was handed out before, then what is new; then the next partition.
    private mutating func nextFetch(
        _ gather: inout Gather, _ poll: PollState, _ now: MonotonicInstant
    ) -> (FetchTicket, FetchRequest)? {
        while gather.fetches < settings.fetchesPerPollMax {
            guard let part = gather.parts.last else { return nil }
            // No record costs less in the answer than its bytes.
            let bytesLeft = max(1, min(poll.maxBytes - gather.bytes, poll.answerBytesMax - gather.answerBytes))
            let recordsLeft = poll.max - gather.count
            guard recordsLeft > 0, gather.count == 0 || !hasEnough(gather, poll) else { return nil }
            if let partition = partitions[part.partition], partition.version == part.version,
                partition.claim == poll.id, partition.isDue(now)
            {
                let isOrdered = mode == .ordered
                if let offsets = partition.nextInLine(
                    from: part.cursor, now: now, wanted: recordsLeft, inOrder: isOrdered)
                {
                    // Other clients' records may lie between these.
                    let recordsMax = isOrdered ? recordsLeft : min(offsets.count, settings.pollRecordsMax)
                    return (
                        ticket(gather.slot, part, offsets.lowerBound, isFresh: false),
                        FetchRequest(
                            partition: part.partition, offset: offsets.lowerBound, endOffset: offsets.upperBound,
                            recordsMax: recordsMax, bytesMax: bytesLeft)
                    )
                }
                let room = min(recordsLeft, maxInFlight - unacknowledgedCount - reservedRoom)
                // In order, nothing new before what is not in line yet.
                let mayTakeNew = !isOrdered || !partition.hasEntries(from: part.cursor)
                if partition.ready, room > 0, mayTakeNew, hasWindow(part.partition, at: part.position) {
                    gather.asked = room
                    gather.room += room
                    reservedRoom += room
                    partitions[part.partition]?.ready = false
                    let offset = part.position ?? partition.position
                    return (
                        ticket(gather.slot, part, offset, isFresh: true),
                        FetchRequest(
                            partition: part.partition, offset: offset, recordsMax: room, bytesMax: bytesLeft)
                    )
                }
            }
            guard let next = nextCandidate(now) else { return nil }
            if part.records.isEmpty {
                unclaim(part, poll.id)
                gather.parts.removeLast()
            }
            gather.parts.append(claim(next, for: poll.id))
        }
        return nil
    }

    private func hasEnough(_ gather: Gather, _ poll: PollState) -> Bool {
        func isEnough(_ bytes: Int, of most: Int) -> Bool { bytes >= Int(Double(most) * Self.enoughBytesShare) }
        return isEnough(gather.bytes, of: poll.maxBytes) || isEnough(gather.answerBytes, of: poll.answerBytesMax)
    }

    /// What of the answer is still open, whatever this poll's own limits are: the token stands for all of it.
    private mutating func nextRepeat(
        _ gather: inout Gather, _ poll: PollState
    ) -> (FetchTicket, FetchRequest)? {
        guard let serial = gather.repeated, let answer = answers[serial] else { return nil }
        for tp in answer.partitions.keys.sorted() {
            guard let partition = partitions[tp] else { continue }
            let known = gather.parts.lastIndex { $0.partition == tp }
            let cursor = known.map { gather.parts[$0].cursor } ?? 0
            let open = partition.entries.filter {
                $0.answer == serial && $0.status == .open && $0.offset >= cursor
            }
            guard let first = open.first, let last = open.last else { continue }
            if let known {
                gather.parts.append(gather.parts.remove(at: known))
            } else {
                gather.parts.append(GatheredPart(partition: tp, version: partition.version))
            }
            return (
                ticket(gather.slot, gather.parts[gather.parts.count - 1], first.offset, isFresh: false),
                FetchRequest(
                    partition: tp, offset: first.offset, endOffset: last.offset + 1,
                    recordsMax: Int(min(last.offset - first.offset, Int64(settings.pollRecordsMax))) + 1,
                    bytesMax: settings.pollBytesMax)
            )
        }
        return nil
    }

    // MARK: What a fetch brought

    /// - Parameter costs: `AnswerMemory.recordBytes` of each record; the poll's own, so empty when that has ended.
    mutating func fetched(
        _ ticket: FetchTicket, _ result: Result<FetchResult, BrokerError>, costs: [Int], now: MonotonicInstant
    ) {
        guard let index = index(of: ticket.poll), case .gathering(var gather) = polls[index].phase,
            gather.ticket == ticket, var part = gather.parts.popLast()
        else {
            // Its poll is gone and has freed all but the slot.
            effects.append(.releaseSlot(ticket.slot))
            return
        }
        gather.ticket = nil
        guard var partition = partitions[ticket.partition], partition.version == ticket.version else {
            // Revoked or moved under the poll: what was gathered elsewhere is still good.
            gather.count -= part.records.count
            gather.bytes -= part.bytes
            gather.answerBytes -= part.answerBytes
            if gather.repeated == nil { finish(ticket.poll, gather) } else { giveUp(ticket.poll, gather) }
            return
        }
        var isStuck = false
        switch result {
        case .failure(let error):
            effects.append(.note(.fetchFailed(ticket.partition, error)))
            partition.lastError = error
            partition.retryAt = now + partition.backoff.nextDelay(using: &jitter)
            partition.ready = true
            giveRoomBack(&gather, used: 0)
            isStuck = true
        case .success(let fetch):
            partition.lastError = nil
            partition.retryAt = nil
            partition.backoff.reset()
            partition.end = fetch.highWatermark
            isStuck = !accept(fetch, costs, ticket, polls[index], now, &gather, &part, &partition)
            // The source has nothing there yet, although something was; it is not asked in a loop.
            if isStuck { partition.retryAt = now + partition.backoff.nextDelay(using: &jitter) }
        }
        partitions[ticket.partition] = partition
        gather.parts.append(part)
        // Unchanged means whole: better later than without some of it.
        if isStuck, gather.repeated != nil { giveUp(ticket.poll, gather) } else { fetchNext(ticket.poll, gather, now) }
    }

    private mutating func giveRoomBack(_ gather: inout Gather, used: Int) {
        let unused = gather.asked - used
        gather.asked = 0
        gather.room -= unused
        reservedRoom -= unused
    }

    /// - Returns: false when there was no progress among records that were handed out before.
    private mutating func accept(
        _ fetch: FetchResult, _ costs: [Int], _ ticket: FetchTicket, _ poll: PollState, _ now: MonotonicInstant,
        _ gather: inout Gather, _ part: inout GatheredPart, _ partition: inout PartitionState
    ) -> Bool {
        precondition(costs.count == fetch.records.count)
        let isRepeat = gather.repeated != nil
        var covered = max(fetch.nextOffset, ticket.offset)
        var isFull = false
        let (firstNew, deadBefore) = (part.records.count, partition.dead)
        if fetch.lowWatermark > ticket.offset, !isRepeat, !part.records.isEmpty {
            // Retention came between two fetches: the gap belongs to the next answer, not into the middle of this one.
            covered = ticket.offset
            isFull = true
        } else {
            if fetch.lowWatermark > ticket.offset {
                partition.raiseLowWatermark(to: fetch.lowWatermark, from: ticket.offset)
                effects.append(.note(.skipped(ticket.partition, ticket.offset..<fetch.lowWatermark)))
            }
            var overhead = overheadBytes(gather, poll)
            if partition.skipped != nil { overhead += poll.memory.skippedBytes(ticket.partition) }
            for (record, cost) in zip(fetch.records, costs)
            where isWanted(record.offset, ticket, gather.repeated, part, partition, now) {
                let isUsedUp =
                    ticket.isFresh && deliveriesMax < .max
                    && partition.attempts(before: record.offset) >= deliveriesMax
                if isUsedUp, part.records.isEmpty {
                    partition.addDead(record)
                    continue
                }
                // Entries are made in order: what is gathered before a dead one is leased first. And in order, nothing
                // goes past a dead one that is not synced.
                let isBarred = isUsedUp || ticket.isFresh && mode == .ordered && partition.dead > deadBefore
                let size = record.record.bytes
                let isOver =
                    !isRepeat && gather.count > 0
                    && (gather.bytes + size > poll.maxBytes
                        || overhead + gather.answerBytes + cost > poll.answerBytesMax)
                let isOutside =
                    ticket.isFresh
                    && !partition.admits(
                        record.offset, gathered: part.records.count, firstGathered: part.records.first?.offset)
                if isOutside { noteWindow(&partition, isFull: true) }
                if isOver || isOutside || isBarred || !isRepeat && gather.count >= poll.max {
                    covered = record.offset
                    isFull = true
                    break
                }
                part.records.append(record)
                part.bytes += size
                part.answerBytes += cost
                gather.count += 1
                gather.bytes += size
                gather.answerBytes += cost
            }
        }
        // Enough for this poll; the rest waits for the next.
        if isFull { gather.fetches = settings.fetchesPerPollMax }
        if ticket.isFresh {
            giveRoomBack(&gather, used: part.records.count - firstNew)
            part.position = covered
            if part.records.isEmpty { partition.advance(to: covered) }
            let isAtEnd = covered >= fetch.highWatermark
            if isFull || !isAtEnd && covered > ticket.offset { partition.ready = true }
            partition.wantsEndCommitted =
                isAtEnd && part.records.isEmpty && partition.entries.isEmpty && partition.beyond.isEmpty
                && partition.skipped == nil && partition.position > partition.committed
            return true
        }
        let repeated = gather.repeated
        partition.dropVanished(in: ticket.offset..<covered, found: fetch.records[...]) { entry in
            repeated.map { entry.answer == $0 && entry.status == .open } ?? (entry.status == .returned)
        }
        part.cursor = covered > ticket.offset ? covered : Int64.max
        return isFull || covered > ticket.offset
    }

    private func isWanted(
        _ offset: Int64, _ ticket: FetchTicket, _ repeated: UInt64?, _ part: GatheredPart, _ partition: PartitionState,
        _ now: MonotonicInstant
    ) -> Bool {
        guard offset >= ticket.offset, offset > part.records.last?.offset ?? -1 else { return false }
        if ticket.isFresh { return offset >= partition.position && !partition.isAcknowledgedBeyond(offset) }
        guard let index = partition.index(of: offset) else { return false }
        let entry = partition.entries[index]
        if let repeated { return entry.answer == repeated && entry.status == .open }
        return entry.status == .returned && entry.until <= now
    }

    // MARK: The window of what a commit can tell

    /// Whether the record at `offset`, or at the partition's position, may be handed out: see `PartitionState.admits`.
    private mutating func hasWindow(_ tp: TopicPartition, at offset: Int64?) -> Bool {
        guard var partition = partitions[tp] else { return false }
        let admits = partition.admits(offset ?? partition.position, gathered: 0, firstGathered: nil)
        if partition.isWindowFull == admits {
            noteWindow(&partition, isFull: !admits)
            partitions[tp] = partition
        }
        return admits
    }

    private mutating func noteWindow(_ partition: inout PartitionState, isFull: Bool) {
        if isFull, !partition.isWindowFull { effects.append(.note(.windowFull)) }
        partition.isWindowFull = isFull
    }
}
