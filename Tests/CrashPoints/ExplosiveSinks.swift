import Broker
import Glibc
import Primitives
import Records

/// Where a gateway can be killed between its spool and its broker, in the order of the hand-over.
enum HandOverPoint: String, CaseIterable {
    /// A sink is about to be opened.
    case opening
    /// It is open: older ones are fenced, the checkpoint is read, nothing is claimed.
    case opened
    /// The lane's claim is at the broker, and the lane does not know it.
    case claimed
    /// A batch is about to be handed over.
    case handingOver = "handing-over"
    /// Everything is flushed, nothing committed. Only brokers that keep no outcomes have it.
    case prepared
    /// The batch is committed, and the spool does not know it.
    case handedOver = "handed-over"
}

/// Kills the process when its point is passed often enough.
final class Bomb: Sendable {
    private let point: HandOverPoint
    private let left: Lock<Int>

    init(at point: HandOverPoint, passage: Int) {
        self.point = point
        left = Lock(passage)
    }

    func pass(_ passed: HandOverPoint) {
        guard passed == point else { return }
        let isNow = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isNow { kill(getpid(), SIGKILL) }
    }
}

/// A broker's sinks, with a bomb.
final class ExplosiveSinks: RecordSinkFactory {
    private let base: any RecordSinkFactory
    private let bomb: Bomb

    init(_ base: any RecordSinkFactory, _ bomb: Bomb) {
        self.base = base
        self.bomb = bomb
    }

    var guarantee: Guarantee { base.guarantee }
    var memoryFactor: Int { base.memoryFactor }
    func interrupt() { base.interrupt() }

    func openSink(
        spool: SpoolID, lane: Int
    ) throws(BrokerError) -> (sink: any RecordSink, previous: SinkCheckpoint?) {
        bomb.pass(.opening)
        let (sink, previous) = try base.openSink(spool: spool, lane: lane)
        bomb.pass(.opened)
        return (ExplosiveSink(sink, bomb), previous)
    }
}

private final class ExplosiveSink: RecordSink {
    private let base: any RecordSink
    private let bomb: Bomb

    init(_ base: any RecordSink, _ bomb: Bomb) {
        self.base = base
        self.bomb = bomb
    }

    func deliver(
        _ batch: [OutgoingRecord], checkpoint: SinkCheckpoint,
        prepared: (_ deliveries: [Delivery]) throws(BrokerError) -> Void
    ) throws(BrokerError) -> [Delivery] {
        if !batch.isEmpty { bomb.pass(.handingOver) }
        let deliveries = try base.deliver(batch, checkpoint: checkpoint) { deliveries throws(BrokerError) in
            try prepared(deliveries)
            if !batch.isEmpty { bomb.pass(.prepared) }
        }
        bomb.pass(batch.isEmpty ? .claimed : .handedOver)
        return deliveries
    }

    func interrupt() { base.interrupt() }
    func close() { base.close() }
}
