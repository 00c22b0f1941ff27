public import Primitives

/// What an answer to a request that may be repeated means. The rules are those of docs/CLIENTS.md.
public enum Verdict: Sendable {
    /// The gateway did it.
    case done(Answer)
    /// Nobody knows, or not now: the same again, not before `after`.
    case again(reason: String, after: Duration?)
    /// It did not, and will not.
    case refused(Problem)

    /// - Parameter result: an answer, or why there is none.
    public init(_ result: Result<Answer, ClientError>) {
        switch result {
        case .failure(let error):
            self = .again(reason: error.description, after: nil)
        case .success(let answer) where answer.isSuccess:
            self = .done(answer)
        case .success(let answer):
            let problem = answer.problem
            let isInFlight = answer.status == 409 && problem.code.hasSuffix("_in_flight")
            // A proxy that limits or has no gateway behind it just now is no refusal either.
            if problem.code == "records_dead_lettered" {
                // All of them are accepted; what became of them is another matter.
                self = .done(answer)
            } else if isInFlight || [408, 425, 429].contains(answer.status) || answer.status >= 500 {
                self = .again(reason: problem.description, after: answer.retryAfter)
            } else {
                self = .refused(problem)
            }
        }
    }
}

/// Sends a request until it is answered for good, with pauses: exponential with jitter, and at least `Retry-After`.
/// One thread at a time.
public final class Repeater {
    /// Between tries: as docs/CLIENTS.md says.
    public static let firstPause = Duration.milliseconds(100)
    public static let longestPause = Duration.seconds(5)

    private let transport: any Transport
    private let stop: StopFlag
    private let clock: any TimeSource
    /// Told of the first, second, fourth, … failure in a row.
    private let tell: (String) -> Void
    /// Failures of all requests.
    public private(set) var repetitions = 0

    public init(
        _ transport: any Transport, stop: StopFlag, clock: any TimeSource = SystemClock(),
        tell: @escaping (String) -> Void
    ) {
        self.transport = transport
        self.stop = stop
        self.clock = clock
        self.tell = tell
    }

    /// - Parameters:
    ///   - deadline: no try begins after it; nil: for ever.
    ///   - endsInTransfer: the stop flag ends a transfer that is under way, too; else its answer is still waited for.
    ///   - again: what else is worth another try.
    /// - Returns: the answer that says it is done.
    /// - Throws: `refused`; `gaveUp` at the deadline; `stopped`. After the latter two nobody knows whether it was done.
    public func send(
        _ request: Request, until deadline: MonotonicInstant?, endsInTransfer: Bool = false,
        again: (Problem) -> Bool = { _ in false }
    ) throws(ClientError) -> Answer {
        var backoff = Backoff(initial: Self.firstPause, cap: Self.longestPause)
        var failures = 0
        while true {
            let result: Result<Answer, ClientError>
            do throws(ClientError) {
                result = .success(try transport.send(request, stop: endsInTransfer ? stop : nil))
            } catch {
                if case .stopped = error { throw .stopped }
                result = .failure(error)
            }
            let reason: String
            let after: Duration?
            switch Verdict(result) {
            case .done(let answer): return answer
            case .refused(let problem):
                guard again(problem) else { throw .refused(problem) }
                (reason, after) = (problem.description, nil)
            case .again(let why, let pause): (reason, after) = (why, pause)
            }
            failures += 1
            repetitions += 1
            let pause = max(backoff.nextDelay(), after ?? .zero)
            if let deadline, clock.now() + pause >= deadline { throw .gaveUp("\(reason), \(failures) tries") }
            if Backoff.isTold(failures) { tell("\(reason); trying again (\(failures))") }
            if stop.wait(pause) { throw .stopped }
        }
    }
}
