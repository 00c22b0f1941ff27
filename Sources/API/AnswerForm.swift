import HTTPServer

/// How the records of an answer are written, as the client's `Accept` says.
enum AnswerForm: Sendable, CaseIterable {
    /// One object. The form of a client that takes anything.
    case json
    /// One record a line; what belongs to the whole answer is in header fields.
    case ndjson
    /// One record: its value is the body, all else is in header fields.
    case octets

    var mediaType: String {
        switch self {
        case .json: "application/json"
        case .ndjson: "application/x-ndjson"
        case .octets: "application/octet-stream"
        }
    }

    /// Of those that `Accept` takes, the one with the greatest weight; of equals the one that is named more exactly,
    /// then the first in the order above (RFC 9110, section 12.5.1). Parameters but the weight are not looked at.
    ///
    /// - Parameter accept: every `Accept` field's value. None, or empty ones only: anything is taken.
    /// - Returns: nil when none is taken.
    static func negotiated(_ accept: [String]) -> AnswerForm? {
        if accept.allSatisfy({ $0.allSatisfy { $0 == " " || $0 == "," } }) { return .json }
        let ranges = accept.flatMap { MediaType.list($0) }.compactMap(AcceptedRange.init)
        var best: (form: AnswerForm, weight: Int, precision: Int)?
        for form in allCases {
            let matching = ranges.compactMap { range in range.precision(for: form).map { ($0, range.weight) } }
            // The most exact range decides, so that `*/*;q=1, application/json;q=0` refuses JSON.
            guard let (precision, weight) = matching.max(by: { $0 < $1 }), weight > 0 else { continue }
            if let best, (best.weight, best.precision) >= (weight, precision) { continue }
            best = (form, weight, precision)
        }
        return best?.form
    }
}

/// An element of `Accept`.
private struct AcceptedRange {
    private let type: String
    private let subtype: String
    /// Thousandths.
    let weight: Int

    /// nil for a weight that is none.
    init?(_ range: MediaType) {
        let text = range.parameters.first { $0.name == "q" }?.value ?? "1"
        guard let weight = Self.weight(text) else { return nil }
        (type, subtype) = (range.type, range.subtype)
        self.weight = weight
    }

    /// `0` to `1` with at most three digits behind the point (RFC 9110, section 12.4.2).
    private static func weight(_ text: String) -> Int? {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, whole == "0" || whole == "1" else { return nil }
        let digits = parts.count > 1 ? parts[1] : ""
        let decimal = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard digits.utf8.count <= 3, digits.utf8.allSatisfy({ decimal.contains($0) }) else {
            return nil
        }
        let thousandths = Int(digits + String(repeating: "0", count: 3 - digits.utf8.count)) ?? 0
        if whole == "0" { return thousandths }
        return thousandths == 0 ? 1000 : nil
    }

    /// How exactly it names the form's media type; nil when it does not.
    func precision(for form: AnswerForm) -> Int? {
        if type == "*", subtype == "*" { return 0 }
        guard type == "application" else { return nil }
        if subtype == "*" { return 1 }
        return "application/\(subtype)" == form.mediaType ? 2 : nil
    }
}

/// Which of the forms of a record's value JSON uses.
enum ValueForm: String, Sendable, CaseIterable {
    /// `value` for JSON, else `value_text` for UTF-8, else `value_base64`.
    case natural
    /// `value_text`; `value_base64` for what is not UTF-8.
    case text
    /// `value_base64`.
    case base64
}

extension Parameters {
    /// `?values=text|base64`.
    func valueForm() throws(Problem) -> ValueForm {
        switch text("values") {
        case nil: return .natural
        case "text": return .text
        case "base64": return .base64
        default: throw .invalid("values", "text or base64 is expected")
        }
    }
}

/// The form of one answer with records.
struct AnswerStyle: Sendable {
    var form = AnswerForm.json
    var values = ValueForm.natural
    /// Bytes of header fields that describe a record or an answer; what needs more comes as JSON.
    var fieldBytesMax = AnswerLimits.fieldBytesMax
}

extension AnswerStyle {
    /// What the request asks for.
    ///
    /// - Parameter max: records that the answer may have.
    /// - Throws: 406, and 400 when several records are asked for as bytes.
    init(_ request: HTTPRequest, _ parameters: Parameters, max: Int, _ responder: Responder) throws(Problem) {
        values = try parameters.valueForm()
        var accept: [String] = []
        request.visitHeaders { if $0.isNamed("accept") { accept.append($0.text) } }
        guard let form = AnswerForm.negotiated(accept) else {
            throw Problem(
                406, "not_acceptable", "None of the media types in Accept is there",
                "application/json, application/x-ndjson and, with max=1, application/octet-stream are")
        }
        if form == .octets, max != 1 {
            throw .invalid("max", "application/octet-stream holds one record: say max=1")
        }
        self.form = form
        if form != .json { fieldBytesMax = min(AnswerLimits.fieldBytesMax, responder.headerRoom) }
    }
}

/// Bounds of answers with records, for polls and stateless reads.
enum AnswerLimits {
    static let (recordsDefault, recordsMax) = (100, 10_000)
    /// Keys, values and headers; one record is answered however large it is.
    static let (bytesDefault, bytesMax) = (1 << 20, 16 << 20)
    /// One answer takes at most this part of `http.response_memory_max` (a single record may take more), so that one
    /// client that reads slowly does not keep it from the others.
    static let memoryParts = 4
    /// Header fields of one answer that describe its records.
    static let fieldBytesMax = 8 << 10

    static func answerBytesMax(_ responder: Responder) -> Int { max(1, responder.responseMemoryMax / memoryParts) }
}
