import CoreMetrics
public import Logging
import Primitives

/// Log lines on their way out, in memory and within a bound: whoever logs never waits for standard error, which may be
/// a pipe that nobody reads or a file on a disk that hangs. What finds no room is dropped and counted
/// (`postrider_log_lines_dropped_total`); when lines get out again, one says how many were.
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
        var isWriting = false
        var isEnding = false
    }

    private enum Work {
        case write([[UInt8]], dropped: Int)
        case end
    }

    private let bytesMax: Int
    private let state = Monitor(State())
    private let droppedLines = Counter(label: "postrider_log_lines_dropped_total")

    /// Metrics must have been bootstrapped.
    ///
    /// - Parameters:
    ///   - base: where lines go; may block for ever.
    ///   - ownLog: writes to `base`, for what this has to say itself.
    public init(to base: any LogSink, ownLog: Logger, bytesMax: Int = LogBuffer.bytesMax) {
        self.bytesMax = bytesMax
        let state = state
        // Never joined: it may be in a write that never returns.
        _ = WorkerThread(name: "log") {
            while case .write(let lines, let dropped) = Self.take(state) {
                for line in lines { base.write(line) }
                if dropped > 0 { ownLog.warning("log lines were dropped", metadata: ["lines": "\(dropped)"]) }
            }
        }
    }

    deinit {
        state.withLock { $0.isEnding = true }
        state.broadcast()
    }

    private static func take(_ state: Monitor<State>) -> Work {
        state.withLock { $0.isWriting = false }
        state.broadcast()
        let work = state.wait { state -> Work? in
            if state.lines.isEmpty, state.dropped == 0 { return state.isEnding ? .end : nil }
            defer {
                state.lines = []
                state.bytes = 0
                state.dropped = 0
                state.isWriting = true
            }
            return .write(state.lines, dropped: state.dropped)
        }
        return work ?? .end
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

    /// Waits until everything written so far is out. - Returns: false when that takes longer than `patience`.
    @discardableResult
    public func flush(within patience: Duration) -> Bool {
        state.wait(until: SystemClock().now() + patience) { state in
            state.lines.isEmpty && state.dropped == 0 && !state.isWriting ? true : nil
        } ?? false
    }
}
