import Broker
import CoreMetrics
import Logging
import Primitives
import Records
import Spool

/// The way back after a failure: what it means for the records in hand, and when the next try is.
///
/// A lane is in order, so a record that cannot be delivered holds up what lies behind it in the lane. The tries narrow
/// down to it, so that everything before it gets through; what is behind it waits until it is delivered or dead, at the
/// longest `forwarder.missing_topic_timeout` for a topic that is gone, and for as long as it takes otherwise. The
/// number of lanes, and parking, bound whom that concerns.
extension Lane {
    /// - Returns: what comes before the next try, or `ended`.
    func recover(from failure: LaneFailure) -> Rest {
        closeSink()
        switch failure {
        case .broker(let error), .batch(let error):
            metrics.count(error)
            if error.class == .processFatal {
                halt(error.code, error.detail)
                shared.hooks.processFatal(error.code, error.detail)
                return .ended
            }
            if case .batch = failure { return handOverFailed(error) }
            return pause(error)
        case .deadLetters(let error):
            return pause(BrokerError(.retriable, code: "dead_letters_unavailable", detail: error))
        case .adoption(let error):
            return pause(BrokerError(.retriable, code: "adoption_unwritable", detail: error, alarm: true))
        case .spool(let error) where error.isTransient:
            return pause(BrokerError(.retriable, code: "spool_unreadable", detail: "\(error)"))
        case .spool(let error):
            // Nothing skips records by itself: the lane stays where it is until an operator has decided, and what would
            // only pile up behind it is refused.
            shared.spool.closeLane(index)
            halt("spool_corruption", "\(error)")
            return .ended
        case .historyUnknown(let epoch):
            let code = "spool_history_unknown"
            let detail =
                "the broker's checkpoint is of epoch \(epoch), which this spool never had: postrider spool adopt"
            shared.close(code: code, detail: detail)
            halt(code, detail)
            shared.hooks.historyUnknown(index, detail)
            return .ended
        case .ownedElsewhere:
            let code = "spool_owned_elsewhere"
            let detail = "another process forwards from a copy of this spool"
            shared.close(code: code, detail: detail)
            halt(code, detail)
            shared.hooks.processFatal(code, detail)
            return .ended
        }
    }

    private func handOverFailed(_ error: BrokerError) -> Rest {
        switch (error.class, error.code) {
        case (.recordFatal, _):
            return isolate(error)
        case (_, BrokerError.topicMissingCode):
            return topicIsMissing(error)
        case (_, BrokerError.transactionTimedOutCode):
            metrics.timeouts.increment()
            size.timedOut(tried: batch.next.count)
            _ = batch.narrow()
            return pause(error)
        default:
            let rest = pause(error)
            if breaker.probes { batch.probe() }
            return rest
        }
    }

    /// One of the tried records was refused: fewer at once the next time, and the one that is refused alone dies.
    private func isolate(_ error: BrokerError) -> Rest {
        if batch.narrow() { return .none }
        guard let record = batch.records.first else { return .none }
        missing.found(record.spooled.topic)
        if error.code == BrokerError.invalidTimestampCode, batch.restampFirst(shared.clock.wallMilliseconds()) {
            // Not the record's fault: a clock is wrong, and that may take a while.
            return pause(error)
        }
        condemned = (record.lsn, error)
        return .none
    }

    /// The topic of one of the tried records: found out as a bad record is, but the one that stands alone waits.
    private func topicIsMissing(_ error: BrokerError) -> Rest {
        if batch.narrow() { return .none }
        guard let record = batch.records.first else { return .none }
        let topic = record.spooled.topic
        if missing.isFull(for: topic) { Limit.missingTopics.reached() }
        let time = missing.missed(topic, at: shared.clock.now())
        guard time >= shared.settings.missingTopicTimeout else {
            metrics.missingTopicWaits.increment()
            return pause(error)
        }
        let detail = "the broker has said for \(time.wholeMilliseconds / 1000) s that there is no topic \(topic)"
        condemned = (record.lsn, BrokerError(.recordFatal, code: error.code, detail: detail))
        return .none
    }

    private func pause(_ error: BrokerError) -> Rest {
        let delay = breaker.failed()
        metrics.report(breaker.state)
        let (failures, now) = (breaker.failures, shared.clock.wallMilliseconds())
        let isNews = status.withLock { status in
            let isNews = status.lastError != error.code
            status.state = .retrying
            status.retries = failures
            status.nextTryMs = now + delay.wholeMilliseconds
            status.batchRecordsMax = min(size.recordsMax, batch.isEmpty ? .max : batch.next.count)
            status.failed(error.code, error.detail, atMs: now)
            return isNews
        }
        metrics.retries.increment()
        if error.alarm, isNews {
            metrics.alarms.increment()
            log.critical(
                "hand-over failed and needs somebody to look, trying again",
                metadata: ["code": "\(error.code)", "detail": "\(error.detail)"])
        } else if Backoff.isTold(failures) {
            log.warning(
                "hand-over failed, trying again",
                metadata: ["code": "\(error.code)", "detail": "\(error.detail)", "try": "\(failures)"])
        }
        return .pause(delay)
    }

    /// The pause is over.
    func tryAgain() {
        breaker.tries()
        metrics.report(breaker.state)
        status.withLock { $0.nextTryMs = nil }
    }

    func halt(_ code: String, _ detail: String) {
        log.critical("lane is halted", metadata: ["code": "\(code)", "detail": "\(detail)"])
        let now = shared.clock.wallMilliseconds()
        status.withLock { status in
            status.state = .halted
            status.failed(code, detail, atMs: now)
        }
        metrics.alarms.increment()
    }
}
