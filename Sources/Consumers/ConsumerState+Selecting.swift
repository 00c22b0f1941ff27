import Broker
import Primitives
import Records

/// Leases of one answer in one partition that a call names.
struct Selection: Sendable {
    struct Part: Hashable, Sendable {
        var partition: TopicPartition
        var serial: UInt64
    }

    var part: Part
    var offsets: ClosedRange<Int64>
}

/// What a call's items mean now.
struct Selected: Sendable {
    /// For each item.
    var outcomes: [LeaseOutcome] = []
    var selections: [Selection] = []
    /// Partitions of items that were acknowledged before.
    var finished: Set<TopicPartition> = []

    /// Makes one selection of those that overlap or follow one another, so that no lease is looked at twice: a client
    /// may name the same ten thousand times.
    mutating func merge() {
        guard selections.count > 1 else { return }
        var parts: [Selection.Part] = []
        var ranges: [Selection.Part: [ClosedRange<Int64>]] = [:]
        for selection in selections {
            if ranges[selection.part] == nil { parts.append(selection.part) }
            ranges[selection.part, default: []].append(selection.offsets)
        }
        selections = parts.flatMap { part in
            let sorted = (ranges[part] ?? []).sorted { $0.lowerBound < $1.lowerBound }
            return sorted.reduce(into: [ClosedRange<Int64>]()) { merged, range in
                guard let last = merged.last, range.lowerBound - 1 <= last.upperBound else {
                    return merged.append(range)
                }
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            }.map { Selection(part: part, offsets: $0) }
        }
    }

    var touched: Set<TopicPartition> { selections.reduce(into: finished) { $0.insert($1.part.partition) } }
}

/// From what a client names to leases. All items are read before any is applied, so that naming one twice does no harm.
extension ConsumerState {
    /// - Parameter answer: for offsets: `PendingCall.answer`.
    func select(_ selector: ParsedSelector, by action: LeaseAction, answer: UInt64?) -> Selected {
        var selected = Selected()
        switch selector {
        case .answer(let token): select(token, action, &selected)
        case .deliveries(let ids): for id in ids { select(id, through: false, action, &selected) }
        case .through(let ids): for id in ids { select(id, through: true, action, &selected) }
        case .offsets(let places, _):
            for place in places {
                guard let serial = answer, holds(serial, place.partition, place.offset, attempt: nil, action) else {
                    selected.outcomes.append(.leaseLost)
                    continue
                }
                let part = Selection.Part(partition: place.partition, serial: serial)
                selected.selections.append(Selection(part: part, offsets: 0...place.offset))
                selected.outcomes.append(action.done)
            }
        }
        selected.merge()
        return selected
    }

    private func select(_ token: AnswerToken, _ action: LeaseAction, _ selected: inout Selected) {
        if token.epoch == epoch, let answer = answers[token.serial] {
            for (tp, offsets) in answer.partitions where !offsets.isEmpty {
                let part = Selection.Part(partition: tp, serial: answer.serial)
                selected.selections.append(Selection(part: part, offsets: 0...Int64.max))
            }
            let isThere = action.isAcknowledgement || selected.selections.contains { hasOpen($0.part) }
            selected.outcomes.append(answer.isWhole && isThere ? action.done : .leaseLost)
        } else if action.isAcknowledgement, let answer = finished(token) {
            selected.finished.formUnion(answer.partitions)
            selected.outcomes.append(action.done)
        } else {
            selected.outcomes.append(.leaseLost)
        }
    }

    private func hasOpen(_ part: Selection.Part) -> Bool { partitions[part.partition]?.hasOpen(part.serial) ?? false }

    private func select(_ id: DeliveryID, through: Bool, _ action: LeaseAction, _ selected: inout Selected) {
        guard id.answer.epoch == epoch, topics.indices.contains(id.topicIndex) else {
            return selected.outcomes.append(.leaseLost)
        }
        let tp = TopicPartition(topic: topics[id.topicIndex], partition: id.partition)
        if action.isAcknowledgement, let answer = finished(id.answer), answer.isComplete,
            answer.partitions.contains(tp)
        {
            selected.finished.insert(tp)
            selected.outcomes.append(action.done)
        } else if holds(id.answer.serial, tp, id.offset, attempt: id.attempt, action) {
            let part = Selection.Part(partition: tp, serial: id.answer.serial)
            selected.selections.append(Selection(part: part, offsets: (through ? 0 : id.offset)...id.offset))
            selected.outcomes.append(action.done)
        } else {
            selected.outcomes.append(.leaseLost)
        }
    }

    private func finished(_ token: AnswerToken) -> FinishedAnswer? {
        token.epoch == epoch ? finished.first { $0.serial == token.serial } : nil
    }

    /// Whether the answer handed out this record and did not lose it: it is leased, or (for an acknowledgement) was
    /// acknowledged by an earlier one of the same delivery. Other answers' records lie between this one's in shared
    /// mode, and one that was given back may be done by now through somebody else: so the answer's own offsets decide,
    /// not the lack of an entry.
    private func holds(
        _ serial: UInt64, _ tp: TopicPartition, _ offset: Int64, attempt: UInt32?, _ action: LeaseAction
    ) -> Bool {
        guard let offsets = answers[serial]?.partitions[tp], offsets.contains(offset), let partition = partitions[tp]
        else { return false }
        guard let index = partition.index(of: offset) else { return action.isAcknowledgement }
        let entry = partition.entries[index]
        guard entry.answer == serial, attempt.map({ entry.attempts == $0 }) ?? true else { return false }
        switch entry.status {
        case .open: return true
        case .committing: return action.isAcknowledgement
        case .returned, .dead: return false
        }
    }
}
