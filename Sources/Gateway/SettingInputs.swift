import Glibc

/// Everything that settings come from: what stands later in this list goes over what stands before it.
///
/// 1. the defaults
/// 2. a YAML file
/// 3. the environment, `POSTRIDER_…`
/// 4. flags
public struct SettingInputs: Sendable {
    /// `key=value`, and the flag that says it.
    public struct Assignment: Sendable {
        public var flag: String
        public var text: String

        public init(flag: String, _ text: String) {
            self.flag = flag
            self.text = text
        }
    }

    /// The path of the YAML file; nil: that of `POSTRIDER_CONFIG`, and without it none.
    public var file: String?
    public var environment: [String: String]
    /// In their order: the last one of a setting counts.
    public var assignments: [Assignment]

    /// - Parameter environment: the process's own, if nothing else is said.
    public init(
        file: String? = nil, environment: [String: String] = EnvironmentNames.ofProcess(),
        assignments: [Assignment] = []
    ) {
        self.file = file
        self.environment = environment
        self.assignments = assignments
    }

    /// Reads them, secrets in files included, and checks that they fit together. May be called again: files are read
    /// again.
    ///
    /// - Throws: `several` with everything that is wrong.
    public func settings() throws(SettingsError) -> Settings {
        var collector = SettingCollector()
        if let file {
            collector.read(file: file, named: "--config")
        } else if let path = environment[EnvironmentNames.file], !path.isEmpty {
            collector.read(file: path, named: EnvironmentNames.file)
        }
        collector.read(environment: environment)
        for assignment in assignments { collector.take(assignment) }
        return try collector.finish()
    }
}

/// Takes settings over one by one, and keeps what is wrong instead of stopping at it.
struct SettingCollector {
    private(set) var settings = Settings()
    private var problems: [SettingProblem] = []
    /// Their value is not what somebody wanted.
    private var failed: Set<String> = []

    mutating func take(_ name: String, _ value: String, from source: SettingSource) {
        do throws(SettingsError) {
            try settings.set(name, to: value, from: source)
        } catch {
            note(error, key: name, from: source)
        }
    }

    mutating func take(_ assignment: SettingInputs.Assignment) {
        let source = SettingSource.flag(assignment.flag)
        do throws(SettingsError) {
            try settings.set(assignment.text, from: source)
        } catch {
            if case .noValue = error { return note(error, key: nil, from: nil) }
            note(error, key: assignment.text.split(separator: "=").first.map { String($0) }, from: source)
        }
    }

    mutating func note(_ error: SettingsError, key: String?, from source: SettingSource?) {
        problems.append(SettingProblem(key: key, source: source, error: error))
        if let key { failed.insert(key) }
    }

    mutating func warn(_ text: String) { settings.warnings.append(text) }

    func finish() throws(SettingsError) -> Settings {
        let all = problems + settings.contradictions(without: failed)
        if !all.isEmpty { throw .several(all, warnings: settings.warnings) }
        return settings
    }

    var problemCount: Int { problems.count }

    /// By line and column, those from the given one on: all of one file.
    mutating func sortProblems(from first: Int) {
        func place(_ problem: SettingProblem) -> (Int, Int) {
            if case .file(_, let line, let column) = problem.source { (line, column) } else { (0, 0) }
        }
        problems[first...].sort { place($0) < place($1) }
    }
}
