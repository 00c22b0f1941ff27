import CoreMetrics
import Logging
import Primitives

/// Log lines on their way out, in memory and within a bound: whoever logs never waits for standard error, which may be
/// a pipe that nobody reads or a file on a disk that hangs. What finds no room is dropped and counted
/// (`postrider_log_lines_dropped_total`); when lines get out again, one says how many were. Lines that repeat each
/// other are counted instead of written (`RepeatTable`, `postrider_log_lines_suppressed_total`).
///
/// Life: one thread, which writes as long as this is held; `flush` before the process ends. Any thread may call.
public final class LogBuffer: LogSink {
    /// Of the lines that wait; about 5,000 of them.
    public static let bytesMax = 1 << 20

    private struct State {
        var lines: [[UInt8]] = []
        var bytes = 0
        /// Since the thread looked last.
        var dropped = 0
        var repeats: RepeatTable
        var isWriting = false
        var isFlushing = false
        var isEnding = false
    }

    private struct Work {
        var lines: [[UInt8]]
        var dropped: Int
        var repeats: [RepeatTable.Summary]
    }

    private enum Step {
        case write(Work)
        /// Repetitions are due at another time than was waited for.
        case again
        case end
    }

    /// What all lines obey; may be changed at any time.
    public let control: LogControl

    private let bytesMax: Int
    private let state: Monitor<State>
    private let droppedLines = Counter(label: "postrider_log_lines_dropped_total")
    private let suppressedLines = Counter(label: "postrider_log_lines_suppressed_total")

    private static let label = "postrider.log"

    /// Metrics must have been bootstrapped.
    ///
    /// - Parameters:
    ///   - base: where lines go; may block for ever.
    ///   - repeatPeriod: for which repetitions are counted; another one only in tests.
    public init(
        to base: any LogSink, control: LogControl, bytesMax: Int = LogBuffer.bytesMax, repeatPeriod: Duration? = nil
    ) {
        self.bytesMax = bytesMax
        self.control = control
        let state = Monitor(State(repeats: RepeatTable(period: repeatPeriod ?? RepeatTable.period)))
        self.state = state
        // Never joined: it may be in a write that never returns.
        _ = WorkerThread(name: "log") {
            while let work = Self.take(state) {
                for line in work.lines { base.write(line) }
                for line in Self.ownLines(work, control) { base.write(line) }
            }
        }
    }

    deinit {
        state.withLock { $0.isEnding = true }
        state.broadcast()
    }

    /// - Returns: nil at the end.
    private static func take(_ state: Monitor<State>) -> Work? {
        state.withLock { $0.isWriting = false }
        state.broadcast()
        while true {
            let due = state.withLock { $0.repeats.nextDue }
            let step = state.wait(until: due) { state -> Step? in
                let repeats = state.repeats.takeDue(now: SystemClock().now(), everything: state.isFlushing)
                if state.lines.isEmpty, state.dropped == 0, repeats.isEmpty {
                    if state.isEnding { return .end }
                    return state.repeats.nextDue == due ? nil : .again
                }
                defer {
                    state.lines = []
                    state.bytes = 0
                    state.dropped = 0
                    state.isWriting = true
                }
                return .write(Work(lines: state.lines, dropped: state.dropped, repeats: repeats))
            }
            switch step {
            case .write(let work): return work
            case .end: return nil
            case .again, nil: continue
            }
        }
    }

    /// What is to be said about lines that were not written.
    private static func ownLines(_ work: Work, _ control: LogControl) -> [[UInt8]] {
        let wallMs = SystemClock().wallMilliseconds()
        var lines = work.repeats.map { summary in
            var metadata: Logger.Metadata = ["repeated": .stringConvertible(summary.repeated)]
            if let code = summary.kind.code { metadata["code"] = "\(code)" }
            return control.line(
                summary.kind.level, summary.kind.label, summary.kind.message, metadata, wallMs: wallMs)
        }
        if work.dropped > 0, control.level <= .warning {
            let metadata: Logger.Metadata = ["lines": .stringConvertible(work.dropped)]
            lines.append(control.line(.warning, label, "log lines were dropped", metadata, wallMs: wallMs))
        }
        return lines
    }

    public func admits(_ kind: LogKind) -> Bool {
        guard let linesMax = control.linesMax(kind) else { return true }
        let now = SystemClock().now()
        let admission = state.withLock { $0.repeats.admit(kind, linesMax: linesMax, now: now) }
        if admission == .write { return true }
        suppressedLines.increment()
        if admission == .suppressFirst { state.broadcast() }
        return false
    }

    public func write(_ line: [UInt8]) {
        let isKept = state.withLock { state in
            guard state.bytes + line.count <= bytesMax else {
                state.dropped += 1
                return false
            }
            state.lines.append(line)
            state.bytes += line.count
            return true
        }
        if isKept { state.broadcast() } else { droppedLines.increment() }
    }

    /// Waits until everything written so far is out, and the number of repetitions is told.
    ///
    /// - Returns: false when that takes longer than `patience`.
    @discardableResult
    public func flush(within patience: Duration) -> Bool {
        state.withLock { $0.isFlushing = true }
        state.broadcast()
        defer { state.withLock { $0.isFlushing = false } }
        return state.wait(until: SystemClock().now() + patience) { state in
            let isOut = state.lines.isEmpty && state.dropped == 0 && !state.isWriting
            return isOut && state.repeats.nextDue == nil ? true : nil
        } ?? false
    }
}
