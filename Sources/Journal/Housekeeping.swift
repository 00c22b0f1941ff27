import Primitives

/// What the keeper is doing, for the watchdog; a value behind a lock.
struct Housekeeping {
    /// What it does now, and since when.
    private var step: (name: String, since: MonotonicInstant)?
    /// Whether that takes too long, and was told.
    private(set) var isStalled = false

    mutating func begins(_ name: String, at now: MonotonicInstant) { step = (name, now) }

    /// - Returns: whether it had stalled.
    mutating func ends() -> Bool {
        step = nil
        defer { isStalled = false }
        return isStalled
    }

    /// - Returns: the step that takes longer than the limit, once.
    mutating func stalls(at now: MonotonicInstant, limit: Duration) -> String? {
        guard let step, !isStalled, now - step.since > limit else { return nil }
        isStalled = true
        return step.name
    }
}
