import Broker
import CRdkafka
import Logging
import CoreMetrics
import Primitives
import Records

/// Reads without a group: a few threads with a client each, which take one read at a time. Any thread may call.
///
/// A read asks for the watermarks as `read_committed` sees them, begins at its offset, and ends at the end that it was
/// told: it never waits for records to come.
final class ReaderPool: Sendable {
    private struct Job: Sendable {
        let request: FetchRequest
        let completion: @Sendable (Result<FetchResult, BrokerError>) -> Void
    }

    private struct State {
        var waiting: [Job] = []
        var taken = 0
        var idle = 0
        /// Threads.
        var running = 0
        var isStopping = false
    }

    private let settings: KafkaBrokerSettings
    private let monitor = Monitor(State())

    init(settings: KafkaBrokerSettings) { self.settings = settings }

    /// Completes on one of the pool's threads; on the caller's when it is refused.
    ///
    /// - Throws (by the completion): `unknown_topic`, `unknown_partition`, `too_many_reads`, and what `ErrorTable`
    /// says.
    func fetch(_ request: FetchRequest, completion: @escaping @Sendable (Result<FetchResult, BrokerError>) -> Void) {
        let isQueued = monitor.withLock { state in
            guard !state.isStopping, state.waiting.count - state.taken < settings.readsWaitingMax else { return false }
            state.waiting.append(Job(request: request, completion: completion))
            if state.idle == 0, state.running < settings.readers {
                state.running += 1
                // Detached: one that hangs in a read ends by itself, after `stop`.
                _ = WorkerThread(name: "kafka-reader") { [self] in run() }
            }
            return true
        }
        if isQueued { return monitor.signal() }
        SourceMetrics.refusedReads.increment()
        Limit.kafkaReads.reached()
        completion(.failure(.tooMany("too_many_reads", settings.readsWaitingMax)))
    }

    private func run() {
        var reader: PartitionReader?
        while true {
            let job: Job
            switch next() {
            case .read(let next): job = next
            case .nothing:
                // What a client that nobody polls hears of its brokers would pile up.
                reader?.close()
                reader = nil
                continue
            case .stop:
                reader?.close()
                monitor.withLock { $0.running -= 1 }
                monitor.broadcast()
                return
            }
            let result: Result<FetchResult, BrokerError>
            do throws(BrokerError) {
                let current: PartitionReader
                if let reader {
                    current = reader
                } else {
                    current = try PartitionReader(settings: settings)
                    reader = current
                }
                result = .success(try current.read(job.request))
            } catch {
                result = .failure(error)
            }
            job.completion(result)
        }
    }

    private enum Turn: Sendable {
        case read(Job)
        /// For `idleMax`.
        case nothing
        case stop
    }

    private static let idleMax = Duration.seconds(30)

    private func next() -> Turn {
        monitor.withLock { $0.idle += 1 }
        let turn = monitor.wait(until: SystemClock().now() + Self.idleMax) { state -> Turn? in
            guard state.taken < state.waiting.count else { return state.isStopping ? .stop : nil }
            let job = state.waiting[state.taken]
            state.taken += 1
            if state.taken == state.waiting.count {
                state.waiting = []
                state.taken = 0
            }
            return .read(job)
        }
        monitor.withLock { $0.idle -= 1 }
        return turn ?? .nothing
    }

    /// Refuses what comes and what waits, and ends the threads. Blocks until what is being read is answered,
    /// `closeTimeout` at most.
    func stop() {
        let waiting = monitor.withLock { state in
            state.isStopping = true
            defer { (state.waiting, state.taken) = ([], 0) }
            return state.waiting.dropFirst(state.taken)
        }
        monitor.broadcast()
        for job in waiting { job.completion(.failure(.interrupted)) }
        _ = monitor.wait(until: SystemClock().now() + settings.closeTimeout) { $0.running == 0 ? true : nil }
    }
}
