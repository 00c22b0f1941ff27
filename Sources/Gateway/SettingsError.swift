/// Where a value stands.
public enum SettingSource: Hashable, Sendable, CustomStringConvertible {
    case builtIn
    /// Counted from 1.
    case file(String, line: Int, column: Int)
    case environment(variable: String)
    case flag(String)

    public var description: String {
        switch self {
        case .builtIn: "default"
        case .file(let path, let line, _): "\(path):\(line)"
        case .environment(let variable): variable
        case .flag(let flag): flag
        }
    }

    /// For errors, as compilers write it.
    var place: String {
        if case .file(_, _, let column) = self { "\(description):\(column)" } else { description }
    }
}

/// What is wrong with one setting, and where it stands.
public struct SettingProblem: Equatable, Sendable, CustomStringConvertible {
    /// The setting's name, where one is concerned.
    public var key: String?
    /// nil where none is known.
    public var source: SettingSource?
    public var error: SettingsError

    public var description: String { source.map { "\($0.place): \(error)" } ?? error.description }
}

/// A setting that cannot be taken, in words for whoever set it. Never with a value that may be a secret.
public enum SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
    case unknownKey(String, nearest: String)
    /// - `meant`: a value that was probably meant.
    case malformed(key: String, value: String, expected: String, meant: String? = nil)
    /// Does not fit together with others. `found` says what it is, and what they are.
    case contradiction(key: String, expected: String, found: String)
    case insecureListen(address: String)
    /// `--set` without `=`.
    case noValue(String)
    /// Two values in one file, or in the environment.
    case twice(key: String, first: String)
    /// A property of librdkafka that would break a promise, or has a setting of its own.
    case refusedProperty(String, reason: String)
    /// What librdkafka does not take, in its words, with the property's name.
    case properties(String)
    /// A file that was named, and what is wrong with it.
    case file(String, String)
    /// Everything that is wrong, in the order in which it was found; and what may be the reason, like a variable whose
    /// name means nothing.
    case several([SettingProblem], warnings: [String] = [])

    /// Lines of `several` that are shown.
    static let problemsShownMax = 20

    public var description: String {
        switch self {
        case .unknownKey(let key, let nearest): "there is no setting \(printable(key)); did you mean \(nearest)?"
        case .malformed(let key, let value, let expected, let meant):
            "\(key): \(expected) is expected, not \(printable(value))"
                + (meant.map { "; did you mean \($0)?" } ?? "")
        case .contradiction(let key, let expected, let found): "\(key): \(expected) is expected, \(found)"
        case .insecureListen(let address):
            "listening on \(address) lets everybody on the network in: there is no authentication yet. Listen on "
                + "127.0.0.1, or say --insecure-listen if something else protects this port"
        case .noValue(let text): "--set wants key=value, not \(printable(text))"
        case .twice(let key, let first): "\(key) is set twice, the first time by \(first)"
        case .refusedProperty(let name, let reason): "\(Settings.propertyPrefix)\(name) cannot be set: \(reason)"
        case .properties(let detail): detail
        case .file(let path, let problem): "\(path): \(problem)"
        case .several(let problems, let warnings):
            (Self.lines(of: problems) + warnings.prefix(Self.problemsShownMax).map { "warning: \($0)" })
                .joined(separator: "\n")
        }
    }

    private static func lines(of problems: [SettingProblem]) -> [String] {
        var lines = problems.prefix(problemsShownMax).map(\.description)
        if problems.count > problemsShownMax { lines.append("and \(problems.count - problemsShownMax) more") }
        return lines
    }
}

/// On one line of a terminal, and not endless.
///
/// - Parameter most: characters that are shown.
func printable(_ text: String, most: Int = 100) -> String {
    if text.isEmpty { return "nothing" }
    let clean = String(
        String.UnicodeScalarView(
            text.unicodeScalars.prefix(most).map { scalar in
                scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
                    ? "?" : scalar
            }))
    return text.unicodeScalars.count > most ? clean + "…" : clean
}
