import KafkaBroker
import Yams

/// A YAML file with settings. Names are those of `Settings.keys`, nested or with dots; a list stands for its items with
/// commas between them.
///
/// ```yaml
/// spool:
///   bytes_max: 100GiB
/// broker:
///   kind: kafka
///   kafka:
///     bootstrap_servers: [kafka-1:9093, kafka-2:9093]
///     properties:
///       security.protocol: sasl_ssl
///       sasl.mechanisms: SCRAM-SHA-512
///       sasl.username: postrider
///       sasl.password_file: /run/secrets/kafka
/// ```
struct ConfigurationFile {
    static let bytesMax: Int64 = 1 << 20
    /// Settings in the file, and levels: aliases could make a small file large.
    static let settingsMax = 1_000
    static let depthMax = 16

    /// What the file says about one setting.
    struct Entry {
        var name: String
        var value: String
        var source: SettingSource
    }

    let path: String
    private(set) var entries: [Entry] = []
    /// What is no setting at all.
    private(set) var problems: [SettingProblem] = []

    /// - Parameter key: what named the file, for errors.
    /// - Throws: when it cannot be read, or is no YAML of a bounded size.
    init(path: String, named key: String) throws(SettingsError) {
        self.path = path
        let text = try readTextFile(path, key: key, bytesMax: Self.bytesMax)
        let root: Node?
        do {
            root = try compose(yaml: text)
        } catch {
            throw brokenYAML(error)
        }
        guard let root, !Self.isNothing(root) else { return }
        try read(root, [], source(root))
    }

    /// What is wrong with the YAML, and where. Its text is not shown: a password may stand there.
    private func brokenYAML(_ error: any Error) -> SettingsError {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            .several([SettingProblem(source: source(mark), error: .file("YAML", problem))])
        case .duplicatedKeysInMapping(let keys, let context):
            .several([
                SettingProblem(
                    source: source(context.mark), error: .file(keys.joined(separator: ", "), "it is there twice"))
            ])
        default: .file(path, "it is no YAML")
        }
    }

    private func source(_ mark: Mark) -> SettingSource { .file(path, line: mark.line, column: mark.column) }

    private func source(_ node: Node) -> SettingSource {
        node.mark.map { source($0) } ?? .file(path, line: 1, column: 1)
    }

    private static func isNothing(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    /// - Parameter named: where the name stands.
    private mutating func read(_ node: Node, _ names: [String], _ named: SettingSource) throws(SettingsError) {
        let name = names.joined(separator: ".")
        guard names.count <= Self.depthMax, entries.count + problems.count < Self.settingsMax else {
            throw .file(path, "more than \(Self.settingsMax) settings, or \(Self.depthMax) levels")
        }
        switch node {
        case .mapping(let mapping):
            for (key, value) in mapping {
                guard case .scalar(let scalar) = key else {
                    refuse(name, "plain text as a name", source(key))
                    continue
                }
                try read(value, names + [scalar.string], source(key))
            }
        case .scalar, .sequence:
            if Self.isSection(name) {
                if !Self.isNothing(node) { refuse(name, "a section with names and values", source(node)) }
            } else if let value = Self.text(of: node) {
                // A name that is unknown is found there.
                entries.append(Entry(name: name, value: value, source: isKnown(name) ? source(node) : named))
            } else {
                refuse(name, "a value, or a list of them,", source(node))
            }
        case .alias: refuse(name, "a value", source(node))
        }
    }

    private mutating func refuse(_ name: String, _ expected: String, _ source: SettingSource) {
        let name = name.isEmpty ? "the file" : name
        problems.append(
            // The value is not shown: it may be a secret in a wrong place.
            SettingProblem(
                key: name, source: source,
                error: .malformed(key: name, value: "something else", expected: expected)))
    }

    private func isKnown(_ name: String) -> Bool {
        guard name.hasPrefix(Settings.propertyPrefix) else { return Settings.keysByName[name] != nil }
        return PropertyPolicy.known.contains(
            String(Settings.canonicalName(name).dropFirst(Settings.propertyPrefix.count)))
    }

    /// Whether settings stand below this name; the empty name is that of the whole file.
    private static func isSection(_ name: String) -> Bool {
        let inside = name.isEmpty ? "" : name + "."
        return inside == Settings.propertyPrefix || Settings.keys.contains { $0.name.hasPrefix(inside) }
    }

    /// nil for what is neither a value nor a list of values.
    private static func text(of node: Node) -> String? {
        switch node {
        case .scalar(let scalar): return isNothing(node) ? "" : scalar.string
        case .sequence(let sequence):
            guard sequence.count <= settingsMax else { return nil }
            var items: [String] = []
            for item in sequence {
                guard case .scalar(let scalar) = item else { return nil }
                items.append(scalar.string)
            }
            return items.joined(separator: ",")
        default: return nil
        }
    }
}

extension SettingCollector {
    /// - Parameter key: what named the file, for errors.
    mutating func read(file path: String, named key: String) {
        let file: ConfigurationFile
        do throws(SettingsError) {
            file = try ConfigurationFile(path: path, named: key)
        } catch {
            if case .several(let problems, _) = error {
                for problem in problems { note(problem.error, key: problem.key, from: problem.source) }
            } else {
                note(error, key: nil, from: nil)
            }
            return
        }
        let before = problemCount
        for problem in file.problems { note(problem.error, key: problem.key, from: problem.source) }
        var seen: [String: SettingSource] = [:]
        let isPublic = everybodyCanRead(path)
        for entry in file.entries {
            let name = Settings.canonicalName(entry.name)
            if let first = seen.updateValue(entry.source, forKey: name) {
                note(.twice(key: name, first: first.description), key: name, from: entry.source)
                continue
            }
            take(entry.name, entry.value, from: entry.source)
            if isPublic, name == entry.name, Settings.isSecret(name) {
                warn("\(entry.source): \(name) stands in a file that everybody on this machine can read")
            }
        }
        sortProblems(from: before)
    }
}
