/// One named value of `Settings`: the table of them, `Settings.keys`, makes the defaults that are shown, the checks of
/// single values, names of environment variables, help and reference.
public struct SettingKey: Sendable {
    /// What a value is measured in, for hints about a wrong unit.
    enum Unit: Sendable {
        case none, bytes, time, truth
    }

    /// Sections with dots between them, as in `spool.sync_interval`.
    public var name: String
    /// What it means.
    public var help: String
    /// Kind, unit and range in words, for errors: "KEY: … is expected".
    public var expected: String
    /// The same for the reference, shorter. May contain Markdown's back quotes.
    private var shortForm: String?
    var unit: Unit
    /// nil when the text is no such value.
    var set: @Sendable (inout Settings, String) -> Void?
    /// The value as `set` takes it.
    public var show: @Sendable (Settings) -> String

    init(
        name: String, help: String, expected: String, form: String? = nil, unit: Unit = .none,
        set: @escaping @Sendable (inout Settings, String) -> Void?, show: @escaping @Sendable (Settings) -> String
    ) {
        self.name = name
        self.help = help
        self.expected = expected
        shortForm = form
        self.unit = unit
        self.set = set
        self.show = show
    }

    /// What a value looks like, for the reference.
    var form: String {
        let own = shortForm ?? (expected.hasSuffix(",") ? String(expected.dropLast()) : expected)
        let bounds = Settings.rules.filter { $0.key == name && $0.others.isEmpty }.map(\.expected)
        return ([own] + bounds).joined(separator: "; ")
    }

    public var defaultValue: String { show(Settings()) }

    /// The part of the name before the last dot; "" for none.
    var section: String { name.lastIndex(of: ".").map { String(name[..<$0]) } ?? "" }

    /// The part of the name behind the last dot.
    var lastName: String { name.split(separator: ".").last.map { String($0) } ?? name }

    /// Whether SIGHUP makes a running gateway take it over. All others count at the start.
    public var isReadAgain: Bool { name.hasPrefix("log.") }

    /// `POSTRIDER_SPOOL_SYNC_INTERVAL` for `spool.sync_interval`.
    public var variable: String { EnvironmentNames.variable(of: name) }
}

extension Settings {
    /// Every setting but properties of librdkafka. With `kafkaKeys`, the only place where names and values meet.
    public static let keys: [SettingKey] =
        upToTheBroker + sheddingKeys + drainKeys + kafkaKeys + behindTheBroker

    static let keysByName = Dictionary(uniqueKeysWithValues: keys.map { ($0.name, $0) })

    /// Sets one value from `key=value`.
    ///
    /// - Parameter source: where it stands.
    public mutating func set(
        _ assignment: String, from source: SettingSource = .flag("--set")
    ) throws(SettingsError) {
        guard let equals = assignment.firstIndex(of: "=") else {
            // What follows a name may be a secret.
            let name = assignment.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "._".contains($0)) }
            throw .noValue(
                assignment.hasPrefix(Self.propertyPrefix)
                    ? "\(Self.propertyPrefix)…" : name.count < assignment.count ? "\(name)…" : String(name))
        }
        try set(String(assignment[..<equals]), to: String(assignment[assignment.index(after: equals)...]), from: source)
    }

    /// Sets one value. A name under `broker.kafka.properties` is librdkafka's.
    mutating func set(_ name: String, to value: String, from source: SettingSource) throws(SettingsError) {
        if name.hasPrefix(Self.propertyPrefix) {
            return try setProperty(String(name.dropFirst(Self.propertyPrefix.count)), to: value, from: source)
        }
        guard let key = Self.keysByName[name] else {
            throw .unknownKey(name, nearest: Self.nearestKey(name))
        }
        if key.set(&self, value) == nil {
            throw .malformed(key: name, value: value, expected: key.expected, meant: meant(value, by: key))
        }
        sources[name] = source
    }

    /// One of the same name in another section, if there is any.
    private static func nearestKey(_ name: String) -> String {
        let lastName = name.split(separator: ".").last.map { String($0) }
        let names = keys.filter { $0.lastName == lastName }.map(\.name)
        return nearest(name, among: names.isEmpty ? keys.map(\.name) : names) ?? ""
    }

    /// What was probably meant by a value with a wrong unit.
    private func meant(_ value: String, by key: SettingKey) -> String? {
        guard let guess = guessedValue(value, key.unit) else { return nil }
        var settings = self
        return key.set(&settings, guess) == nil ? nil : guess
    }
}

/// The most similar name.
func nearest(_ name: String, among known: some Sequence<String>) -> String? {
    let name = name.lowercased()
    return known.map { ($0, distance($0.lowercased(), name)) }.min { $0.1 < $1.1 }?.0
}

/// Levenshtein's, for "did you mean".
private func distance(_ a: String, _ b: String) -> Int {
    // What is much longer than any name is like none of them.
    let (a, b) = (Array(a.utf8.prefix(100)), Array(b.utf8.prefix(100)))
    var row = Array(0...b.count)
    for i in 0..<a.count {
        var diagonal = row[0]
        row[0] = i + 1
        for j in 0..<b.count {
            let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (a[i] == b[j] ? 0 : 1))
            diagonal = row[j + 1]
            row[j + 1] = next
        }
    }
    return row[b.count]
}
