import Yams

/// A YAML file with settings. So far it holds `broker.kind` and what is under `broker.kafka` and `log`; everything
/// else is set with flags. Names are those of `Settings.keys`, nested or with dots; a list stands for its items with
/// commas between them.
///
/// ```yaml
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
extension Settings {
    private static let fileBytesMax: Int64 = 1 << 20
    /// Settings in the file, and levels: aliases could make a small file large.
    private static let fileSettingsMax = 1_000
    private static let fileDepthMax = 16

    /// Takes every setting of the file over, in its order.
    ///
    /// - Throws: what is wrong, with the file's name; an unknown name with the nearest known one. Never a value that
    ///   may be a secret.
    public mutating func load(file path: String) throws(SettingsError) {
        let text = try readTextFile(path, key: "--config", bytesMax: Self.fileBytesMax)
        let root: Node?
        do {
            root = try compose(yaml: text)
        } catch {
            throw .file(path, Self.place(of: error))
        }
        guard let root else { return }
        var found: [(name: String, value: String)] = []
        try Self.flatten(root, [], &found, path)
        for (name, value) in found {
            guard
                name == "broker.kind" || name.hasPrefix("broker.kafka.") || name.hasPrefix("log.")
                    || !Self.keys.contains(where: { $0.name == name })
            else {
                throw .file(path, "\(name): the file holds broker.kind, broker.kafka and log only; say --set \(name)=…")
            }
            do throws(SettingsError) {
                try set(name, to: value)
            } catch {
                throw .file(path, error.description)
            }
        }
    }

    /// Where YAML is broken. Its text is not shown: a password may stand there.
    private static func place(of error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "line \(mark.line): \(problem)"
        case .duplicatedKeysInMapping(let keys, _): "\(keys.joined(separator: ", ")) is there twice"
        default: "it is no YAML"
        }
    }

    private static func flatten(
        _ node: Node, _ names: [String], _ found: inout [(name: String, value: String)], _ path: String
    ) throws(SettingsError) {
        let name = names.joined(separator: ".")
        guard names.count <= fileDepthMax, found.count < fileSettingsMax else {
            throw .file(path, "more than \(fileSettingsMax) settings, or \(fileDepthMax) levels")
        }
        switch node {
        case .scalar(let scalar) where !names.isEmpty: found.append((name, scalar.string))
        case .sequence(let sequence) where !names.isEmpty:
            guard sequence.count <= fileSettingsMax else { throw .file(path, "\(name): too many items") }
            var items: [String] = []
            for item in sequence {
                guard case .scalar(let scalar) = item else { throw .file(path, "\(name): a list of plain values") }
                items.append(scalar.string)
            }
            found.append((name, items.joined(separator: ",")))
        case .mapping(let mapping):
            for (key, value) in mapping {
                guard case .scalar(let scalar) = key else { throw .file(path, "\(name): names are plain text") }
                try flatten(value, names + [scalar.string], &found, path)
            }
        default: throw .file(path, names.isEmpty ? "it holds no settings" : "\(name): a value, a list or settings")
        }
    }
}
