/// As much of PromQL as is needed to find the metrics and labels in an expression
/// (https://prometheus.io/docs/prometheus/latest/querying/basics/). What it does not know it refuses.
struct PromQL {
    struct Metric: Hashable {
        var name: String
        var matchers: [Matcher] = []
    }

    struct Matcher: Hashable {
        var label: String
        var isEqual: Bool
        var value: String
    }

    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    private(set) var metrics: [Metric] = []
    /// Of `by (…)` and the like.
    private(set) var grouping: [String] = []

    private enum Token: Equatable {
        case word(String)
        case text(String)
        case number
        /// `$name` of Grafana.
        case variable
        case mark(Character)
    }

    private static let functions: Set<String> = [
        "rate", "increase", "delta", "changes", "predict_linear", "histogram_quantile", "clamp_min", "clamp_max",
        "time", "label_replace", "max_over_time", "absent",
    ]
    private static let aggregators: Set<String> = ["sum", "max", "min", "avg", "count", "topk"]
    private static let groupings: Set<String> = ["by", "without", "on", "ignoring", "group_left", "group_right"]
    private static let operators: Set<String> = ["and", "or", "unless", "bool", "offset"]

    private var tokens: ArraySlice<Token>

    init(_ text: String) throws(Malformed) {
        tokens = try Self.tokens(text)[...]
        while let token = tokens.popFirst() {
            guard case .word(let word) = token else { continue }
            let isCall = tokens.first == .mark("(")
            if Self.groupings.contains(word) {
                try takeLabels()
            } else if Self.functions.contains(word) {
                guard isCall else { throw Malformed(description: "\(word) without arguments") }
            } else if Self.aggregators.contains(word) || Self.operators.contains(word) {
                continue
            } else if isCall {
                throw Malformed(description: "unknown function \(word)")
            } else {
                metrics.append(Metric(name: word, matchers: try matchers()))
            }
        }
    }

    private mutating func takeLabels() throws(Malformed) {
        guard tokens.popFirst() == .mark("(") else { throw Malformed(description: "labels are expected") }
        while let token = tokens.popFirst(), token != .mark(")") {
            switch token {
            case .word(let label): grouping.append(label)
            case .mark(","): continue
            default: throw Malformed(description: "a label is expected")
            }
        }
    }

    private mutating func matchers() throws(Malformed) -> [Matcher] {
        guard tokens.first == .mark("{") else { return [] }
        tokens.removeFirst()
        var found: [Matcher] = []
        while let token = tokens.popFirst(), token != .mark("}") {
            if token == .mark(",") { continue }
            guard case .word(let label) = token else { throw Malformed(description: "a label is expected") }
            var how = ""
            while case .mark(let mark) = tokens.first {
                how.append(mark)
                tokens.removeFirst()
            }
            guard ["=", "!=", "=~", "!~"].contains(how), case .text(let value) = tokens.popFirst() else {
                throw Malformed(description: "\(label): a matcher is expected")
            }
            found.append(Matcher(label: label, isEqual: how == "=", value: value))
        }
        return found
    }

    private static func tokens(_ text: String) throws(Malformed) -> [Token] {
        var rest = text[...]
        var tokens: [Token] = []
        while let first = rest.first {
            switch first {
            case " ", "\n": rest.removeFirst()
            case "\"", "'":
                rest.removeFirst()
                guard let end = rest.firstIndex(of: first) else { throw Malformed(description: "an open string") }
                tokens.append(.text(String(rest[..<end])))
                rest = rest[rest.index(after: end)...]
            case "[":
                // A range, with its resolution.
                guard let end = rest.firstIndex(of: "]") else { throw Malformed(description: "an open range") }
                rest = rest[rest.index(after: end)...]
            case "$":
                rest = rest.dropFirst().drop { isWord($0) }
                tokens.append(.variable)
            case let first where first.isNumber:
                rest = rest.drop { $0.isNumber || $0 == "." || $0.isLetter }
                tokens.append(.number)
            case let first where isWord(first):
                let word = rest.prefix { isWord($0) }
                tokens.append(.word(String(word)))
                rest = rest.dropFirst(word.count)
            default:
                guard "(){},=!~<>+-*/%^".contains(first) else { throw Malformed(description: "unexpected \(first)") }
                tokens.append(.mark(first))
                rest.removeFirst()
            }
        }
        return tokens
    }

    private static func isWord(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || character == "_" || character == ":")
    }
}
