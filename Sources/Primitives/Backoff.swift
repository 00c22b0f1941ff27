/// Exponential back-off with full jitter over the upper half: each delay lies in `[base/2, base]`, and base doubles up
/// to the cap. A pure value; the owner sleeps.
public struct Backoff: Sendable {
    public let initial: Duration
    public let cap: Duration
    private var next: Duration

    public init(initial: Duration, cap: Duration) {
        precondition(initial > .zero && initial <= cap)
        self.initial = initial
        self.cap = cap
        next = initial
    }

    public mutating func nextDelay(using generator: inout some RandomNumberGenerator) -> Duration {
        let base = next.wholeNanoseconds
        next = min(cap, next * 2)
        return .nanoseconds(Int64.random(in: base / 2...base, using: &generator))
    }

    public mutating func nextDelay() -> Duration {
        var generator = SystemRandomNumberGenerator()
        return nextDelay(using: &generator)
    }

    /// Whether one of many failures in a row is worth a line of a log: the first, the second, the fourth and so on.
    ///
    /// - Parameter inARow: this one included.
    public static func isTold(_ inARow: Int) -> Bool { inARow & (inARow - 1) == 0 }

    /// After a success.
    public mutating func reset() { next = initial }
}
