import Glibc
public import Logging
public import Primitives

/// Where log lines go: each call gets one whole line. Any thread.
public protocol LogSink: Sendable {
    func write(_ line: [UInt8])
    /// Whether a line of that kind is to be written, or only counted.
    func admits(_ kind: LogKind) -> Bool
}

extension LogSink {
    public func admits(_ kind: LogKind) -> Bool { true }
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

/// swift-log's backend. A value; handlers of one process share the control and the sink.
public struct StderrLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let control: LogControl
    private let sink: any LogSink
    private let clock: any TimeSource
    /// Of this logger alone.
    private var ownLevel: Logger.Level?

    /// The control's as it is now, unless one was set for this logger.
    public var logLevel: Logger.Level {
        get { ownLevel ?? control.level }
        set { ownLevel = newValue }
    }

    /// - Parameter label: names the part of the gateway, for example `postrider.journal`.
    public init(
        label: String, control: LogControl, sink: any LogSink = StderrSink(), clock: any TimeSource = SystemClock()
    ) {
        self.label = label
        self.control = control
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
        let message = event.message.description
        let kind = LogKind(label: label, level: event.level, message: message, code: all["code"]?.description)
        guard sink.admits(kind) else { return }
        sink.write(control.line(event.level, label, message, all, wallMs: clock.wallMilliseconds()))
    }
}
