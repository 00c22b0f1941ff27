import Records

/// The places of the records of the hand-over in flight, from the moment when everything is flushed until the commit is
/// certain. A pure value.
///
/// This is the place where outcomes are kept before a commit. Here they are in memory, so they survive a commit whose
/// answer was lost, and not the process; once they are kept durably, that is done in `keep`, and what it throws ends
/// the hand-over uncommitted.
///
/// The sink that is opened next says by its checkpoint what became of the hand-over: at or past its last record, it was
/// committed and these are the outcomes; below it, it was not, and they are void.
struct PreparedOutcomes {
    /// In LSN order; empty when no hand-over is in doubt.
    private var deliveries: [Delivery] = []

    /// - Parameter deliveries: in LSN order; of a hand-over without records, none: what is in doubt stays.
    mutating func keep(_ deliveries: [Delivery]) {
        if !deliveries.isEmpty { self.deliveries = deliveries }
    }

    /// Those that count when everything up to the checkpoint is at the broker.
    func outcomes(recovered checkpoint: LSN) -> [Delivery] {
        guard let last = deliveries.last, last.lsn <= checkpoint else { return [] }
        return deliveries
    }

    /// The hand-over is decided.
    mutating func drop() { deliveries = [] }
}
