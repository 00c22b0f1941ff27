// Sizes and times as text, read and written.

/// 1 PiB: sizes are added and multiplied.
let sizeMax: Int64 = 1 << 50

private let sizeUnits = [("TiB", Int64(1) << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
private let timeUnits = [("d", Int64(86_400_000)), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]

func parseBytes(_ text: String) -> Int64? {
    for (suffix, factor) in sizeUnits where text.hasSuffix(suffix) {
        guard let value = Int64(text.dropLast(3)), value >= 0 else { return nil }
        let (product, overflow) = value.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }
    return Int64(text)
}

/// In the largest unit that says it exactly.
func showBytes(_ bytes: Int64) -> String {
    guard bytes > 0, let (unit, factor) = sizeUnits.first(where: { bytes % $0.1 == 0 }) else { return String(bytes) }
    return "\(bytes / factor)\(unit)"
}

func parseDuration(_ text: String) -> Duration? {
    for (suffix, milliseconds) in [("ms", 1)] + timeUnits where text.hasSuffix(suffix) {
        guard let value = Int64(text.dropLast(suffix.count)), (0...1_000_000_000).contains(value) else { return nil }
        return .milliseconds(value * milliseconds)
    }
    return nil
}

/// In the largest unit that says it exactly.
func showDuration(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
    guard milliseconds != 0 else { return "0s" }
    guard let (unit, factor) = timeUnits.first(where: { milliseconds % $0.1 == 0 }) else { return "\(milliseconds)ms" }
    return "\(milliseconds / factor)\(unit)"
}

/// 1,000,000.
func showCount(_ count: Int) -> String {
    let digits = String(count.magnitude)
    var text = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
        text.append(digit)
    }
    return count < 0 ? "-" + text : text
}

/// What a value whose unit is missing or unknown probably stands for; nil when nobody can tell.
func guessedValue(_ text: String, _ unit: SettingKey.Unit) -> String? {
    let number = text.prefix { $0.isASCII && $0.isNumber }
    let rest = text.dropFirst(number.count).drop { $0 == " " }.lowercased()
    switch unit {
    case .none: return nil
    case .truth:
        if ["yes", "on", "1", "true"].contains(text.lowercased()) { return "true" }
        return ["no", "off", "0", "false"].contains(text.lowercased()) ? "false" : nil
    case .bytes:
        guard !number.isEmpty, let first = rest.first else { return nil }
        if rest == "b" || rest == "bytes" { return String(number) }
        guard ["", "b", "ib"].contains(String(rest.dropFirst())), "kmgt".contains(first) else { return nil }
        return "\(number)\(first.uppercased())iB"
    case .time:
        guard let value = Int64(number) else { return nil }
        let words: [(String, [String])] = [
            ("s", ["", "s", "sec", "secs", "second", "seconds"]), ("m", ["m", "min", "mins", "minute", "minutes"]),
            ("h", ["h", "hr", "hrs", "hour", "hours"]), ("d", ["d", "day", "days"]),
            ("ms", ["ms", "msec", "millis", "milliseconds"]),
        ]
        return words.first { $0.1.contains(rest) }.map { "\(value)\($0.0)" }
    }
}
