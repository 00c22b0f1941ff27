import HTTPServer
import Primitives

/// The preference `wait` (RFC 7240, section 4.3): seconds that a client would rather wait than get an answer that says
/// less. Other preferences are ignored, and so is a `wait` that cannot be read (section 2).
struct PreferredWait: Hashable, Sendable {
    let duration: Duration
    /// As `Preference-Applied` says it: the seconds after clamping.
    private let seconds: String

    /// - Parameters:
    ///   - fields: the values of all `Prefer` fields, in order. Of several `wait`s the first counts (section 2).
    ///   - longest: more than that is cut to it.
    init?(_ fields: [String], clampedTo longest: Duration) {
        guard let text = fields.lazy.compactMap(Self.firstWait).first, let seconds = Self.seconds(text) else {
            return nil
        }
        let clamped = min(seconds, longest.inSeconds)
        duration = .nanoseconds(Int64(clamped * 1e9))
        // (Below a thousandth a number's own text may have an exponent, which is no delay that this reads.)
        let thousandths = Int64((clamped * 1000).rounded(.up))
        let fraction = String(thousandths % 1000 + 1000).dropFirst()
        self.seconds = "\(thousandths / 1000)" + (thousandths % 1000 == 0 ? "" : ".\(fraction.trimmingZeros)")
    }

    /// Of every answer that the preference had a part in.
    var headers: [HTTPHeader] {
        [HTTPHeader("Preference-Applied", "wait=\(seconds)"), HTTPHeader("Vary", "Prefer")]
    }

    func response(_ response: HTTPResponse) -> HTTPResponse {
        var response = response
        response.headers += headers
        return response
    }

    /// The value of the first preference named `wait`, empty without one; nil when there is none.
    private static func firstWait(_ field: String) -> String? {
        for preference in pieces(of: field, at: ",") {
            // Parameters of a preference follow behind semicolons; wait has none.
            let first = pieces(of: preference, at: ";").first ?? ""
            let parts = first.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first, name.trimmingSpaces().lowercased() == "wait" else { continue }
            return parts.count > 1 ? parts[1].trimmingSpaces() : ""
        }
        return nil
    }

    /// Splits outside quoted strings (RFC 9110, section 5.6.4).
    private static func pieces(of text: some StringProtocol, at separator: Character) -> [String] {
        var pieces = [""]
        var isQuoted = false
        var isEscaped = false
        for character in text {
            if character == separator, !isQuoted {
                pieces.append("")
                continue
            }
            if character == "\"", !isEscaped { isQuoted.toggle() }
            isEscaped = isQuoted && character == "\\" && !isEscaped
            pieces[pieces.count - 1].append(character)
        }
        return pieces
    }

    /// Digits, and a fraction if any; also as a quoted string.
    private static func seconds(_ text: String) -> Double? {
        var digits = text[...]
        if digits.count >= 2, digits.first == "\"", digits.last == "\"" { digits = digits.dropFirst().dropLast() }
        return DecimalText.seconds(digits)
    }
}

extension Substring {
    /// Without zeros at the end.
    fileprivate var trimmingZeros: Substring {
        var rest = self
        while rest.last == "0" { rest = rest.dropLast() }
        return rest
    }
}
