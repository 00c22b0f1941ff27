import Broker
import CoreMetrics
import DeadLetters
import Logging
import Primitives
import Records
import Spool

/// One lane's thread: spool cursor → sink. Whatever fails, there is one way back: close the sink, open a new one, read
/// its checkpoint, go on.
// SAFETY: the mutable members are touched by the lane's thread only; `status` has its own lock.
final class Lane: @unchecked Sendable {
    let index: Int
    let status: Lock<LaneStatus>
    private let shared: ForwarderShared
    private let reader: LaneReader
    private var sink: (any RecordSink)?
    private var batch = Batch()
    private var backoff: Backoff
    private var nextHandOver = MonotonicInstant(nanoseconds: 0)
    private var wasClaimed = false
    /// The record that the last try refused alone, with the reason: dead as soon as a sink is open again.
    private var condemned: (lsn: LSN, error: BrokerError)?
    private let log: Logger
    private let metrics: LaneMetrics

    private var spool: Spool { shared.spool }

    init(index: Int, shared: ForwarderShared) {
        self.index = index
        self.shared = shared
        reader = shared.spool.laneReader(index)
        backoff = Backoff(initial: shared.settings.retryInitial, cap: shared.settings.retryMax)
        status = Lock(
            LaneStatus(
                lane: index, state: .opening, delivered: shared.spool.delivered(lane: index), retries: 0,
                lastError: nil, lastErrorDetail: nil))
        var log = shared.log
        log[metadataKey: "lane"] = "\(index)"
        self.log = log
        metrics = LaneMetrics(lane: index)
    }

    func run() {
        while !shared.isStopping, step() {}
        sink?.close()
        status.withLock { status in
            if status.state != .halted { status.state = .stopped }
        }
    }

    /// - Returns: false when the lane can do nothing more.
    private func step() -> Bool {
        if let closed = shared.closed {
            halt(closed.code, closed.detail)
            shared.openingTried(by: index)
            return false
        }
        do throws(LaneFailure) {
            if sink == nil {
                try open()
                shared.openingTried(by: index)
            }
            if let condemned { try bury(condemned.lsn, condemned.error) }
            if batch.isEmpty {
                spool.pace(lane: index, until: nextHandOver)
                if try !fill() { spool.waitForWork(lane: index, until: nil) }
            }
            if !batch.isEmpty { try deliver() }
            return true
        } catch {
            let goesOn = recover(from: error)
            shared.openingTried(by: index)
            return goesOn
        }
    }

    // MARK: - The way forward

    private func open() throws(LaneFailure) {
        let opened: (sink: any RecordSink, previous: SinkCheckpoint?)
        do throws(BrokerError) {
            opened = try shared.sinks.openSink(spool: spool.id, lane: index)
        } catch {
            throw .broker(error)
        }
        sink = opened.sink
        let decision = OpeningDecision.decide(
            previous: opened.previous, delivered: spool.delivered(lane: index), epoch: spool.epoch,
            nonce: shared.nonce, wasClaimed: wasClaimed, isKnown: spool.isKnown(epoch:))
        let from: LSN
        switch decision {
        case .historyUnknown: throw .historyUnknown(epoch: opened.previous?.epoch ?? 0)
        case .ownedElsewhere: throw .ownedElsewhere
        case .goOn(let after, let alarm):
            if let alarm {
                log.critical(
                    "the broker lost what this spool had delivered",
                    metadata: ["code": "\(alarm)", "delivered": "\(after)"])
                metrics.alarms.increment()
            }
            from = after
        }
        let dead = try reconcile(from)
        try handOver([], through: from)
        wasClaimed = true
        try dropDelivered(through: from, dead: dead)
        // With a batch in hand only a delivery shows that the broker is well again.
        if batch.isEmpty {
            backoff.reset()
            changed(.forwarding, delivered: from)
        }
    }

    /// Decides the dead letters that a failure left pending, before anything of the lane is tried again.
    ///
    /// - Returns: those that are dead.
    private func reconcile(_ checkpoint: LSN) throws(LaneFailure) -> [LSN] {
        let dead: [LSN]
        do {
            dead = try shared.deadLetters.reconcile(lane: index, recoveredCheckpoint: checkpoint)
        } catch {
            throw .deadLetters("\(error)")
        }
        for lsn in dead {
            log.error("record is dead", metadata: ["lsn": "\(lsn)"])
            metrics.deadLetters.increment()
        }
        if let lsn = condemned?.lsn, lsn <= checkpoint { condemned = nil }
        return dead
    }

    /// What the checkpoint passed and the spool does not know: the answer of that hand-over was lost.
    private func dropDelivered(through checkpoint: LSN, dead: [LSN]) throws(LaneFailure) {
        if checkpoint > spool.delivered(lane: index) {
            // Where the records are, the broker knows. First of all: until it has told, nothing moves.
            do throws(BrokerError) {
                spool.remember(
                    try shared.outcomes.recentDeliveries(spool: spool.id, limit: spool.settings.outcomesKept))
            } catch {
                throw .broker(error)
            }
        }
        let settled = batch.settle(batch.count(through: checkpoint))
        spool.advance(
            lane: index, delivered: checkpoint, scanned: batch.undelivered, settled: settled, dead: dead)
    }

    /// - Returns: false when the spool holds nothing more. What it found may all be at the broker already.
    private func fill() throws(LaneFailure) -> Bool {
        let settings = shared.settings
        let found: LaneBatch
        do throws(SpoolReadError) {
            found = try reader.next(
                recordsMax: settings.batchRecordsMax, bytesMax: settings.batchBytes(lanes: spool.settings.lanes))
        } catch {
            throw .spool(error)
        }
        batch.fill(found)
        // Delivered by an earlier process, though its CHECKPOINT does not say so.
        let known = batch.count(through: spool.delivered(lane: index))
        let settled = batch.settle(known)
        spool.advance(lane: index, delivered: .zero, scanned: batch.undelivered, settled: settled)
        return known > 0 || !batch.isEmpty
    }

    private func deliver() throws(LaneFailure) {
        let tried = Array(batch.next)
        guard let last = tried.last?.lsn else { return }
        if tried.count >= shared.settings.pacedRecords {
            nextHandOver = SystemClock().now() + shared.settings.handOverInterval
        }
        let deliveries = try handOver(tried, through: last)
        let settled = batch.settle(tried.count)
        spool.advance(
            lane: index, delivered: last, scanned: batch.undelivered, settled: settled, deliveries: deliveries)
        metrics.records.increment(by: tried.count)
        metrics.handOvers.increment()
        backoff.reset()
        changed(.forwarding, delivered: last)
    }

    @discardableResult
    private func handOver(_ records: [OutgoingRecord], through lsn: LSN) throws(LaneFailure) -> [Delivery] {
        guard let sink else { preconditionFailure("no sink is open") }
        do throws(BrokerError) {
            return try sink.deliver(
                records, checkpoint: SinkCheckpoint(lsn: lsn, epoch: spool.epoch, nonce: shared.nonce))
        } catch {
            // Without a record in it, no record was refused, whatever the sink says.
            throw error.class == .recordFatal && !records.isEmpty ? .recordRefused(error) : .broker(error)
        }
    }

    /// A record refused alone: kept as pending, passed by a checkpoint of its own, then final. A failure in between is
    /// decided by the checkpoint at the next opening.
    private func bury(_ lsn: LSN, _ error: BrokerError) throws(LaneFailure) {
        guard let record = batch.records.first, record.lsn == lsn else {
            condemned = nil
            return
        }
        var writer = ByteWriter(capacity: SpoolRecordCodec.encodedBytes(record.spooled))
        SpoolRecordCodec.encode(record.spooled, lane: UInt8(index), to: &writer)
        do {
            try shared.deadLetters.addPending(
                lsn: lsn, lane: index, encoded: writer.bytes[...], code: error.code, detail: error.detail,
                atMs: shared.clock.wallMilliseconds())
        } catch {
            throw .deadLetters("\(error)")
        }
        try handOver([], through: lsn)
        do {
            _ = try shared.deadLetters.finalize(lsn: lsn)
        } catch {
            throw .deadLetters("\(error)")
        }
        condemned = nil
        let settled = batch.settle(1)
        spool.advance(lane: index, delivered: lsn, scanned: batch.undelivered, settled: settled, dead: [lsn])
        backoff.reset()
        log.error(
            "record is dead",
            metadata: ["lsn": "\(lsn)", "topic": "\(record.spooled.topic)", "code": "\(error.code)"])
        metrics.deadLetters.increment()
        changed(.forwarding, delivered: lsn)
    }

    // MARK: - The way back

    private func recover(from failure: LaneFailure) -> Bool {
        sink?.close()
        sink = nil
        switch failure {
        case .broker(let error):
            metrics.count(error)
            guard error.class == .processFatal else {
                pause(error.code, error.detail)
                break
            }
            halt(error.code, error.detail)
            shared.hooks.processFatal(error.code, error.detail)
            return false
        case .recordRefused(let error):
            metrics.count(error)
            isolate(error)
        case .deadLetters(let error):
            pause("dead_letters_unavailable", error)
        case .spool(let error) where error.isTransient:
            pause("spool_unreadable", "\(error)")
        case .spool(let error):
            // Nothing skips records by itself: the lane stays where it is until an operator has decided.
            halt("spool_corruption", "\(error)")
            return false
        case .historyUnknown(let epoch):
            let code = "spool_history_unknown"
            let detail = "the broker's checkpoint is of epoch \(epoch), which this spool never had"
            shared.close(code: code, detail: detail)
            halt(code, detail)
            shared.hooks.historyUnknown(index, detail)
            return false
        case .ownedElsewhere:
            let code = "spool_owned_elsewhere"
            let detail = "another process forwards from a copy of this spool"
            shared.close(code: code, detail: detail)
            halt(code, detail)
            shared.hooks.processFatal(code, detail)
            return false
        }
        return true
    }

    /// One of the tried records was refused: fewer at once the next time, and the one that is refused alone dies.
    private func isolate(_ error: BrokerError) {
        if batch.narrow() { return }
        if error.code == "invalid_timestamp", batch.restampFirst(shared.clock.wallMilliseconds()) {
            // Not the record's fault: a clock is wrong, and that may take a while.
            pause(error.code, error.detail)
        } else if let lsn = batch.records.first?.lsn {
            condemned = (lsn, error)
        }
    }

    private func pause(_ code: String, _ detail: String) {
        let delay = backoff.nextDelay()
        let retries = status.withLock { status -> Int in
            status.state = .retrying
            status.retries += 1
            status.lastError = code
            status.lastErrorDetail = detail
            return status.retries
        }
        metrics.retries.increment()
        // The first, and then ever more rarely.
        if retries & (retries - 1) == 0 {
            log.warning(
                "hand-over failed, trying again",
                metadata: ["code": "\(code)", "detail": "\(detail)", "try": "\(retries)"])
        }
        shared.pause(until: SystemClock().now() + delay)
    }

    private func halt(_ code: String, _ detail: String) {
        log.critical("lane is halted", metadata: ["code": "\(code)", "detail": "\(detail)"])
        status.withLock { status in
            status.state = .halted
            status.lastError = code
            status.lastErrorDetail = detail
        }
        metrics.alarms.increment()
    }

    private func changed(_ state: LaneStatus.State, delivered: LSN) {
        status.withLock { status in
            status.state = state
            status.delivered = max(status.delivered, delivered)
            status.retries = 0
            status.lastError = nil
            status.lastErrorDetail = nil
        }
    }
}

/// What stops a lane's step.
private enum LaneFailure: Error {
    case broker(BrokerError)
    /// Of at least one record that was tried.
    case recordRefused(BrokerError)
    case deadLetters(String)
    case spool(SpoolReadError)
    case historyUnknown(epoch: UInt32)
    case ownedElsewhere
}

/// A lane's series.
private struct LaneMetrics {
    let records: Counter
    let handOvers: Counter
    let retries: Counter
    let deadLetters: Counter
    let alarms: Counter
    private let errors: [BrokerError.Class: Counter]

    init(lane: Int) {
        let lane = [("lane", String(lane))]
        records = Counter(label: "postrider_forwarder_records_total", dimensions: lane)
        handOvers = Counter(label: "postrider_forwarder_hand_overs_total", dimensions: lane)
        retries = Counter(label: "postrider_forwarder_retries_total", dimensions: lane)
        deadLetters = Counter(label: "postrider_forwarder_dead_letters_total", dimensions: lane)
        alarms = Counter(label: "postrider_forwarder_alarms_total", dimensions: lane)
        errors = Dictionary(
            uniqueKeysWithValues: BrokerError.Class.allCases.map {
                ($0, Counter(label: "postrider_broker_errors_total", dimensions: [("class", $0.rawValue)]))
            })
    }

    func count(_ error: BrokerError) { errors[error.class]?.increment() }
}
