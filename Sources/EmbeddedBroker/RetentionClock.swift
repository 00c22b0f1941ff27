import Primitives

/// What time retention takes it to be. A wall clock that is hours ahead for a while would make records too old that are
/// not, and what retention removed does not come back when somebody sets the clock right. So a step ahead is believed
/// only when it has stood for `trustAfter`; a step back at once, since it only keeps records longer. A value of the
/// broker's writer thread.
struct RetentionClock {
    static let trustAfter = Duration.seconds(3600)
    /// From one look to the next the wall clock may gain this: it is set right in small steps all the time.
    static let slackMs: Int64 = 60_000

    /// The last time that was believed, and when.
    private var believed: (wallMs: Int64, at: MonotonicInstant)
    private var aheadSince: MonotonicInstant?

    init(_ clock: any TimeSource) { believed = (clock.wallMilliseconds(), clock.now()) }

    /// Milliseconds since 1970 UTC.
    mutating func wallMilliseconds(_ clock: any TimeSource) -> Int64 {
        let (now, wallMs) = (clock.now(), clock.wallMilliseconds())
        let expected = believed.wallMs + (now - believed.at).wholeMilliseconds
        if wallMs > expected + Self.slackMs {
            let since = aheadSince ?? now
            aheadSince = since
            guard now - since >= Self.trustAfter else { return expected }
        }
        aheadSince = nil
        believed = (wallMs, now)
        return wallMs
    }
}
