import Logging
import Primitives

/// A log that a test reads.
final class RecordingLog: Sendable {
    struct Line: Sendable {
        var level: Logger.Level
        var message: String
        /// Values as text.
        var metadata: [String: String]
    }

    let lines = Monitor<[Line]>([])

    init() {}

    var logger: Logger { Logger(label: "recording") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: RecordingLog
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata = [:]

        init(log: RecordingLog) { self.log = log }

        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }.mapValues(\.description)
            let line = Line(level: event.level, message: event.message.description, metadata: all)
            log.lines.withLock { $0.append(line) }
            log.lines.broadcast()
        }
    }
}
