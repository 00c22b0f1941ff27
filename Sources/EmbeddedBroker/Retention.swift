import Broker
import Primitives
import Records
import Store

/// What one round of retention has still to look at. A round is every partition once; it takes one turn, and one more
/// for each partition that fails.
struct RetentionSweep {
    var partitions: [TopicPartition] = []
    /// Numbers of doomed partitions that failed in this round: they wait for the next.
    var failedDoomed: Set<Int64> = []
}

extension Writer {
    /// One slice of retention: removes records of deleted topics first, then what was purged, is too old or too much,
    /// from the low end of each partition. Bounded by `retentionSliceRecords` and `retentionSlicePartitions`.
    ///
    /// As in Kafka, age is that of the record's own timestamp, and a record goes only after all before it: one from the
    /// future keeps those behind it until the partition's size or its own time takes it.
    ///
    /// - Parameter startingRound: begins a round when the last one is through; else it goes on, as with false.
    /// - Returns: true when there is more to do.
    /// - Throws: after which everything this slice did is undone. The partition that failed is left out for the rest of
    ///   the round, so that a damaged page does not keep the other partitions for ever.
    func retain(startingRound: Bool) throws(StoreError) -> Bool {
        if startingRound, sweep.partitions.isEmpty {
            sweep = RetentionSweep(partitions: ledger.topics.values.flatMap(\.topicPartitions))
        }
        var budget = settings.retentionSliceRecords
        while budget > 0, let index = ledger.doomed.lastIndex(where: { !sweep.failedDoomed.contains($0) }) {
            let number = ledger.doomed[index]
            let removed: Int
            do throws(StoreError) {
                removed = try removeDoomed(number, limit: budget)
            } catch {
                sweep.failedDoomed.insert(number)
                throw error.during("retention of a deleted topic's partition, number \(number)")
            }
            if removed < budget { ledger.doomed.remove(at: index) }
            budget -= max(removed, 1)
        }
        var looks = settings.retentionSlicePartitions
        var done: [TopicPartition] = []
        while budget > 0, looks > 0, let partition = sweep.partitions.last {
            let removed: Int
            do throws(StoreError) {
                removed = try expire(partition, limit: budget)
            } catch {
                sweep.partitions.removeLast()
                // Undone with this slice.
                sweep.partitions += done
                throw error.during("retention of \(partition)")
            }
            if removed < budget { done.append(sweep.partitions.removeLast()) }
            budget -= removed
            looks -= 1
        }
        return ledger.doomed.contains { !sweep.failedDoomed.contains($0) } || !sweep.partitions.isEmpty
    }

    private func removeDoomed(_ number: Int64, limit: Int) throws(StoreError) -> Int {
        let range: (Int64, Int64) = (
            RecordKey.key(partition: number, offset: 0),
            RecordKey.key(partition: number, offset: RecordKey.offsetEnd - 1)
        )
        try Statement(
            connection,
            "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)"
        ).run(.integer(range.0), .integer(range.1), .integer(Int64(limit)))
        let removed = connection.changes
        if removed < limit {
            try Statement(connection, "DELETE FROM times WHERE id BETWEEN ? AND ?").run(
                .integer(range.0), .integer(range.1))
            try Statement(connection, "DELETE FROM partitions WHERE number = ?").run(.integer(number))
        }
        return removed
    }

    private func expire(_ name: TopicPartition, limit: Int) throws(StoreError) -> Int {
        guard let topic = ledger.topics[name.topic] else { return 0 }
        var partition = topic.partitions[Int(name.partition)]
        guard partition.first < partition.next else { return 0 }
        let limits = topic.effective(settings)
        let oldest = limits.retentionMs.flatMap {
            $0 == TopicSettings.unlimited ? nil : retentionClock.wallMilliseconds(clock) - $0
        }
        let bytesMax = limits.retentionBytes.flatMap { $0 == TopicSettings.unlimited ? nil : $0 }
        guard oldest != nil || bytesMax != nil || partition.first < partition.low else { return 0 }

        let (from, end) = (partition.key(partition.first), partition.key(partition.next))
        var removed = 0
        var stopped = false
        try statements.expiring.forEach(.integer(from), .integer(end), .integer(Int64(limit))) {
            row throws(StoreError) in
            let offset = RecordKey.offset(of: row.integer(0))
            let purged = offset < partition.low
            let expired = oldest.map { row.integer(1) < $0 } ?? false
            let excess = bytesMax.map { partition.bytes > $0 } ?? false
            guard purged || expired || excess else {
                stopped = true
                return .stop
            }
            partition.bytes -= row.integer(2)
            partition.first = offset + 1
            removed += 1
            return .next
        }
        // Nothing is left, but for a gap: behind the last record, or before the one that stays.
        if removed < limit { partition.first = stopped ? max(partition.first, partition.low) : partition.next }
        partition.low = max(partition.low, partition.first)
        guard partition != topic.partitions[Int(name.partition)] else { return 0 }
        let first = partition.key(partition.first)
        try Statement(connection, "DELETE FROM records WHERE id >= ? AND id < ?").run(.integer(from), .integer(first))
        try Statement(connection, "DELETE FROM times WHERE id >= ? AND id < ?").run(
            .integer(partition.key(0)), .integer(first))
        try save(partition)
        ledger.topics[name.topic]?.partitions[Int(name.partition)] = partition
        pending.touched.insert(name.topic)
        pending.expiredRecords += removed
        return removed
    }
}

extension StoreError {
    /// The same, saying also what it was done for.
    fileprivate func during(_ what: String) -> StoreError {
        StoreError(kind, code: code, operation: "\(what): \(operation)", detail: detail)
    }
}
