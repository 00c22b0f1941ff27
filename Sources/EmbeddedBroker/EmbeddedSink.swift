import Broker
import Outcomes
import Primitives
import Records
import Store

/// The hand-over of one lane. Its thread waits in `deliver` until the writer thread has committed.
final class EmbeddedSink: RecordSink {
    private let key: SinkKey
    private let generation: Int64
    private let writes: JobQueue<Writer>
    private let closed = Lock(false)
    /// The first hand-over that is committed is the lane's claim: where that goes on is not always where the broker's
    /// checkpoint was.
    private let isClaimed = Lock(false)

    init(key: SinkKey, generation: Int64, writes: JobQueue<Writer>) {
        self.key = key
        self.generation = generation
        self.writes = writes
    }

    /// The outcomes are rows of the hand-over's own transaction: there is nothing to prepare.
    func deliver(
        _ batch: [OutgoingRecord], checkpoint: SinkCheckpoint,
        prepared: (_ deliveries: [Delivery]) throws(BrokerError) -> Void
    ) throws(BrokerError) -> [Delivery] {
        if closed.withLock({ $0 }) { throw .sinkClosed }
        let handOver = try HandOver(
            sink: key, generation: generation, batch: batch, checkpoint: checkpoint,
            isClaim: !isClaimed.withLock { $0 })
        let deliveries = try writes.wait { (writer) throws(JobFailure) in try writer.handOver(handOver) }
        isClaimed.withLock { $0 = true }
        return deliveries
    }

    func close() { closed.withLock { $0 = true } }
}

extension Writer {
    /// Takes the next generation, so that every older sink is fenced.
    func openSink(_ key: SinkKey) throws(StoreError) -> SinkState {
        var state = ledger.sinks[key] ?? SinkState(generation: 0, checkpoint: nil)
        state.generation += 1
        try statements.openSink.run(
            .blob(key.spool.bytes), .integer(Int64(key.lane)), .integer(state.generation))
        ledger.sinks[key] = state
        return state
    }
}
