import Primitives

/// The circuit breaker of a lane: how long it waits after a failure, and whether it then tries with one record. A pure
/// value; the lane sleeps.
///
/// It never gives up and never drops: it only spaces the tries, exponentially and jittered up to the cap. Half open is
/// the next try. Opening a sink writes a claim, which costs nothing and shows that the broker answers, but not that the
/// records' partitions can be written: so after failures in a row the first hand-over is a single record, and its
/// successors double. What cannot be written then costs one record a try, and everything before it gets through.
struct Breaker {
    /// As the gauge says it.
    enum State: Int {
        case closed = 0
        case halfOpen = 1
        case open = 2
    }

    /// So many failures in a row make the next hand-over a probe: one may be a lost answer and nothing more.
    static let probesAfter = 2

    private(set) var state = State.closed
    /// In a row.
    private(set) var failures = 0
    private var backoff: Backoff

    init(initial: Duration, cap: Duration) { backoff = Backoff(initial: initial, cap: cap) }

    var probes: Bool { failures >= Self.probesAfter }

    /// - Returns: how long to wait.
    mutating func failed() -> Duration {
        state = .open
        failures += 1
        return backoff.nextDelay()
    }

    /// The wait is over.
    mutating func tries() { state = .halfOpen }

    mutating func succeeded() {
        state = .closed
        failures = 0
        backoff.reset()
    }
}
