import Glibc

/// A reading of a clock that never goes back. Only differences mean anything; not comparable across processes.
public struct MonotonicInstant: Comparable, Hashable, Sendable {
    public var nanoseconds: UInt64

    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// After every deadline.
    public static let distantFuture = MonotonicInstant(nanoseconds: UInt64(Int64.max))

    public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

    /// Saturates at both ends.
    public static func + (a: Self, b: Duration) -> Self {
        let delta = b.wholeNanoseconds
        if delta < 0 {
            let magnitude = delta.magnitude
            return Self(nanoseconds: a.nanoseconds > magnitude ? a.nanoseconds - magnitude : 0)
        }
        let (sum, overflow) = a.nanoseconds.addingReportingOverflow(UInt64(delta))
        return overflow || sum > distantFuture.nanoseconds ? distantFuture : Self(nanoseconds: sum)
    }

    public static func - (a: Self, b: Self) -> Duration {
        .nanoseconds(Int64(bitPattern: a.nanoseconds &- b.nanoseconds))
    }
}

extension Duration {
    /// Saturates at ±292 years.
    public var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, second) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return second ? (seconds < 0 ? .min : .max) : sum
    }

    /// Rounded towards zero.
    public var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }

    public var inSeconds: Double { Double(wholeNanoseconds) / 1e9 }
}

/// Where time comes from; tests pass their own. Any thread may call.
public protocol TimeSource: Sendable {
    /// For deadlines, leases and back-off (`CLOCK_MONOTONIC`).
    func now() -> MonotonicInstant
    /// Milliseconds since 1970 UTC, for record timestamps and epochs only: it may jump.
    func wallMilliseconds() -> Int64
}

/// The machine's clocks.
public struct SystemClock: TimeSource {
    public init() {}

    public func now() -> MonotonicInstant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicInstant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    public func wallMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
