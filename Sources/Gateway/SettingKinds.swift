import HTTPServer

extension Settings {
    // MARK: - Kinds of values

    /// One of whatever type.
    ///
    /// - Parameter parse: nil when the text is no such value.
    static func value<Value: Sendable>(
        _ name: String, _ path: any WritableKeyPath<Settings, Value> & Sendable, _ help: String, _ expected: String,
        form: String? = nil, unit: SettingKey.Unit = .none,
        parse: @escaping @Sendable (String) -> Value?, show: @escaping @Sendable (Value) -> String
    ) -> SettingKey {
        SettingKey(
            name: name, help: help, expected: expected, form: form, unit: unit,
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
            form: "\(showCount(range.lowerBound)) to \(showCount(range.upperBound))",
            parse: { Int($0).flatMap { range.contains($0) ? $0 : nil } }, show: { String($0) })
    }

    static func bytes(
        _ name: String, _ path: any WritableKeyPath<Settings, Int> & Sendable, _ help: String
    ) -> SettingKey {
        value(
            name, path, help, expectedSize(from: 1), form: "size", unit: .bytes,
            parse: { parseSize($0, from: 1).map { Int($0) } }, show: { showBytes(Int64($0)) })
    }

    static func bytes64(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64> & Sendable, least: Int64 = 1, _ help: String
    ) -> SettingKey {
        value(
            name, path, help, expectedSize(from: least), form: least == 0 ? "size, or 0" : "size", unit: .bytes,
            parse: { parseSize($0, from: least) }, show: { showBytes($0) })
    }

    static func optionalCount(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64?> & Sendable, _ help: String
    ) -> SettingKey {
        value(
            name, path, help, "a whole number from 1 on, or none,",
            parse: { text -> Int64?? in
                if text == "none" { return .some(nil) }
                guard let value = Int64(text), value > 0 else { return nil }
                return .some(value)
            },
            show: { $0.map { String($0) } ?? "none" })
    }

    static func optionalBytes(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64?> & Sendable, _ help: String
    ) -> SettingKey {
        value(
            name, path, help, expectedSize(from: 1) + ", or none,", form: "size, or none", unit: .bytes,
            parse: { text -> Int64?? in
                if text == "none" { return .some(nil) }
                guard let value = parseSize(text, from: 1) else { return nil }
                return .some(value)
            },
            show: { $0.map(showBytes) ?? "none" })
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
            form: range.map { "time from \(showDuration($0.lowerBound)) to \(showDuration($0.upperBound))" } ?? "time",
            unit: .time,
            parse: { parseDuration($0).flatMap { range?.contains($0) ?? true ? $0 : nil } }, show: showDuration)
    }

    /// Texts with commas between them.
    static func list(
        _ name: String, _ path: any WritableKeyPath<Settings, [String]> & Sendable,
        _ isValid: @escaping @Sendable ([String]) -> Bool, _ expected: String, _ help: String
    ) -> SettingKey {
        value(
            name, path, help,
            "at most \(HTTPServerSettings.namesMax) \(expected) with commas between them, * or none,",
            form: "at most \(HTTPServerSettings.namesMax) \(expected) with commas between them, `*` or none",
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
        value(name, path, help, "true or false", unit: .truth, parse: { Bool($0) }, show: { String($0) })
    }
}

private func expectedSize(from least: Int64) -> String {
    "a size from \(least) to 1024TiB such as 65536, 64KiB, 16MiB or 8GiB"
}

private func parseSize(_ text: String, from least: Int64) -> Int64? {
    parseBytes(text).flatMap { (least...sizeMax).contains($0) ? $0 : nil }
}
