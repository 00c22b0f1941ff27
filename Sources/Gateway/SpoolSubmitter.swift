import Broker
import Primitives
import Records
import Spool

/// The way back into the spool for consumers' dead letters.
///
/// Under the policy `interval` the spool answers before its sync; a commit may pass these records only after it, so the
/// completion waits until they are durable, at most `spool.sync_timeout` past that interval. Any thread may call.
final class SpoolSubmitter: RecordSubmitter {
    private static let checkInterval = Duration.milliseconds(20)

    private let spool: Spool
    private let clock: any TimeSource
    private let timers: any Timers
    private let patience: Duration

    init(_ spool: Spool, patience: Duration, clock: any TimeSource, timers: any Timers) {
        self.spool = spool
        self.patience = patience
        self.clock = clock
        self.timers = timers
    }

    func submit(
        _ records: [SpoolRecord], completion: @escaping @Sendable (Result<[Receipt], BrokerError>) -> Void
    ) {
        spool.submit(records) { [self] result in
            switch result {
            case .failure(let refusal):
                // All of them may pass: nothing is wrong with a record that the spool has no room for now.
                completion(.failure(BrokerError(.retriable, code: refusal.code, detail: "\(refusal)")))
            case .success(let accepted) where accepted.synced: completion(.success(receipts(accepted)))
            case .success(let accepted):
                waitForSync(accepted, until: clock.now() + patience, completion)
            }
        }
    }

    private func waitForSync(
        _ accepted: Acceptance, until deadline: MonotonicInstant,
        _ completion: @escaping @Sendable (Result<[Receipt], BrokerError>) -> Void
    ) {
        if accepted.first.rawValue + UInt64(accepted.count) <= spool.durable.rawValue {
            return completion(.success(receipts(accepted)))
        }
        let now = clock.now()
        guard now < deadline else {
            return completion(
                .failure(BrokerError(.retriable, code: "sync_stalled", detail: "the spool's sync takes too long")))
        }
        timers.schedule(at: now + Self.checkInterval) { [self] in waitForSync(accepted, until: deadline, completion) }
    }

    private func receipts(_ accepted: Acceptance) -> [Receipt] {
        (0..<UInt64(accepted.count)).map {
            Receipt(spool: spool.shortID, lsn: LSN(rawValue: accepted.first.rawValue + $0))
        }
    }
}

extension SpoolRefusal {
    /// As clients see it on produce calls.
    fileprivate var code: String {
        switch self {
        case .quota: "spool_full"
        case .topicBacklog: "topic_backlog"
        case .laneDamaged: "spool_corruption"
        case .closed(let code): code
        case .noSpace: "disk_full"
        case .stalled: "sync_stalled"
        case .failed: "sync_failed"
        case .queueFull: "overloaded"
        case .tooLarge: "request_too_large"
        case .stopping: "stopping"
        }
    }
}
