/// How much a lane takes from the spool at once. A pure value.
///
/// Large batches are what makes exactly-once fast: their cost is the commit. So they double after each full hand-over
/// while more is waiting, and go back when nothing is. A broker that gives a hand-over up because it takes too long
/// gets half as much, down to one record, and more again after each success.
struct BatchSize {
    private let settings: ForwarderSettings
    /// Times the ordinary size.
    private var scale = 1
    /// After a time-out; nil: no such bound.
    private var recordsLimit: Int?

    init(_ settings: ForwarderSettings) { self.settings = settings }

    /// At least 1.
    var recordsMax: Int {
        let scaled = Self.scaled(settings.batchRecordsMax, scale, settings.drainRecordsMax)
        return max(1, min(scaled, recordsLimit ?? .max))
    }

    var bytesMax: Int { Self.scaled(settings.batchBytesMax, scale, settings.drainBytesMax) }

    private static func scaled(_ base: Int, _ scale: Int, _ most: Int) -> Int {
        let (product, overflow) = base.multipliedReportingOverflow(by: scale)
        return max(base, min(overflow ? .max : product, most))
    }

    /// - Parameter drains: everything that was taken went at once, and more is waiting.
    mutating func succeeded(drains: Bool) {
        if let limit = recordsLimit { recordsLimit = limit < settings.drainRecordsMax / 2 ? limit * 2 : nil }
        let isLargest = recordsMax >= settings.drainRecordsMax && bytesMax >= settings.drainBytesMax
        if drains, !isLargest { scale *= 2 }
    }

    /// The lane has read everything that there is.
    mutating func backlogIsGone() { scale = 1 }

    /// - Parameter tried: records of the hand-over that took too long.
    mutating func timedOut(tried: Int) {
        scale = 1
        recordsLimit = max(1, tried / 2)
    }
}
