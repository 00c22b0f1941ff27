import Broker
import CoreMetrics
import DeadLetters
import Logging
import Primitives
import Records
import Spool

/// One lane's thread: spool cursor → sink. Whatever fails, there is one way back (`Lane+Recovery.swift`): close the
/// sink, open a new one, read its checkpoint, go on.
// SAFETY: the mutable members are touched by the lane's thread only; `status` and `open` have their own locks.
final class Lane: @unchecked Sendable {
    let index: Int
    let status: Lock<LaneStatus>
    let shared: ForwarderShared
    let log: Logger
    let metrics: LaneMetrics
    private let reader: LaneReader
    /// The sink that is open, for `interrupt`.
    private let open = Lock(OpenSink())
    var batch = Batch()
    var size: BatchSize
    var breaker: Breaker
    var missing = MissingTopics()
    /// After a hand-over of many records.
    private var nextHandOver: MonotonicInstant?
    private var wasClaimed = false
    /// The record that the last try refused alone, with the reason: dead as soon as a sink is open again.
    var condemned: (lsn: LSN, error: BrokerError)?
    /// Records in hand that send a dead letter again, and are not linked to it yet.
    private var redeliveries: [(dead: LSN, successor: LSN)] = []
    /// Nothing of the lane below was not found yet.
    private var readTo = LSN.zero
    /// Claims of earlier processes were decided.
    private var isReleased = false

    private struct OpenSink {
        var sink: (any RecordSink)?
        var isInterrupted = false
    }

    private var spool: Spool { shared.spool }

    init(index: Int, shared: ForwarderShared) {
        self.index = index
        self.shared = shared
        reader = shared.spool.laneReader(index)
        size = BatchSize(shared.settings)
        breaker = Breaker(initial: shared.settings.retryInitial, cap: shared.settings.retryMax)
        status = Lock(
            LaneStatus(
                lane: index, state: .opening, delivered: shared.spool.delivered(lane: index),
                batchRecordsMax: size.recordsMax))
        var log = shared.log
        log[metadataKey: "lane"] = "\(index)"
        self.log = log
        metrics = LaneMetrics(lane: index)
    }

    func run() {
        while !shared.isStopping, rest(step()) {}
        end()
    }

    /// What a lane does between two steps.
    enum Rest {
        case none
        /// Until there is something in the spool.
        case untilWork
        /// So that the next hand-over carries more, unless somebody is in a hurry.
        case pace(until: MonotonicInstant)
        /// After a failure.
        case pause(Duration)
        /// The lane can do nothing more.
        case ended
    }

    private func rest(_ rest: Rest) -> Bool {
        switch rest {
        case .none: break
        case .untilWork: spool.waitForWork(lane: index, until: nil)
        case .pace(let deadline): spool.pace(lane: index, until: deadline)
        case .pause(let delay): shared.pause(until: SystemClock().now() + delay)
        case .ended: return false
        }
        return true
    }

    func end() {
        closeSink()
        batch = Batch()
        shared.hold(0, by: index)
        status.withLock { status in
            status.nextTryMs = nil
            if status.state != .halted { status.state = .stopped }
        }
        shared.laneEnded(index)
    }

    /// Makes what the lane waits for at the broker end soon, now and later. Any thread.
    func interrupt() {
        let sink = open.withLock { open in
            open.isInterrupted = true
            return open.sink
        }
        sink?.interrupt()
    }

    func closeSink() {
        let sink = open.withLock { open in
            defer { open.sink = nil }
            return open.sink
        }
        sink?.close()
    }

    private func use(_ sink: any RecordSink) {
        let isInterrupted = open.withLock { open in
            open.sink = sink
            return open.isInterrupted
        }
        if isInterrupted { sink.interrupt() }
    }

    /// One hand-over, or what is to be done before it. Blocks on the disk and the broker, never for want of work.
    func step() -> Rest {
        if let closed = shared.closed {
            halt(closed.code, closed.detail)
            shared.openingTried(by: index)
            return .ended
        }
        if breaker.state == .open { tryAgain() }
        do throws(LaneFailure) {
            if open.withLock({ $0.sink }) == nil {
                try openSink()
                shared.openingTried(by: index)
            }
            if let condemned { try bury(condemned.lsn, condemned.error) }
            var isIdle = false
            if batch.isEmpty {
                if let deadline = nextHandOver {
                    nextHandOver = nil
                    return .pace(until: deadline)
                }
                isIdle = try !fill()
            }
            try settleRedeliveries()
            if !batch.isEmpty { try deliver() }
            return isIdle ? .untilWork : .none
        } catch {
            let rest = recover(from: error)
            shared.openingTried(by: index)
            return rest
        }
    }

    // MARK: - Opening

    private func openSink() throws(LaneFailure) {
        let opened: (sink: any RecordSink, previous: SinkCheckpoint?)
        do throws(BrokerError) {
            opened = try shared.sinks.openSink(spool: spool.id, lane: index)
        } catch {
            throw .broker(error)
        }
        use(opened.sink)
        let decision = OpeningDecision.decide(
            previous: opened.previous, delivered: spool.delivered(lane: index), epoch: spool.epoch,
            nonce: spool.nonce, wasClaimed: wasClaimed, isKnown: spool.isKnown(epoch:nonce:))
        let from: LSN
        // What was kept of hand-overs beyond it must not count.
        let certain: LSN
        switch decision {
        case .historyUnknown:
            from = try adopted(opened.previous)
            // Another process committed up to the checkpoint, at places of its own.
            certain = spool.delivered(lane: index)
        case .ownedElsewhere: throw .ownedElsewhere
        case .goOn(let after, let alarm):
            if let alarm {
                log.critical(
                    "the broker lost what this spool had delivered",
                    metadata: ["code": "\(alarm)", "delivered": "\(after)"])
                metrics.alarms.increment()
            }
            from = after
            certain = after
        }
        try voidOutcomes(beyond: certain, goingOnAfter: from)
        let dead = try reconcile(from)
        try handOver([], through: from)
        if !wasClaimed, decision != .historyUnknown { try closeAdoption() }
        wasClaimed = true
        dropDelivered(through: from, dead: dead)
        // With a batch in hand only a delivery shows that the broker is well again.
        if batch.isEmpty { succeeded(delivered: from) }
    }

    /// Where an operator said to go on. Only the claim that follows makes the history known; a crash before it leads
    /// here again.
    private func adopted(_ previous: SinkCheckpoint?) throws(LaneFailure) -> LSN {
        guard let previous else { throw .historyUnknown(epoch: 0) }
        let after: LSN?
        do throws(FileSystemError) {
            after = try spool.adopted(
                lane: index, checkpoint: previous.lsn, epoch: previous.epoch, nonce: previous.nonce)
        } catch {
            throw .adoption("\(error)")
        }
        guard let after else { throw .historyUnknown(epoch: previous.epoch) }
        log.critical(
            "going on with an adopted spool",
            metadata: ["after": "\(after)", "checkpoint": "\(previous.lsn)", "epoch": "\(previous.epoch)"])
        return after
    }

    private func closeAdoption() throws(LaneFailure) {
        do throws(FileSystemError) {
            try spool.closeAdoption(lane: index)
        } catch {
            throw .adoption("\(error)")
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

    /// What was kept before commits that did not happen must never answer for a receipt: to be gone before anything of
    /// the lane moves on.
    private func voidOutcomes(beyond certain: LSN, goingOnAfter from: LSN) throws(LaneFailure) {
        do throws(KeepingError) {
            try spool.lane(index, goesOnAfter: from, certain: certain)
        } catch {
            throw .broker(.outcomesUnavailable(error))
        }
    }

    /// What the checkpoint passed and the spool does not know: the answer of that hand-over was lost. Where the records
    /// are is kept.
    private func dropDelivered(through checkpoint: LSN, dead: [LSN]) {
        let settled = batch.settle(batch.count(through: checkpoint))
        spool.advance(
            lane: index, delivered: checkpoint, scanned: batch.undelivered, settled: settled, dead: dead)
    }

    // MARK: - The way forward

    /// - Returns: false when the spool holds nothing more. What it found may all be at the broker already.
    private func fill() throws(LaneFailure) -> Bool {
        let wanted = size.bytesMax
        let granted = shared.grant(wanted, to: index)
        if granted < wanted {
            metrics.memoryLimited.increment()
            Limit.forwarderMemory.reached()
        }
        let found: LaneBatch
        do throws(SpoolReadError) {
            found = try reader.next(recordsMax: size.recordsMax, bytesMax: granted)
        } catch {
            shared.hold(0, by: index)
            throw .spool(error)
        }
        shared.hold(found.bytes, by: index)
        if !found.isCut { size.backlogIsGone() }
        batch.fill(found)
        for record in found.records {
            if let dead = record.spooled.redelivers { redeliveries.append((dead, record.lsn)) }
        }
        readTo = max(readTo, found.scanned)
        // Delivered by an earlier process, though its CHECKPOINT does not say so.
        let known = batch.count(through: spool.delivered(lane: index))
        let settled = batch.settle(known)
        spool.advance(lane: index, delivered: .zero, scanned: batch.undelivered, settled: settled)
        return known > 0 || !batch.isEmpty
    }

    /// Before a record that sends a dead letter again is handed over, its dead letter says so durably: a crash after
    /// the hand-over must not leave one that could be sent a second time. What an earlier process claimed and this lane
    /// did not meet in all that was recovered never reached the spool.
    private func settleRedeliveries() throws(LaneFailure) {
        do {
            if !redeliveries.isEmpty {
                try shared.deadLetters.link(redeliveries)
                redeliveries = []
            }
            if !isReleased, readTo >= spool.recoveredEnd {
                try shared.deadLetters.release(lane: index, before: spool.epoch)
                isReleased = true
            }
        } catch {
            throw .deadLetters("\(error)")
        }
    }

    private func deliver() throws(LaneFailure) {
        let tried = Array(batch.next)
        guard let last = tried.last?.lsn else { return }
        let drains = batch.isCut && batch.isWhole && tried.count == batch.records.count
        if tried.count >= shared.settings.pacedRecords, !batch.isCut {
            nextHandOver = shared.clock.now() + shared.settings.handOverInterval
        }
        let deliveries = try handOver(tried, through: last)
        if !missing.isEmpty { for record in tried { missing.found(record.spooled.topic) } }
        let settled = batch.settle(tried.count)
        if batch.isEmpty { shared.hold(0, by: index) }
        spool.advance(
            lane: index, delivered: last, scanned: batch.undelivered, settled: settled, deliveries: deliveries)
        metrics.records.increment(by: tried.count)
        metrics.handOvers.increment()
        size.succeeded(drains: drains)
        succeeded(delivered: last)
    }

    @discardableResult
    private func handOver(_ records: [OutgoingRecord], through lsn: LSN) throws(LaneFailure) -> [Delivery] {
        guard let sink = open.withLock({ $0.sink }) else { preconditionFailure("no sink is open") }
        do throws(BrokerError) {
            return try sink.deliver(
                records, checkpoint: SinkCheckpoint(lsn: lsn, epoch: spool.epoch, nonce: spool.nonce)
            ) { deliveries throws(BrokerError) in try keep(deliveries) }
        } catch {
            // Without a record in it, no record was refused, whatever the sink says.
            throw records.isEmpty ? .broker(error) : .batch(error)
        }
    }

    /// Where the records will be once the hand-over is committed, for a broker that does not keep it with them.
    /// Durably, so that their receipts are right after any crash; what was kept before a commit that does not happen,
    /// the next opening voids.
    private func keep(_ deliveries: [Delivery]) throws(BrokerError) {
        guard !deliveries.isEmpty else { return }
        do throws(KeepingError) {
            try spool.keep(deliveries, lane: index)
        } catch {
            throw .outcomesUnavailable(error)
        }
    }

    /// A record refused alone: kept as pending, passed by a checkpoint of its own, then final. A failure in between is
    /// decided by the checkpoint at the next opening.
    private func bury(_ lsn: LSN, _ error: BrokerError) throws(LaneFailure) {
        guard let record = batch.records.first, record.lsn == lsn else {
            condemned = nil
            return
        }
        do {
            try shared.deadLetters.addPending(
                lsn: lsn, lane: index, record.spooled, code: error.code, detail: error.detail,
                atMs: shared.clock.wallMilliseconds())
        } catch {
            throw .deadLetters("\(error)")
        }
        do throws(KeepingError) {
            try spool.pass(lsn, lane: index)
        } catch {
            throw .broker(.outcomesUnavailable(error))
        }
        try handOver([], through: lsn)
        do {
            _ = try shared.deadLetters.finalize(lsn: lsn)
        } catch {
            throw .deadLetters("\(error)")
        }
        condemned = nil
        let settled = batch.settle(1)
        if batch.isEmpty { shared.hold(0, by: index) }
        spool.advance(lane: index, delivered: lsn, scanned: batch.undelivered, settled: settled, dead: [lsn])
        log.error(
            "record is dead",
            metadata: ["lsn": "\(lsn)", "topic": "\(record.spooled.topic)", "code": "\(error.code)"])
        metrics.deadLetters.increment()
        succeeded(delivered: lsn)
    }

    private func succeeded(delivered lsn: LSN) {
        breaker.succeeded()
        metrics.report(breaker.state)
        let recordsMax = size.recordsMax
        let changed = status.withLock { status in
            status.succeeded(delivered: lsn)
            defer { status.batchRecordsMax = recordsMax }
            return status.batchRecordsMax != recordsMax
        }
        if changed { metrics.report(batchRecordsMax: recordsMax) }
    }
}

extension BrokerError {
    /// Nothing is committed whose receipts could not be answered. A sync that failed is not tried again: what the file
    /// holds, the next start finds out.
    fileprivate static func outcomesUnavailable(_ error: KeepingError) -> BrokerError {
        error.isSyncFailure
            ? BrokerError(.processFatal, code: "outcomes_sync_failed", detail: error.description)
            : BrokerError(.retriable, code: "outcomes_unavailable", detail: error.description, alarm: true)
    }
}

/// What stops a lane's step.
enum LaneFailure: Error {
    /// Of an opening, or of a hand-over without records.
    case broker(BrokerError)
    /// Of a hand-over with records; class record-fatal: of at least one record in it.
    case batch(BrokerError)
    case deadLetters(String)
    case spool(SpoolReadError)
    /// An operator's decision cannot be bound.
    case adoption(String)
    case historyUnknown(epoch: UInt32)
    case ownedElsewhere
}
