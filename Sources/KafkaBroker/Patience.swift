import Broker
import Primitives

/// Tells calls that wait for the cluster to end soon. Any thread may set it and look at it.
final class Interruption: Sendable {
    private let flag = Lock(false)
    private let parent: Interruption?

    /// - Parameter parent: interrupts this one too.
    init(parent: Interruption? = nil) { self.parent = parent }

    func interrupt() { flag.withLock { $0 = true } }

    var isSet: Bool { flag.withLock { $0 } || parent?.isSet ?? false }
}

/// How long waiting for the cluster may take. librdkafka's blocking calls cannot be cancelled: each is made with a
/// short time-out, over and over, so that an interruption is seen between two.
struct Patience {
    /// Longest time for which an interruption is not seen, of calls that do nothing but wait.
    static let slice = Duration.milliseconds(100)
    /// The same, of calls that send a request each time.
    static let requestSlice = Duration.seconds(1)

    let deadline: MonotonicInstant
    private let interruption: Interruption

    init(_ limit: Duration, _ interruption: Interruption) {
        deadline = SystemClock().now() + limit
        self.interruption = interruption
    }

    /// - Returns: the time-out of the next try in milliseconds, from 1; nil when there is no time left.
    /// - Throws: retriable, when interrupted.
    func next(_ slice: Duration = Self.slice) throws(BrokerError) -> Int32? {
        if interruption.isSet { throw .interrupted }
        let left = deadline - SystemClock().now()
        guard left > .zero else { return nil }
        return Int32(clamping: max(1, min(left, slice).wholeMilliseconds))
    }
}

extension BrokerError {
    static let interrupted = BrokerError(.retriable, code: "interrupted", detail: "the process stops")
}
