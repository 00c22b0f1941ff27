import HTTPServer
import KafkaBroker
import Logging
import Primitives
import Telemetry

/// Reads the settings again while the gateway runs, and takes over those of the log. Any thread may call; `reload` may
/// block on the disk that holds the settings.
final class LogReload: Sendable {
    private struct State {
        var settings: Settings
        var gateway: Gateway?
        var isReading = false
        /// Somebody asked meanwhile: what is being read may be older than what he changed.
        var isAskedAgain = false
    }

    private let control: LogControl
    private let log: Logger
    private let state: Lock<State>

    /// - Parameters:
    ///   - settings: in force now.
    ///   - log: says what changed.
    init(_ settings: Settings, control: LogControl, log: Logger = Logger(label: "postrider.settings")) {
        self.control = control
        self.log = log
        state = Lock(State(settings: settings))
    }

    /// The gateway runs: it gets what was read since it began to start, and what will be.
    func attach(_ gateway: Gateway) {
        state.withLock { state in
            state.gateway = gateway
            gateway.requestLog = state.settings.http.requestLog
        }
    }

    /// One at a time: a call while one reads makes that one read once more.
    ///
    /// - Parameter read: all settings, as a start would have them.
    func reload(_ read: () throws(SettingsError) -> Settings) {
        let isFirst = state.withLock { state in
            if state.isReading { state.isAskedAgain = true }
            defer { state.isReading = true }
            return !state.isReading
        }
        guard isFirst else { return }
        repeat {
            do throws(SettingsError) {
                take(try read())
            } catch {
                log.error("the settings cannot be read, the old ones stay", metadata: ["error": "\(error)"])
            }
        } while isAskedAgain()
    }

    /// - Returns: false when the reading is over.
    private func isAskedAgain() -> Bool {
        state.withLock { state in
            state.isReading = state.isAskedAgain
            state.isAskedAgain = false
            return state.isReading
        }
    }

    private func take(_ new: Settings) {
        let old = state.withLock { state in
            defer {
                state.settings.log = new.log
                state.settings.http.requestLog = new.http.requestLog
                state.gateway?.requestLog = new.http.requestLog
            }
            return state.settings
        }
        let changed = Self.differences(old, new)
        let ofTheLog = changed.filter { $0.hasPrefix(Self.prefix) }
        // Told at the level of before or of now, whichever shows more.
        let options = new.logOptions
        if options.level < old.logOptions.level { control.options = options }
        var metadata: Logger.Metadata = [:]
        for key in Settings.keys where ofTheLog.contains(key.name) {
            metadata[key.name] = "\(key.show(old)) -> \(key.show(new))"
        }
        log.notice(ofTheLog.isEmpty ? "no setting of the log has changed" : "settings of the log", metadata: metadata)
        let others = changed.filter { !$0.hasPrefix(Self.prefix) }
        if !others.isEmpty {
            log.warning(
                "other settings have changed too, which the next start takes",
                metadata: ["settings": "\(others.joined(separator: ", "))"])
        }
        control.options = options
    }

    private static let prefix = "log."

    /// Names, never values: some are secrets.
    static func differences(_ old: Settings, _ new: Settings) -> [String] {
        var names = Settings.keys.filter { $0.show(old) != $0.show(new) }.map(\.name)
        if old.kafka.properties != new.kafka.properties { names.append("broker.kafka.properties") }
        return names
    }
}

extension Settings {
    /// What Telemetry needs of them.
    var logOptions: LogOptions {
        LogOptions(
            level: Logger.Level(rawValue: log.level.rawValue) ?? .info, format: log.format,
            repeatsMax: log.repeatsMax,
            // Who wants a line for each request gets it.
            unlimited: http.requestLog.kept == .all ? [HTTPServer.requestLogLabel] : [])
    }
}
