public import Broker
import Primitives
public import Records

/// The way back into the spool, in memory: records are synced when the callback runs, so dropping it is a crash before.
public final class FakeSubmitter: RecordSubmitter {
    public struct Synced: Sendable {
        public var record: SpoolRecord
        /// Number of the call that brought it, from 0.
        public var call: Int
    }

    private struct State {
        var synced: [Synced] = []
        var calls = 0
        var failures: [FakeOffsetStore.Failure] = []
    }

    private let callbacks: PendingCallbacks
    private let state: Lock<State>

    /// - Parameter old: of a process that crashed: what was synced there.
    public init(_ callbacks: PendingCallbacks, after old: FakeSubmitter? = nil) {
        self.callbacks = callbacks
        state = old?.state ?? Lock(State())
    }

    /// The next calls fail, one each; `afterWriting` is synced all the same.
    public func fail(_ failures: [FakeOffsetStore.Failure]) { state.withLock { $0.failures += failures } }
    public func clearFailures() { state.withLock { $0.failures = [] } }
    /// In order.
    public var synced: [Synced] { state.withLock { $0.synced } }
    public var callCount: Int { state.withLock { $0.calls } }

    public func submit(
        _ records: [SpoolRecord], completion: @escaping @Sendable (Result<[Receipt], BrokerError>) -> Void
    ) {
        let call = state.withLock { state in
            defer { state.calls += 1 }
            return state.calls
        }
        callbacks.add { [self] in
            let failure = state.withLock { state -> FakeOffsetStore.Failure? in
                let failure = state.failures.isEmpty ? nil : state.failures.removeFirst()
                if failure != .beforeWriting { state.synced += records.map { Synced(record: $0, call: call) } }
                return failure
            }
            let receipts = records.indices.map { Receipt(spool: "aaaaaaaa", lsn: LSN(rawValue: UInt64($0) + 1)) }
            completion(failure == nil ? .success(receipts) : .failure(FakeOffsetStore.error))
        }
    }
}
