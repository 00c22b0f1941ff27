import Broker
import Primitives
import Records

/// At-least-once hand-over of one lane: an idempotent producer, and the checkpoint once every record is acknowledged.
///
/// What a failed hand-over left at the broker is there a second time after the next one. Nothing fences an older sink:
/// a twin is noticed on opening, by its checkpoint.
// SAFETY: `isSpent` is touched by the lane's thread only; the rest is immutable or has its own lock.
final class IdempotentSink: RecordSink, @unchecked Sendable {
    private let producer: SinkProducer
    private var isSpent = false

    /// - Parameter producer: closed with the sink.
    init(_ producer: SinkProducer) { self.producer = producer }

    func deliver(
        _ batch: [OutgoingRecord], checkpoint: SinkCheckpoint,
        prepared: (_ deliveries: [Delivery]) throws(BrokerError) -> Void
    ) throws(BrokerError) -> [Delivery] {
        if isSpent { throw .sinkSpent }
        isSpent = true
        let places = try producer.places(for: batch)
        // As long as a transaction may take: the producer itself would try for ever.
        let patience = producer.patience(producer.settings.transactionTimeout)
        producer.begin(slots: batch.count)
        for slot in batch.indices {
            try producer.send(batch[slot], to: places[slot], slot: slot, patience)
        }
        try producer.flush(patience)
        let deliveries = producer.deliveries(of: batch, places)
        try prepared(deliveries)
        producer.begin(slots: 1, checkpointSlot: 0)
        try producer.send(checkpoint, slot: 0, patience)
        try producer.flush(patience)
        isSpent = false
        return deliveries
    }

    func interrupt() { producer.interruption.interrupt() }

    func close() { producer.close() }
}
