import Broker
import CoreMetrics
import Primitives

/// Administrative calls and the few threads that make them: a call blocks its thread until Kafka answers, and one about
/// a broker that hangs must not hold up all others.
final class AdminQueue: Sendable {
    private struct Job: Sendable {
        let run: @Sendable (_ deadline: MonotonicInstant) -> Void
        let fail: @Sendable (BrokerError) -> Void
        let deadline: MonotonicInstant
    }

    private struct State {
        var jobs: [Job] = []
        var running = 0
        var isStopping = false
    }

    /// Calls made at one time.
    private static let threads = 2

    private let monitor = Monitor(State())
    private let jobsMax: Int
    private let timeout: Duration
    private let clock: any TimeSource
    private let refused = Counter(label: "postrider_kafka_admin_calls_refused_total")
    private let failed = Counter(label: "postrider_kafka_admin_calls_failed_total")

    init(jobsMax: Int, timeout: Duration, clock: any TimeSource) {
        self.jobsMax = jobsMax
        self.timeout = timeout
        self.clock = clock
        let monitor = monitor
        monitor.withLock { $0.running = Self.threads }
        for number in 0..<Self.threads {
            // Detached: one that hangs in a call ends by itself, after `stop`.
            _ = WorkerThread(name: "kafka-admin-\(number)") { Self.run(monitor, clock) }
        }
    }

    /// Any thread. The completion comes on one of the queue's threads; on the caller's when it is full or stopped.
    ///
    /// - Parameter body: blocks no longer than until its deadline, `timeout` after this call.
    func submit<Answer: Sendable>(
        completion: @escaping @Sendable (Result<Answer, BrokerError>) -> Void,
        _ body: @escaping @Sendable (_ deadline: MonotonicInstant) throws(BrokerError) -> Answer
    ) {
        let failed = failed
        let job = Job(
            run: { deadline in
                let answer: Answer
                do throws(BrokerError) {
                    answer = try body(deadline)
                } catch {
                    failed.increment()
                    return completion(.failure(error))
                }
                completion(.success(answer))
            }, fail: { completion(.failure($0)) }, deadline: clock.now() + timeout)
        let (refusal, isFull) = monitor.withLock { state -> (BrokerError?, Bool) in
            if state.isStopping { return (.adminClosed, false) }
            if state.jobs.count >= jobsMax { return (.adminBusy(state.jobs.count), true) }
            state.jobs.append(job)
            return (nil, false)
        }
        // All: some of the threads may be waiting for something else.
        guard let refusal else { return monitor.broadcast() }
        refused.increment()
        if isFull { Limit.kafkaAdminCalls.reached() }
        completion(.failure(refusal))
    }

    private static func run(_ monitor: Monitor<State>, _ clock: any TimeSource) {
        while true {
            let job = monitor.wait { state -> Job?? in
                if state.isStopping { return .some(nil) }
                return state.jobs.isEmpty ? nil : .some(state.jobs.removeFirst())
            }
            guard let job, let job else { break }
            if clock.now() < job.deadline {
                job.run(job.deadline)
            } else {
                job.fail(
                    BrokerError(.retriable, code: "timed_out", detail: "administrative calls before it took too long"))
            }
        }
        monitor.withLock { $0.running -= 1 }
        monitor.broadcast()
    }

    /// Lets a call wait for something outside. Ends early when the queue stops.
    func pause(until deadline: MonotonicInstant) {
        _ = monitor.wait(until: deadline) { $0.isStopping ? true : nil }
    }

    /// What waits fails. Blocks until the calls in progress are over, or the deadline: then they end by themselves.
    ///
    /// - Returns: whether all of them are over.
    func stop(until deadline: MonotonicInstant) -> Bool {
        let waiting = monitor.withLock { state in
            state.isStopping = true
            defer { state.jobs = [] }
            return state.jobs
        }
        monitor.broadcast()
        for job in waiting { job.fail(.adminClosed) }
        return monitor.wait(until: deadline) { $0.running == 0 ? true : nil } ?? false
    }
}
