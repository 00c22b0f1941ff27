import Broker
import Primitives
import Records
import Store

/// What one round of retention has still to look at.
struct RetentionSweep {
    var partitions: [TopicPartition] = []
    /// Asked for while a round was running.
    var again = false
}

extension Writer {
    /// One slice of retention: removes records of deleted topics first, then what is too old or too much, from the low
    /// end of each partition. Bounded by `retentionSliceRecords` and `retentionSlicePartitions`.
    ///
    /// As in Kafka, age is that of the record's own timestamp, and a record goes only after all before it: one from the
    /// future keeps those behind it until the partition's size or its own time takes it.
    ///
    /// - Parameter starting: begins a round unless one is running; false goes on with it.
    /// - Returns: true when there is more to do.
    func retain(starting: Bool) throws(StoreError) -> Bool {
        if starting {
            if !sweep.partitions.isEmpty {
                sweep.again = true
                return false
            }
            sweep.partitions = ledger.topics.values.flatMap(\.topicPartitions)
        }
        var budget = settings.retentionSliceRecords
        while budget > 0, let number = ledger.doomed.last {
            let removed = try removeDoomed(number, limit: budget)
            if removed < budget { ledger.doomed.removeLast() }
            budget -= max(removed, 1)
        }
        var looks = settings.retentionSlicePartitions
        while budget > 0, looks > 0, let partition = sweep.partitions.last {
            let removed = try expire(partition, limit: budget)
            if removed < budget { sweep.partitions.removeLast() }
            budget -= removed
            looks -= 1
        }
        if sweep.partitions.isEmpty, sweep.again {
            sweep.again = false
            sweep.partitions = ledger.topics.values.flatMap(\.topicPartitions)
        }
        return !ledger.doomed.isEmpty || !sweep.partitions.isEmpty
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
        guard partition.low < partition.next else { return 0 }
        let ageMax = topic.settings.retentionMs ?? settings.retentionMs
        let bytesMax = topic.settings.retentionBytes ?? settings.retentionBytes
        let oldest = ageMax.map { clock.wallMilliseconds() - $0 }
        guard oldest != nil || bytesMax != nil else { return 0 }

        let (from, end) = (partition.key(partition.low), partition.key(partition.next))
        var removed = 0
        var stopped = false
        try statements.expiring.forEach(.integer(from), .integer(end), .integer(Int64(limit))) {
            row throws(StoreError) in
            let expired = oldest.map { row.integer(1) < $0 } ?? false
            let excess = bytesMax.map { partition.bytes > $0 } ?? false
            guard expired || excess else {
                stopped = true
                return .stop
            }
            partition.bytes -= row.integer(2)
            partition.low = RecordKey.offset(of: row.integer(0)) + 1
            removed += 1
            return .next
        }
        // Nothing is left: skip a gap at the end too.
        if !stopped, removed < limit { partition.low = partition.next }
        guard partition != topic.partitions[Int(name.partition)] else { return 0 }
        let low = partition.key(partition.low)
        try Statement(connection, "DELETE FROM records WHERE id >= ? AND id < ?").run(.integer(from), .integer(low))
        try Statement(connection, "DELETE FROM times WHERE id >= ? AND id < ?").run(
            .integer(partition.key(0)), .integer(low))
        try save(partition)
        ledger.topics[name.topic]?.partitions[Int(name.partition)] = partition
        pending.touched.insert(name.topic)
        metrics.expired(records: removed)
        return removed
    }
}
