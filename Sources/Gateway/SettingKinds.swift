import HTTPServer

extension Settings {
    // MARK: - Kinds of values

    /// One of whatever type.
    ///
    /// - Parameter parse: nil when the text is no such value.
    static func value<Value: Sendable>(
        _ name: String, _ path: any WritableKeyPath<Settings, Value> & Sendable, _ help: String, _ expected: String,
        parse: @escaping @Sendable (String) -> Value?, show: @escaping @Sendable (Value) -> String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: expected,
            set: { settings, text in
                guard let value = parse(text) else { return nil }
                settings[keyPath: path] = value
                return ()
            },
            show: { show($0[keyPath: path]) })
    }

    static func count(
        _ name: String, _ path: any WritableKeyPath<Settings, Int> & Sendable, _ range: ClosedRange<Int>,
        _ help: String
    ) -> SettingKey {
        value(
            name, path, help, "a whole number from \(range.lowerBound) to \(range.upperBound)",
            parse: { Int($0).flatMap { range.contains($0) ? $0 : nil } }, show: { String($0) })
    }

    static func bytes(
        _ name: String, _ path: any WritableKeyPath<Settings, Int> & Sendable, _ help: String
    ) -> SettingKey {
        value(
            name, path, help, expectedSize(from: 1), parse: { parseSize($0, from: 1).map { Int($0) } },
            show: { String($0) })
    }

    static func bytes64(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64> & Sendable, least: Int64 = 1, _ help: String
    ) -> SettingKey {
        value(
            name, path, help, expectedSize(from: least), parse: { parseSize($0, from: least) },
            show: { String($0) })
    }

    static func optionalCount(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64?> & Sendable, _ help: String
    ) -> SettingKey {
        value(
            name, path, help, "a whole number from 1 on, or none",
            parse: { text -> Int64?? in
                if text == "none" { return .some(nil) }
                guard let value = parseBytes(text), value > 0 else { return nil }
                return .some(value)
            },
            show: { $0.map { String($0) } ?? "none" })
    }

    /// - Parameter range: nil: any.
    static func duration(
        _ name: String, _ path: any WritableKeyPath<Settings, Duration> & Sendable,
        within range: ClosedRange<Duration>? = nil, _ help: String
    ) -> SettingKey {
        let expected =
            range.map { "a time from \(showDuration($0.lowerBound)) to \(showDuration($0.upperBound))" }
            ?? "a time such as 0ms, 100ms, 30s or 5m"
        return value(
            name, path, help, expected,
            parse: { parseDuration($0).flatMap { range?.contains($0) ?? true ? $0 : nil } }, show: showDuration)
    }

    /// Texts with commas between them.
    static func list(
        _ name: String, _ path: any WritableKeyPath<Settings, [String]> & Sendable,
        _ isValid: @escaping @Sendable ([String]) -> Bool, _ expected: String, _ help: String
    ) -> SettingKey {
        value(
            name, path, help,
            "at most \(HTTPServerSettings.namesMax) \(expected) with commas between them, * or none",
            parse: { text in
                let items =
                    text == "none"
                    ? []
                    : text.split(separator: ",", omittingEmptySubsequences: false)
                        .map { String($0) }
                return items.count <= HTTPServerSettings.namesMax && isValid(items) ? items : nil
            },
            show: { $0.isEmpty ? "none" : $0.joined(separator: ",") })
    }

    static func flag(
        _ name: String, _ path: any WritableKeyPath<Settings, Bool> & Sendable, _ help: String
    ) -> SettingKey {
        value(name, path, help, "true or false", parse: { Bool($0) }, show: { String($0) })
    }
}

/// 1 PiB: sizes are added and multiplied.
private let sizeMax: Int64 = 1 << 50

private func expectedSize(from least: Int64) -> String {
    "a size from \(least) to 1024TiB such as 65536, 64KiB, 16MiB or 8GiB"
}

private func parseSize(_ text: String, from least: Int64) -> Int64? {
    parseBytes(text).flatMap { (least...sizeMax).contains($0) ? $0 : nil }
}

func parseBytes(_ text: String) -> Int64? {
    for (suffix, factor) in [("KiB", Int64(1) << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)]
    where text.hasSuffix(suffix) {
        guard let value = Int64(text.dropLast(3)), value >= 0 else { return nil }
        let (product, overflow) = value.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }
    return Int64(text)
}

func parseDuration(_ text: String) -> Duration? {
    for (suffix, milliseconds) in [("ms", Int64(1)), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
    where text.hasSuffix(suffix) {
        guard let value = Int64(text.dropLast(suffix.count)), (0...1_000_000_000).contains(value) else { return nil }
        return .milliseconds(value * milliseconds)
    }
    return nil
}

func showDuration(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    return attoseconds == 0 ? "\(seconds)s" : "\(seconds * 1000 + attoseconds / 1_000_000_000_000_000)ms"
}

/// Levenshtein's, for "did you mean".
func distance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a.utf8), Array(b.utf8))
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
