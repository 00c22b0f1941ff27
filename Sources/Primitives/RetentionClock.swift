/// What time retention takes it to be. A wall clock that is hours ahead for a while would make things too old that are
/// not, and what retention removed does not come back when somebody sets the clock right. So a step ahead is believed
/// only when it has stood for `trustAfter`; a step back at once, since it only keeps things longer. A value.
public struct RetentionClock {
    public static let trustAfter = Duration.seconds(3600)
    /// From one look to the next the wall clock may gain this: it is set right in small steps all the time.
    public static let slackMs: Int64 = 60_000

    /// The last time that was believed, and when.
    private var believed: (wallMs: Int64, at: MonotonicInstant)
    private var aheadSince: MonotonicInstant?

    public init(_ clock: any TimeSource) { believed = (clock.wallMilliseconds(), clock.now()) }

    /// Milliseconds since 1970 UTC.
    public mutating func wallMilliseconds(_ clock: any TimeSource) -> Int64 {
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
