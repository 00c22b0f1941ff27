import JSON
import KafkaBroker
import Logging

/// One setting as it holds.
public struct EffectiveSetting: Equatable, Sendable {
    public var name: String
    /// As `--set` takes it; `(secret)` for a secret.
    public var value: String
    public var source: SettingSource
    public var isSecret: Bool
}

extension Settings {
    static let maskedValue = "(secret)"

    /// Every setting as it holds, properties of librdkafka behind `broker.kafka`; secrets masked.
    public var effective: [EffectiveSetting] {
        let lastOfKafka = Self.kafkaKeys.last?.name
        return Self.keys.flatMap { key in
            let setting = EffectiveSetting(
                name: key.name, value: key.show(self), source: sources[key.name] ?? .builtIn, isSecret: false)
            return [setting] + (key.name == lastOfKafka ? effectiveProperties : [])
        }
    }

    private var effectiveProperties: [EffectiveSetting] {
        kafka.properties.sorted { $0.key < $1.key }
            .map { property, value in
                let name = Self.propertyPrefix + property
                let isSecret = kafka.isSecret(property)
                return EffectiveSetting(
                    name: name, value: isSecret ? Self.maskedValue : value, source: sources[name] ?? .builtIn,
                    isSecret: isSecret)
            }
    }

    /// What is not left at its default, for the log: each by its name, with where it stands; secrets masked.
    var logMetadata: Logger.Metadata {
        let changed = effective.filter { $0.source != .builtIn }
        return Dictionary(uniqueKeysWithValues: changed.map { ($0.name, "\($0.value) (\($0.source))") })
    }

    /// What `postrider config check` prints: `name=value`, and where it stands.
    ///
    /// - Parameter all: defaults, too.
    public func report(all: Bool) -> String {
        let shown = effective.filter { all || $0.source != .builtIn }
            .map { (text: "\($0.name)=\(printable($0.value, most: .max))", source: $0.source) }
        guard !shown.isEmpty else { return "Every setting has its default.\n" }
        let columnMax = 54
        let column = shown.map(\.text.count).filter { $0 <= columnMax }.max() ?? columnMax
        return shown.map { text, source in
            "\(text)\(String(repeating: " ", count: max(0, column - text.count)))  # \(source)\n"
        }
        .joined()
    }

    /// The same as JSON, on one line.
    public func reportJSON(all: Bool) -> String {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("valid")
            writer.bool(true)
            writer.key("settings")
            writer.array { writer in
                for setting in effective where all || setting.source != .builtIn {
                    writer.object { writer in
                        writer.key("name")
                        writer.string(setting.name)
                        writer.key("value")
                        writer.string(setting.value)
                        writer.key("secret")
                        writer.bool(setting.isSecret)
                        setting.source.write(to: &writer)
                    }
                }
            }
            writer.key("warnings")
            writer.array { writer in
                for warning in warnings { writer.string(warning) }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self) + "\n"
    }
}

extension SettingsError {
    /// What is wrong, each by itself.
    public var problems: [SettingProblem] {
        if case .several(let problems, _) = self { problems } else { [SettingProblem(error: self)] }
    }

    /// All that is wrong, as JSON on one line.
    public var reportJSON: String {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("valid")
            writer.bool(false)
            writer.key("errors")
            writer.array { writer in
                for problem in problems {
                    writer.object { writer in
                        writer.key("name")
                        if let key = problem.key { writer.string(key) } else { writer.null() }
                        writer.key("message")
                        writer.string(problem.error.description)
                        problem.source?.write(to: &writer)
                    }
                }
            }
            writer.key("warnings")
            writer.array { writer in
                guard case .several(_, let warnings) = self else { return }
                for warning in warnings { writer.string(warning) }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self) + "\n"
    }
}

extension SettingSource {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.key("source")
        switch self {
        case .builtIn: writer.string("default")
        case .file(let path, let line, let column):
            writer.string("file")
            writer.key("file")
            writer.string(path)
            writer.key("line")
            writer.integer(line)
            writer.key("column")
            writer.integer(column)
        case .environment(let variable):
            writer.string("environment")
            writer.key("variable")
            writer.string(variable)
        case .flag(let flag):
            writer.string("flag")
            writer.key("flag")
            writer.string(flag)
        }
    }
}
