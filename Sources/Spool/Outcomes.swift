public import Records

/// What became of a record, as its receipt tells.
public enum Outcome: Hashable, Sendable {
    /// In the spool, not yet at the broker.
    case accepted
    case delivered(Delivery)
    /// Settled, and no longer remembered how.
    case expired
    /// This spool never gave out the receipt.
    case unknown
}

/// The last delivered records by LSN: a ring, so that memory is bounded. A value behind the spool's lock.
struct RecentOutcomes {
    private let capacity: Int
    private var ring: [Delivery] = []
    private var next = 0
    private var places: [LSN: Int] = [:]

    init(capacity: Int) { self.capacity = capacity }

    subscript(lsn: LSN) -> Delivery? { places[lsn].map { ring[$0] } }

    mutating func add(_ delivery: Delivery) {
        guard capacity > 0, places[delivery.lsn] == nil else { return }
        if ring.count < capacity {
            ring.append(delivery)
        } else {
            places[ring[next].lsn] = nil
            ring[next] = delivery
        }
        places[delivery.lsn] = next
        next = (next + 1) % capacity
    }
}
