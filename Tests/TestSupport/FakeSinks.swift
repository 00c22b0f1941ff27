public import Broker
import Primitives
public import Records

/// One process's way to a `FakeLog`, which fails as the test says. Any thread may call.
public final class FakeSinks: RecordSinkFactory {
    public enum Operation: Hashable, Sendable, CaseIterable {
        case open, deliver
    }

    /// A call that is about to happen.
    public struct Call: Sendable {
        public var operation: Operation
        public var lane: Int
        public var batch: [OutgoingRecord] = []
        public var checkpoint: SinkCheckpoint?
    }

    public enum Fault: Sendable {
        /// Nothing happens but the error.
        case refuse(BrokerError)
        /// The hand-over is prepared, and then not committed.
        case refuseCommit(BrokerError)
        /// It happens, and the answer is the error.
        case loseAnswer(BrokerError)
        /// A freeze outlasted the transaction: fenced, and no twin anywhere.
        case fence
        /// A twin opened the lane and claimed it at this lane's checkpoint.
        case twin(epoch: UInt32, nonce: UInt64)
        /// Nothing happens before `release()`; `interrupt()` ends it with nothing done.
        case hang
        /// The process dies before or after it happened: no later call of it reaches the log.
        case die(committing: Bool)
    }

    public static let unreachable = BrokerError(.retriable, code: "unreachable", detail: "as told by the test")
    static let dead = BrokerError(.retriable, code: "process_dead", detail: "as told by the test")
    static let fenced = BrokerError(.fenced, code: "fenced", detail: "as told by the test")

    public static let interrupted = BrokerError(.retriable, code: "interrupted", detail: "the process stops")

    public let guarantee = Guarantee.exactlyOnce
    public let memoryFactor: Int
    let log: FakeLog
    /// Why a record will never be taken; a batch that holds it is refused as a whole.
    let refusal: @Sendable (OutgoingRecord) -> BrokerError?
    let gate = Monitor(Gate())
    private let plan: Lock<Plan>

    /// (A closure that is the state itself gets wrapped once more with every look at it.)
    private struct Plan {
        var fault: @Sendable (Call) -> Fault?
    }

    struct Gate {
        var dead = false
        var hanging = 0
        var released = false
        var interrupted = false
    }

    public init(
        _ log: FakeLog, memoryFactor: Int = 1,
        refusal: @escaping @Sendable (OutgoingRecord) -> BrokerError? = { _ in nil },
        plan: @escaping @Sendable (Call) -> Fault? = { _ in nil }
    ) {
        self.log = log
        self.memoryFactor = memoryFactor
        self.refusal = refusal
        self.plan = Lock(Plan(fault: plan))
    }

    /// What happens to calls from now on.
    public func setPlan(_ plan: @escaping @Sendable (Call) -> Fault?) { self.self.plan.withLock { $0.fault = plan } }

    /// As the fault `die` does, between two calls.
    public func die() {
        gate.withLock { $0.dead = true }
        gate.broadcast()
    }

    /// Whether a call hangs right now.
    public var isHanging: Bool { gate.withLock { $0.hanging > 0 } }

    public var isDead: Bool { gate.withLock { $0.dead } }

    /// Ends every `hang`, also later ones.
    public func release() {
        gate.withLock { $0.released = true }
        gate.broadcast()
    }

    public func interrupt() {
        gate.withLock { $0.interrupted = true }
        gate.broadcast()
    }

    /// - Returns: false when none hangs before the deadline.
    public func waitUntilOneHangs(for duration: Duration = .seconds(20)) -> Bool {
        gate.wait(until: SystemClock().now() + duration) { $0.hanging > 0 ? true : nil } ?? false
    }

    public func openSink(
        spool: SpoolID, lane: Int
    ) throws(BrokerError) -> (sink: any RecordSink, previous: SinkCheckpoint?) {
        let key = FakeLog.LaneKey(spool: spool, lane: lane)
        let (generation, previous) = try perform(Call(operation: .open, lane: lane), key) { (_) throws(BrokerError) in
            log.open(key)
        }
        return (FakeSink(sinks: self, key: key, generation: generation), previous)
    }

    func perform<Result>(
        _ call: Call, _ key: FakeLog.LaneKey?, _ body: (_ failsToCommit: BrokerError?) throws(BrokerError) -> Result
    ) throws(BrokerError) -> Result {
        if isDead { throw Self.dead }
        switch plan.withLock({ $0.fault })(call) {
        case nil:
            return try body(nil)
        case .refuseCommit(let error):
            // Where there is nothing to commit, it is simply refused.
            _ = try body(error)
            throw error
        case .refuse(let error):
            throw error
        case .loseAnswer(let error):
            _ = try body(nil)
            throw error
        case .fence:
            if let key { log.fence(spool: key.spool, lane: key.lane) }
            throw Self.fenced
        case .twin(let epoch, let nonce):
            if let key {
                let lsn = log.checkpoint(spool: key.spool, lane: key.lane)?.lsn ?? .zero
                log.setCheckpoint(
                    spool: key.spool, lane: key.lane, SinkCheckpoint(lsn: lsn, epoch: epoch, nonce: nonce))
            }
            throw Self.fenced
        case .hang:
            gate.withLock { $0.hanging += 1 }
            gate.broadcast()
            let end = gate.wait { $0.released || $0.dead || $0.interrupted ? $0 : nil }
            gate.withLock { $0.hanging -= 1 }
            if isDead { throw Self.dead }
            if let end, !end.released { throw Self.interrupted }
            return try body(nil)
        case .die(let committing):
            if committing { _ = try body(nil) }
            die()
            throw Self.dead
        }
    }
}

private final class FakeSink: RecordSink {
    private let sinks: FakeSinks
    private let key: FakeLog.LaneKey
    private let generation: Int

    init(sinks: FakeSinks, key: FakeLog.LaneKey, generation: Int) {
        self.sinks = sinks
        self.key = key
        self.generation = generation
    }

    func deliver(
        _ batch: [OutgoingRecord], checkpoint: SinkCheckpoint,
        prepared: (_ deliveries: [Delivery]) throws(BrokerError) -> Void
    ) throws(BrokerError) -> [Delivery] {
        let call = FakeSinks.Call(operation: .deliver, lane: key.lane, batch: batch, checkpoint: checkpoint)
        return try sinks.perform(call, key) { (failsToCommit) throws(BrokerError) in
            for outgoing in batch {
                if let error = sinks.refusal(outgoing) { throw error }
            }
            try prepared(sinks.log.places(batch))
            if let failsToCommit { throw failsToCommit }
            guard let deliveries = sinks.log.handOver(key, generation: generation, batch, checkpoint) else {
                throw FakeSinks.fenced
            }
            return deliveries
        }
    }

    func interrupt() { sinks.interrupt() }

    func close() {}
}
