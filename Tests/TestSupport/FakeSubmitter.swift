public import Broker
import Primitives
public import Records

/// The way back into the spool, in memory: records are synced when the callback runs, so dropping it is a crash before.
public final class FakeSubmitter: RecordSubmitter {
    private struct State {
        var synced: [SpoolRecord] = []
        var failures: [FakeOffsetStore.Failure] = []
        var tries = 0
    }

    private let callbacks: Lock<PendingCallbacks>
    private let state = Lock(State())

    public init(_ callbacks: PendingCallbacks) { self.callbacks = Lock(callbacks) }

    /// After a crash: the next process has threads of its own.
    public func moveTo(_ callbacks: PendingCallbacks) { self.callbacks.withLock { $0 = callbacks } }

    /// The next calls fail, one each; `afterWriting` is synced all the same.
    public func fail(_ failures: [FakeOffsetStore.Failure]) { state.withLock { $0.failures += failures } }
    public func clearFailures() { state.withLock { $0.failures = [] } }
    /// In order.
    public var synced: [SpoolRecord] { state.withLock { $0.synced } }
    public var tries: Int { state.withLock { $0.tries } }

    public func submit(
        _ records: [SpoolRecord], completion: @escaping @Sendable (Result<[Receipt], BrokerError>) -> Void
    ) {
        callbacks.withLock({ $0 }).add { [self] in
            let failure = state.withLock { state -> FakeOffsetStore.Failure? in
                state.tries += 1
                let failure = state.failures.isEmpty ? nil : state.failures.removeFirst()
                if failure != .beforeWriting { state.synced += records }
                return failure
            }
            let receipts = records.indices.map { Receipt(spool: "aaaaaaaa", lsn: LSN(rawValue: UInt64($0) + 1)) }
            completion(failure == nil ? .success(receipts) : .failure(FakeOffsetStore.error))
        }
    }
}
