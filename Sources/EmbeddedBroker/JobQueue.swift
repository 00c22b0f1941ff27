import Broker
import Primitives

/// Work for one of the broker's threads. Exactly one of the two is called: what `run` returned (after the commit, where
/// there is one), or `fail`.
struct Job<Context>: Sendable {
    let run: @Sendable (Context) throws(JobFailure) -> @Sendable () -> Void
    let fail: @Sendable (BrokerError) -> Void

    init<Answer: Sendable>(
        completion: @escaping @Sendable (Result<Answer, BrokerError>) -> Void,
        _ body: @escaping @Sendable (Context) throws(JobFailure) -> Answer
    ) {
        run = { (context) throws(JobFailure) in
            let answer = try body(context)
            return { completion(.success(answer)) }
        }
        fail = { completion(.failure($0)) }
    }
}

/// A bounded queue with one thread at its end.
final class JobQueue<Context>: Sendable {
    private struct State {
        var jobs: [Job<Context>] = []
        var stopped = false
    }

    private let monitor = Monitor(State())
    private let jobsMax: Int

    init(jobsMax: Int) { self.jobsMax = jobsMax }

    /// - Parameter limited: false for callers that have at most one job each (lanes, retention).
    ///
    /// A job beyond the limit is refused on the queue's thread like any other answer, as the protocols ask for. Such a
    /// refusal holds no payload; how many there are is bounded by the callers' own limits, each waits for its answer.
    /// After `stop` there is no thread: the refusal comes on the caller's.
    func submit(_ job: Job<Context>, limited: Bool = true) {
        let (accepted, isFull) = monitor.withLock { state in
            if state.stopped { return (false, false) }
            let isFull = limited && state.jobs.count >= jobsMax
            if isFull {
                let (queued, fail) = (state.jobs.count, job.fail)
                state.jobs.append(
                    Job<Context>(completion: { (result: Result<Void, BrokerError>) in
                        if case .failure(let error) = result { fail(error) }
                    }) { (_) throws(JobFailure) in throw .refused(.busy(queued)) })
            } else {
                state.jobs.append(job)
            }
            return (true, isFull)
        }
        if isFull { Limit.brokerJobs.reached() }
        if accepted { monitor.signal() } else { job.fail(.closed) }
    }

    /// Waits for jobs. - Returns: all that are queued; nil after `stop`.
    func takeAll() -> [Job<Context>]? {
        let taken = monitor.wait { state -> (jobs: [Job<Context>], stopped: Bool)? in
            guard state.stopped || !state.jobs.isEmpty else { return nil }
            defer { state.jobs = [] }
            return (state.jobs, state.stopped)
        }
        guard let taken else { return nil }
        if !taken.stopped { return taken.jobs }
        for job in taken.jobs { job.fail(.closed) }
        return nil
    }

    var depth: Int { monitor.withLock { $0.jobs.count } }

    /// What is still queued fails as `closed`.
    func stop() {
        monitor.withLock { $0.stopped = true }
        monitor.broadcast()
    }

    /// Runs `job` and waits for its answer. Never on the queue's own thread.
    func wait<Answer: Sendable>(
        _ body: @escaping @Sendable (Context) throws(JobFailure) -> Answer
    ) throws(BrokerError) -> Answer {
        let reply = Monitor<Result<Answer, BrokerError>?>(nil)
        submit(
            Job<Context>(
                completion: { result in
                    reply.withLock { $0 = result }
                    reply.broadcast()
                }, body), limited: false)
        guard let result = reply.wait(for: { $0 }) else { throw .closed }
        return try result.get()
    }
}

/// Carries what only one thread may touch to that thread.
// SAFETY: the value goes in before the thread starts and is taken out once, by that thread.
final class Handed<Value>: @unchecked Sendable {
    private var value: Value?

    init(_ value: Value) { self.value = value }

    func take() -> Value {
        guard let value else { preconditionFailure("taken twice") }
        self.value = nil
        return value
    }
}
