/// The Prometheus text exposition format, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).

struct PrometheusSeries {
    /// Rendered, without braces.
    var labels: String
    var value: SeriesValue
    /// Of a histogram.
    var bounds: [Double]
}

struct PrometheusFamily {
    /// `counter`, `gauge` or `histogram`.
    var kind: String
    var help: String?
    var series: [PrometheusSeries]
}

func prometheusText(_ families: [String: PrometheusFamily]) -> [UInt8] {
    var text = ""
    for (name, family) in families.sorted(by: { $0.key < $1.key }) {
        if let help = family.help, !help.isEmpty { text += "# HELP \(name) \(escaped(help, quotes: false))\n" }
        text += "# TYPE \(name) \(family.kind)\n"
        for series in family.series.sorted(by: { $0.labels < $1.labels }) {
            switch series.value {
            case .number(let value): append(name, series.labels, prometheusNumber(value), to: &text)
            case .histogram(let snapshot): append(name, series, snapshot, to: &text)
            }
        }
    }
    return Array(text.utf8)
}

private func append(_ name: String, _ labels: String, _ value: String, to text: inout String) {
    text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
}

private func append(
    _ name: String, _ series: PrometheusSeries, _ snapshot: HistogramSnapshot, to text: inout String
) {
    let prefix = series.labels.isEmpty ? "" : series.labels + ","
    var total: UInt64 = 0
    for (bound, count) in zip(series.bounds + [.infinity], snapshot.counts) {
        total += count
        append("\(name)_bucket", "\(prefix)le=\"\(prometheusNumber(bound))\"", String(total), to: &text)
    }
    append("\(name)_sum", series.labels, prometheusNumber(snapshot.sum), to: &text)
    append("\(name)_count", series.labels, String(total), to: &text)
}

/// As Go's `ParseFloat` reads it; whole numbers without a fraction.
func prometheusNumber(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    // Above 2^53 a double's own text is as exact as any.
    if value == value.rounded(), abs(value) < 9_007_199_254_740_992 { return String(Int64(value)) }
    return value.description
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`; what is not allowed becomes `_`.
func prometheusName(_ label: String) -> String { sanitized(label, colons: true) }

/// `a="1",b="2"`, sorted by name, so that the same labels in another order are the same series.
func prometheusLabels(_ labels: [(name: String, value: String)]) -> String {
    labels.map { (sanitized($0.name, colons: false), escaped($0.value, quotes: true)) }
        .sorted { $0.0 < $1.0 }
        .map { "\($0.0)=\"\($0.1)\"" }
        .joined(separator: ",")
}

private func sanitized(_ name: String, colons: Bool) -> String {
    var result = ""
    for byte in name.utf8 {
        let scalar = Unicode.Scalar(byte)
        switch scalar {
        case "a"..."z", "A"..."Z", "_": result.unicodeScalars.append(scalar)
        case "0"..."9":
            if result.isEmpty { result += "_" }
            result.unicodeScalars.append(scalar)
        case ":" where colons: result += ":"
        default: result += "_"
        }
    }
    return result.isEmpty ? "_" : result
}

private func escaped(_ text: String, quotes: Bool) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\"" where quotes: result += "\\\""
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
