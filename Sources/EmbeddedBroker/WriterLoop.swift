import Broker
import Logging
import Primitives
import Records
import Store

/// The writer thread's body: takes everything queued, commits it with one sync, publishes, wakes subscriptions
/// and watches, answers, and only then copies the log back.
struct WriterLoop {
    let queue: JobQueue<Writer>
    let published: PublishedTopics
    let subscriptions: Subscriptions
    let watches: PartitionWatches
    /// A sync failed: nothing is written any more.
    let failed: @Sendable (BrokerError) -> Void

    /// Returns after `queue.stop()`.
    func run(_ writer: Writer) {
        var condition = Condition.healthy
        var logPages = 0
        while takeTurn(writer, &condition) {
            logPages += writer.connection.takePagesWritten()
            if logPages >= writer.settings.checkpointPages, checkpoint(writer) { logPages = 0 }
        }
        do throws(StoreError) {
            try writer.connection.checkpoint(.truncate)
        } catch {
            // The next start reads the log.
            writer.log.warning("checkpoint at the end failed", metadata: ["error": "\(error)"])
        }
    }

    /// The jobs, and the records in them, are gone when it returns: lanes read their next ones while the log is copied.
    ///
    /// - Returns: false after `queue.stop()`.
    private func takeTurn(_ writer: Writer, _ condition: inout Condition) -> Bool {
        guard let jobs = queue.takeAll() else { return false }
        writer.metrics.shared(by: jobs.count)
        condition = commit(jobs, writer, condition)
        return true
    }

    private enum Condition {
        case healthy
        /// The ledger may hold what was undone.
        case reload
        /// A sync failed: what the file holds is for the next start to find out.
        case condemned(BrokerError)
    }

    private func commit(_ jobs: [Job<Writer>], _ writer: Writer, _ before: Condition) -> Condition {
        if case .condemned(let error) = before {
            for job in jobs { job.fail(error) }
            return before
        }
        let answers: [() -> Void]
        do throws(StoreError) {
            if case .reload = before { writer.ledger = try Ledger.load(writer.connection, writer.outcomes) }
            answers = try writer.commit(jobs)
        } catch {
            let brokerError = BrokerError(error)
            writer.metrics.failed(error.kind.rawValue)
            writer.log.error("transaction failed", metadata: ["error": "\(error)", "jobs": "\(jobs.count)"])
            for job in jobs { job.fail(brokerError) }
            guard error.isSyncFailure else { return .reload }
            // Not every job has somebody behind it who would end the process: a commit of offsets has not.
            failed(brokerError)
            return .condemned(brokerError)
        }
        published.update(from: writer.ledger, topics: writer.pending.touched)
        subscriptions.tell(writer.pending.events, published: published)
        watches.tell(writer.pending.events, published: published)
        for answer in answers { answer() }
        return .healthy
    }

    /// - Returns: true when the log starts over.
    private func checkpoint(_ writer: Writer) -> Bool {
        do throws(StoreError) {
            let state = try writer.connection.checkpoint(.passive)
            if state.pagesCopied == state.pages { return true }
            guard state.pages > writer.settings.logPagesMax else { return false }
            try writer.connection.checkpoint(.restart)
            return true
        } catch {
            // Nothing is lost: the log keeps what was not copied, and the next transaction tries again.
            writer.metrics.failed("checkpoint")
            writer.log.warning("checkpoint failed", metadata: ["error": "\(error)"])
            return false
        }
    }
}
