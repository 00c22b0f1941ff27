import Primitives

/// The clock that keys age by. While the process lives it goes with the monotonic clock, so that no step of the wall
/// clock makes a key older or younger than it is; over a restart it gains what the wall clock gained since the last
/// save, and never goes back. It begins as the wall clock.
struct RequestClock: Sendable {
    private let source: any TimeSource
    private let start: (ms: Int64, at: MonotonicInstant)

    /// - Parameter ms: since 1970, now.
    init(_ source: any TimeSource, ms: Int64) {
        self.source = source
        start = (ms, source.now())
    }

    /// Since 1970.
    var milliseconds: Int64 { start.ms + (source.now() - start.at).wholeMilliseconds }

    /// Since 1970.
    var seconds: UInt32 { Self.seconds(milliseconds) }

    /// Of this clock and the wall clock, at one moment: neither was set, nor the thread held up, between the two looks.
    var times: (clockMs: Int64, wallMs: Int64) {
        var wallMs = source.wallMilliseconds()
        var clockMs = milliseconds
        for _ in 0..<Self.looksMax {
            let laterMs = source.wallMilliseconds()
            if (wallMs...wallMs + Self.momentMs).contains(laterMs) { break }
            (wallMs, clockMs) = (laterMs, milliseconds)
        }
        return (clockMs, wallMs)
    }

    private static let looksMax = 8
    private static let momentMs: Int64 = 100

    static func seconds(_ milliseconds: Int64) -> UInt32 { UInt32(clamping: milliseconds / 1000) }
}
