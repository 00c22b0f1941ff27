import Glibc
public import Logging
public import Primitives

/// Where log lines go: each call gets one whole line. Any thread.
public protocol LogSink: Sendable {
    func write(_ line: [UInt8])
}

/// Standard error: one write(2) a line, so that lines of several threads, and of several processes on one pipe or file,
/// do not run into each other.
public struct StderrSink: LogSink {
    private let descriptor: Int32

    /// - Parameter descriptor: for tests.
    public init(descriptor: Int32 = 2) { self.descriptor = descriptor }

    public func write(_ line: [UInt8]) {
        line.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
                if count > 0 {
                    // Short only on a full pipe or disk, or after a signal.
                    done += count
                } else if count == -1, errno == EINTR {
                    continue
                } else {
                    // There is nowhere left to say that the log is broken, and it must not stop the gateway.
                    return
                }
            }
        }
    }
}

/// swift-log's backend. A value; handlers of one process share the sink.
public struct StderrLogHandler: LogHandler {
    public var logLevel: Logger.Level
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let format: LogFormat
    private let sink: any LogSink
    private let clock: any TimeSource

    /// - Parameters:
    ///   - label: names the part of the gateway, for example `journal`.
    ///   - format: nil chooses `people` when standard error is a terminal, else `json`.
    public init(
        label: String, level: Logger.Level, format: LogFormat? = nil, sink: any LogSink = StderrSink(),
        clock: any TimeSource = SystemClock()
    ) {
        self.label = label
        self.logLevel = level
        self.format = format ?? (isatty(STDERR_FILENO) == 1 ? .people : .json)
        self.sink = sink
        self.clock = clock
    }

    public subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        // The nearest wins: the call's own, then the logger's, then the task's.
        var all = metadataProvider?.get() ?? [:]
        all.merge(metadata) { $1 }
        if let own = event.metadata { all.merge(own) { $1 } }
        if let error = event.error, all["error"] == nil { all["error"] = "\(error)" }
        let line = LogLine(
            format: format, time: rfc3339(milliseconds: clock.wallMilliseconds()), level: event.level, label: label,
            message: event.message.description, metadata: all)
        sink.write(line.bytes)
    }
}
