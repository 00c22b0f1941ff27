import Glibc
import KafkaBroker

/// Environment variables: `POSTRIDER_` and the setting's name in upper case, with underscores for dots.
///
/// Properties of librdkafka likewise: `POSTRIDER_BROKER_KAFKA_PROPERTIES_SASL_PASSWORD` is `sasl.password`, and with
/// `_FILE` behind it the path of a file that holds the value.
public enum EnvironmentNames {
    static let prefix = "POSTRIDER_"
    /// The path of the YAML file.
    public static let file = "POSTRIDER_CONFIG"
    /// Where the gateway is that the client's commands call.
    public static let url = "POSTRIDER_URL"

    public static func variable(of name: String) -> String {
        prefix + name.uppercased().replacing(".", with: "_")
    }

    /// The settings' names by variable.
    static let settings: [String: String] = {
        let properties = PropertyPolicy.known.map { Settings.propertyPrefix + $0 }
        let names = Settings.keys.map(\.name) + properties + properties.map { $0 + Settings.fileSuffix }
        return Dictionary(names.map { (variable(of: $0), $0) }, uniquingKeysWith: { first, _ in first })
    }()

    /// Whether a variable that begins with `POSTRIDER_` is none of a setting, and no mistake either: container
    /// platforms describe a service named `postrider`, or `postrider-…`, by such variables.
    package static func isForeign(_ variable: String, _ value: String) -> Bool {
        if [file, url].contains(variable) || variable.hasPrefix("POSTRIDER_TEST_")
            || variable.hasPrefix("POSTRIDER_ENV_")
        {
            return true
        }
        return variable == "POSTRIDER_NAME" || isInjected(variable, value)
    }

    /// `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_NAME`, `…_PORT`, and `…_PORT_8080_TCP` with `_PROTO`,
    /// `_PORT` and `_ADDR`, as Kubernetes and Docker's links make them.
    private static func isInjected(_ variable: String, _ value: String) -> Bool {
        let words = variable.split(separator: "_")
        func isNumber(_ word: Substring) -> Bool { word.allSatisfy { $0.isASCII && $0.isNumber } }
        if words.suffix(2) == ["SERVICE", "HOST"] { return true }
        // Somebody who means a port to listen on writes a number.
        if words.last == "PORT", value.contains("://") { return true }
        for index in words.indices where words[index] == "PORT" {
            if index > 0, words[index - 1] == "SERVICE" { return true }
            let rest = words[(index + 1)...]
            guard rest.count >= 2, isNumber(rest[index + 1]), ["TCP", "UDP", "SCTP"].contains(rest[index + 2]) else {
                continue
            }
            if rest.count == 2 || rest.count == 3 && ["PROTO", "PORT", "ADDR"].contains(rest[index + 3]) {
                return true
            }
        }
        return false
    }

    /// Of this process. Bytes that are no UTF-8 are replaced, which `read(environment:)` refuses.
    public static func ofProcess() -> [String: String] {
        var found: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "="), text.hasPrefix(prefix) {
                found[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return found
    }
}

extension SettingCollector {
    /// A variable without a value counts as none, as container platforms leave them.
    mutating func read(environment: [String: String]) {
        var seen: [String: String] = [:]
        for (variable, value) in environment.sorted(by: { $0.key < $1.key })
        where variable.hasPrefix(EnvironmentNames.prefix) && !value.isEmpty {
            guard let name = EnvironmentNames.settings[variable] else {
                if !EnvironmentNames.isForeign(variable, value) {
                    let similar = nearest(variable, among: EnvironmentNames.settings.keys.sorted()) ?? ""
                    warn("environment: no setting is named by \(variable); did you mean \(similar)?")
                }
                continue
            }
            let source = SettingSource.environment(variable: variable)
            if let first = seen.updateValue(variable, forKey: Settings.canonicalName(name)) {
                note(.twice(key: Settings.canonicalName(name), first: first), key: name, from: source)
            } else if value.unicodeScalars.contains("\u{FFFD}") {
                note(.malformed(key: name, value: "other bytes", expected: "UTF-8"), key: name, from: source)
            } else {
                take(name, value, from: source)
            }
        }
    }
}
