import Journal
import Primitives

/// When a request that was refused for a backlog may be taken.
enum DrainEstimate {
    /// Bounds of what a client is told: past the longest, things may well be otherwise.
    static let secondsRange = 1...300

    /// Seconds until so many records are settled at this rate; nil where the rate is not known.
    static func seconds(records: Double, perSecond: Double?) -> Int? {
        guard let perSecond, perSecond > 0, records.isFinite else { return nil }
        let seconds = min(max(records / perSecond, 0), Double(secondsRange.upperBound))
        return max(secondsRange.lowerBound, Int(seconds.rounded(.up)))
    }

    /// Up to a quarter later, so that not all who were refused come back at the same moment.
    static func spread(_ seconds: Int, using random: inout some RandomNumberGenerator) -> Int {
        min(secondsRange.upperBound, seconds + Int.random(in: 0...max(1, seconds / 4), using: &random))
    }
}

extension Spool {
    /// Seconds after which the backlog that a request was refused for may be gone, by how fast the lanes settle records
    /// now; nil for other refusals, and as long as nothing is known. Any thread; never blocks.
    public func retryAfterSeconds(_ refusal: SpoolRefusal) -> Int? {
        let now = clock.now()
        let seconds: Int?
        switch refusal {
        case .topicBacklog(_, let lane):
            // All that is parked of the lane has to go.
            let backlog = backlogs[lane]
            seconds = DrainEstimate.seconds(records: Double(backlog.records), perSecond: backlog.drainRate(now))
        case .quota(let bytesMax):
            // Space comes back by segments.
            let used = usedBytes
            let excess = Double(max(0, used - bytesMax) + Int64(settings.journal.segmentBytes))
            let records = backlogs.reduce(0) { $0 + $1.records }
            let rate = backlogs.reduce(0.0) { $0 + ($1.drainRate(now) ?? 0) }
            let share = used > 0 ? min(1, excess / Double(used)) : 0
            seconds = DrainEstimate.seconds(records: Double(records) * share, perSecond: rate)
        case .laneDamaged, .closed, .noSpace, .stalled, .failed, .queueFull, .tooLarge, .stopping: seconds = nil
        }
        var random = SystemRandomNumberGenerator()
        return seconds.map { DrainEstimate.spread($0, using: &random) }
    }
}
