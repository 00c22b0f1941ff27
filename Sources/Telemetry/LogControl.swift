import Glibc
public import Logging
import Primitives
import Synchronization

/// How a log is written.
public struct LogOptions: Hashable, Sendable {
    /// The least severe level that is written.
    public var level: Logger.Level
    /// nil: text where standard error is a terminal, else JSON.
    public var format: LogFormat?
    /// Lines of one kind (`LogKind`) within `RepeatTable.period`; 0: no limit.
    public var repeatsMax: Int
    /// Loggers whose lines are never counted as repetitions.
    public var unlimited: Set<String>

    public init(
        level: Logger.Level = .info, format: LogFormat? = nil, repeatsMax: Int = LogOptions.repeatsMaxDefault,
        unlimited: Set<String> = []
    ) {
        self.level = level
        self.format = format
        self.repeatsMax = repeatsMax
        self.unlimited = unlimited
    }

    public static let repeatsMaxDefault = 10
}

/// What the handlers of a process share, and what can change while it runs. Any thread may call.
public final class LogControl: Sendable {
    /// Of the level in `Logger.Level.allCases`: looked at by every call that would log.
    private let severity: Atomic<Int>
    private let current: Lock<LogOptions>
    private let isTerminal: Bool
    private let isColored: Bool

    private static let levels = Logger.Level.allCases

    /// - Parameters:
    ///   - isTerminal: nil asks whether standard error is one.
    ///   - environment: a variable's value. `NO_COLOR` (<https://no-color.org>), when not empty, and `TERM=dumb` turn
    ///     colours off.
    public init(
        _ options: LogOptions = LogOptions(), isTerminal: Bool? = nil,
        environment: (String) -> String? = LogControl.environment
    ) {
        self.isTerminal = isTerminal ?? (isatty(STDERR_FILENO) == 1)
        isColored = self.isTerminal && (environment("NO_COLOR") ?? "").isEmpty && environment("TERM") != "dumb"
        severity = Atomic(Self.index(options.level))
        current = Lock(options)
    }

    /// A variable of the process's environment.
    public static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    public var level: Logger.Level { Self.levels[severity.load(ordering: .relaxed)] }

    public var options: LogOptions {
        get { current.withLock { $0 } }
        set {
            current.withLock { $0 = newValue }
            severity.store(Self.index(newValue.level), ordering: .relaxed)
        }
    }

    private static func index(_ level: Logger.Level) -> Int { levels.firstIndex(of: level) ?? 0 }

    /// How often a kind of line may be written within a period; nil: as often as it comes.
    func linesMax(_ kind: LogKind) -> Int? {
        guard kind.level < .critical else { return nil }
        let options = options
        guard options.repeatsMax > 0, !options.unlimited.contains(kind.label) else { return nil }
        return kind.level == .error ? options.repeatsMax * Self.errorFactor : options.repeatsMax
    }

    /// Errors are facts more often than they are noise.
    private static let errorFactor = 10

    /// - Parameter wallMs: since 1970 UTC.
    func line(
        _ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata, wallMs: Int64
    ) -> [UInt8] {
        let format = options.format ?? (isTerminal ? .text : .json)
        return LogLine(
            format: format, isColored: isColored, time: rfc3339(milliseconds: wallMs), level: level, label: label,
            message: message, metadata: metadata
        ).bytes
    }
}
