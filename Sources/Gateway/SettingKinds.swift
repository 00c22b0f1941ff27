import HTTPServer

extension Settings {
    // MARK: - Kinds of values

    static func count(
        _ name: String, _ path: any WritableKeyPath<Settings, Int> & Sendable, _ range: ClosedRange<Int>,
        _ help: String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: "a whole number from \(range.lowerBound) to \(range.upperBound)",
            set: { settings, text in
                guard let value = Int(text), range.contains(value) else { return nil }
                settings[keyPath: path] = value
                return ()
            },
            show: { String($0[keyPath: path]) })
    }

    static func bytes(
        _ name: String, _ path: any WritableKeyPath<Settings, Int> & Sendable, _ help: String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: "a size from 1 to 1024TiB such as 65536, 64KiB, 16MiB or 8GiB",
            set: { settings, text in
                guard let value = parseBytes(text), (1...sizeMax).contains(value) else { return nil }
                settings[keyPath: path] = Int(value)
                return ()
            },
            show: { String($0[keyPath: path]) })
    }

    static func bytes64(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64> & Sendable, least: Int64 = 1, _ help: String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: "a size from \(least) to 1024TiB such as 65536, 64KiB, 16MiB or 8GiB",
            set: { settings, text in
                guard let value = parseBytes(text), (least...sizeMax).contains(value) else { return nil }
                settings[keyPath: path] = value
                return ()
            },
            show: { String($0[keyPath: path]) })
    }

    static func optionalCount(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64?> & Sendable, _ help: String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: "a whole number from 1 on, or none",
            set: { settings, text in
                if text == "none" {
                    settings[keyPath: path] = nil
                    return ()
                }
                guard let value = parseBytes(text), value > 0 else { return nil }
                settings[keyPath: path] = value
                return ()
            },
            show: { $0[keyPath: path].map { String($0) } ?? "none" })
    }

    static func duration(
        _ name: String, _ path: any WritableKeyPath<Settings, Duration> & Sendable, _ help: String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: "a time such as 0ms, 100ms, 30s or 5m",
            set: { settings, text in
                guard let value = parseDuration(text) else { return nil }
                settings[keyPath: path] = value
                return ()
            },
            show: { showDuration($0[keyPath: path]) })
    }

    /// Texts with commas between them.
    static func list(
        _ name: String, _ path: any WritableKeyPath<Settings, [String]> & Sendable,
        _ isValid: @escaping @Sendable ([String]) -> Bool, _ expected: String, _ help: String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help,
            expected: "at most \(HTTPServerSettings.namesMax) \(expected) with commas between them, * or none",
            set: { settings, text in
                let items =
                    text == "none"
                    ? []
                    : text.split(separator: ",", omittingEmptySubsequences: false)
                        .map { String($0) }
                guard items.count <= HTTPServerSettings.namesMax, isValid(items) else { return nil }
                settings[keyPath: path] = items
                return ()
            },
            show: { $0[keyPath: path].isEmpty ? "none" : $0[keyPath: path].joined(separator: ",") })
    }

    static func flag(
        _ name: String, _ path: any WritableKeyPath<Settings, Bool> & Sendable, _ help: String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: "true or false",
            set: { settings, text in
                guard let value = Bool(text) else { return nil }
                settings[keyPath: path] = value
                return ()
            },
            show: { String($0[keyPath: path]) })
    }
}

/// 1 PiB: sizes are added and multiplied.
private let sizeMax: Int64 = 1 << 50

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
