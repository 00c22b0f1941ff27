public import Logging
import Primitives

/// What makes two log lines repetitions of each other. Messages are static texts; what differs is metadata.
public struct LogKind: Hashable, Sendable {
    public var label: String
    public var level: Logger.Level
    public var message: String
    /// Of the metadata; nil where there is none. Two codes are two faults.
    public var code: String?
}

/// Which lines that repeat each other are written: of each kind the first few of a period. The others are counted, and
/// told by one line when the period is over. A pure value.
struct RepeatTable {
    static let period = Duration.seconds(10)
    /// Kinds counted at one time. The gateway has some hundred; what finds no room is written.
    static let kindsMax = 512

    enum Admission: Equatable {
        case write
        case suppress
        /// The first of its period: `nextDue` may have changed.
        case suppressFirst
    }

    struct Summary: Equatable {
        var kind: LogKind
        /// Lines that were not written.
        var repeated: Int
    }

    private struct Window {
        var end: MonotonicInstant
        var written = 0
        var suppressed = 0
        /// When the suppressed lines are to be told; nil: there are none.
        var due: MonotonicInstant?
    }

    private let period: Duration
    private var windows: [LogKind: Window] = [:]
    /// The earliest time at which `takeDue` has something.
    private(set) var nextDue: MonotonicInstant?

    init(period: Duration = RepeatTable.period) { self.period = period }

    mutating func admit(_ kind: LogKind, linesMax: Int, now: MonotonicInstant) -> Admission {
        var window = windows[kind] ?? Window(end: now + period)
        if window.end <= now {
            // What was suppressed and not told yet stays due.
            window.end = now + period
            window.written = 0
        }
        if window.written < linesMax {
            window.written += 1
            if windows[kind] != nil || hasRoom(now) { windows[kind] = window }
            return .write
        }
        window.suppressed += 1
        let isFirst = window.due == nil
        if isFirst {
            window.due = window.end
            nextDue = nextDue.map { min($0, window.end) } ?? window.end
        }
        windows[kind] = window
        return isFirst ? .suppressFirst : .suppress
    }

    private mutating func hasRoom(_ now: MonotonicInstant) -> Bool {
        if windows.count >= Self.kindsMax { windows = windows.filter { $0.value.end > now || $0.value.due != nil } }
        return windows.count < Self.kindsMax
    }

    /// What is to be told now. - Parameter everything: also of periods that are not over, before the process ends.
    mutating func takeDue(now: MonotonicInstant, everything: Bool = false) -> [Summary] {
        guard let earliest = nextDue, everything || earliest <= now else { return [] }
        var summaries: [Summary] = []
        nextDue = nil
        for (kind, window) in windows {
            guard let due = window.due else { continue }
            if everything || due <= now {
                summaries.append(Summary(kind: kind, repeated: window.suppressed))
                windows[kind]?.suppressed = 0
                windows[kind]?.due = nil
            } else {
                nextDue = nextDue.map { min($0, due) } ?? due
            }
        }
        return summaries.sorted { ($0.kind.label, $0.kind.message) < ($1.kind.label, $1.kind.message) }
    }
}
