import Broker
import Outcomes
import Primitives
import Records
import Store

extension Writer {
    /// Keeps where the records of a hand-over are, as a part of its transaction. To be called before the checkpoint
    /// moves.
    func keepOutcome(of handOver: HandOver, _ deliveries: [Delivery]) throws(StoreError) {
        let checkpoint = ledger.sinks[handOver.sink]?.checkpoint?.lsn ?? .zero
        if handOver.isClaim, handOver.batch.isEmpty, handOver.checkpoint.lsn != checkpoint {
            // Beyond it: this file is older than the spool. Before it: the checkpoint is of a process that the spool
            // never was, and what the spool held is assumed to be delivered, rows or not.
            try outcomes.missing(through: handOver.checkpoint.lsn, of: handOver.sink, &ledger.outcomes)
        }
        pending.outcomes += try outcomes.keep(
            deliveries, of: handOver.sink, atMs: retentionClock.wallMilliseconds(clock), settings.outcomes,
            &ledger.outcomes)
    }
}
