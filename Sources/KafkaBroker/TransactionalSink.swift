import Broker
import CRdkafka
import Primitives
import Records

/// Exactly-once hand-over of one lane: a transaction holds the batch and the lane's checkpoint (KIP-98).
///
/// A sink that failed once is of no more use: what the broker made of its transaction is known only to the next one,
/// whose `init_transactions` ends it.
// SAFETY: `isSpent` is touched by the lane's thread only; the rest is immutable or has its own lock.
final class TransactionalSink: RecordSink, @unchecked Sendable {
    /// How long an abort is waited for, so that readers are not held up; the next opening ends what is left.
    private static let abortTimeout = Duration.seconds(1)

    private let producer: SinkProducer
    private let settings: KafkaBrokerSettings
    private var isSpent = false

    /// - Parameter producer: initialized; closed with the sink.
    init(_ producer: SinkProducer) {
        self.producer = producer
        settings = producer.settings
    }

    /// Fences every older producer of this transactional id and ends what it left open. Blocks.
    static func initialize(_ producer: SinkProducer) throws(BrokerError) {
        // The coordinator first waits for the end of the transaction that it aborts.
        let patience = producer.patience(producer.settings.transactionTimeout)
        var last = KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
        while let slice = try patience.next() {
            guard let error = rd_kafka_init_transactions(producer.client.handle, slice).map(KafkaError.init(consuming:))
            else { return }
            producer.serve()
            guard !error.isFatal, error.isRetriable else { throw ErrorTable.transactionError(error) }
            last = error
        }
        if last.code == RD_KAFKA_RESP_ERR__TIMED_OUT, let reason = producer.reports.clientError { last = reason }
        throw ErrorTable.brokerError(last)
    }

    func deliver(
        _ batch: [OutgoingRecord], checkpoint: SinkCheckpoint,
        prepared: (_ deliveries: [Delivery]) throws(BrokerError) -> Void
    ) throws(BrokerError) -> [Delivery] {
        if isSpent { throw .sinkSpent }
        isSpent = true
        let places = try producer.places(for: batch)
        let began = SystemClock().now()
        let patience = producer.patience(settings.transactionTimeout)
        producer.begin(slots: batch.count + 1, checkpointSlot: batch.count)
        if let error = beginTransaction() { throw classify(error, began) }
        let deliveries: [Delivery]
        do throws(BrokerError) {
            for slot in batch.indices {
                try producer.send(batch[slot], to: places[slot], slot: slot, patience)
            }
            try producer.send(checkpoint, slot: batch.count, patience)
            try producer.flush(patience) { () throws(BrokerError) in try probe(began) }
            deliveries = producer.deliveries(of: batch, places)
            try prepared(deliveries)
        } catch {
            let cause = cause(of: error, began)
            abort()
            throw cause
        }
        isSpent = try !commit(began, patience)
        return deliveries
    }

    private func beginTransaction() -> KafkaError? {
        rd_kafka_begin_transaction(producer.client.handle).map(KafkaError.init(consuming:))
    }

    /// Why the open transaction has failed; nil when it has not. librdkafka only tells whoever begins another: an open
    /// one refuses that with `_STATE`, a failed one with what failed.
    private func transactionError() -> KafkaError? {
        guard let error = beginTransaction(), error.code != RD_KAFKA_RESP_ERR__STATE else { return nil }
        return error
    }

    /// The messages of a failed transaction stay in the queue, without reports.
    private func probe(_ began: MonotonicInstant) throws(BrokerError) {
        guard let error = transactionError() else { return }
        let known = classify(error, began)
        // Whose message it was, its report says.
        if known.class != .recordFatal { throw known }
    }

    /// A message that could not be queued or was given up says less than the transaction does.
    private func cause(of error: BrokerError, _ began: MonotonicInstant) -> BrokerError {
        let error = timedOut(error, began)
        guard error.class == .sinkFatal, let cause = transactionError() else { return error }
        let known = classify(cause, began)
        guard known.class == .recordFatal else { return known }
        do throws(BrokerError) {
            return try producer.awaitRefusal(producer.patience(Self.abortTimeout)) ?? error
        } catch {
            return error
        }
    }

    /// - Returns: whether the producer may be used for another transaction.
    private func commit(_ began: MonotonicInstant, _ patience: Patience) throws(BrokerError) -> Bool {
        let sent = producer.reports.endTransactions
        while let slice = try uncertain(patience) {
            guard
                let error = rd_kafka_commit_transaction(producer.client.handle, slice).map(KafkaError.init(consuming:))
            else {
                producer.serve()
                // librdkafka repeats an EndTxn by itself after a time-out, a broken connection or a retriable answer,
                // and tells of none of them. A copy may arrive much later, and end another transaction of this
                // producer; a new one has a new epoch, which it cannot touch.
                return producer.reports.endTransactions == sent + 1
            }
            guard !error.isFatal, error.isRetriable, error.code == RD_KAFKA_RESP_ERR__TIMED_OUT else {
                if !error.isFatal, !error.requiresAbort { throw .commitUncertain(error.description) }
                let cause = classify(error, began)
                if error.requiresAbort { abort() }
                throw cause
            }
        }
        throw .commitUncertain("no answer within \(settings.transactionTimeout)")
    }

    private func uncertain(_ patience: Patience) throws(BrokerError) -> Int32? {
        do throws(BrokerError) {
            return try patience.next()
        } catch {
            throw .commitUncertain(error.description)
        }
    }

    private func abort() {
        guard producer.client.fatalError == nil else { return }
        let patience = Patience(Self.abortTimeout, Interruption())
        do throws(BrokerError) {
            while let slice = try patience.next() {
                guard
                    let error = rd_kafka_abort_transaction(producer.client.handle, slice).map(
                        KafkaError.init(consuming:)), error.isRetriable, !error.isFatal
                else { return }
            }
        } catch {
            return
        }
    }

    private func classify(_ error: KafkaError, _ began: MonotonicInstant) -> BrokerError {
        timedOut(ErrorTable.transactionError(error), began)
    }

    /// The broker ends a transaction that is open for too long as if another producer had come.
    private func timedOut(_ error: BrokerError, _ began: MonotonicInstant) -> BrokerError {
        guard error.class == .fenced, SystemClock().now() - began >= settings.transactionTimeout else { return error }
        return BrokerError(.fenced, code: BrokerError.transactionTimedOutCode, detail: error.detail)
    }

    func interrupt() { producer.interruption.interrupt() }

    func close() { producer.close() }
}

extension BrokerError {
    static let sinkSpent = BrokerError(
        .sinkFatal, code: "sink_spent", detail: "an earlier hand-over of this sink failed, or may be ended twice")

    static func commitUncertain(_ detail: String) -> BrokerError {
        BrokerError(.sinkFatal, code: "commit_uncertain", detail: detail)
    }
}
