import CJSON
import Primitives

/// The tokens of a scanned document, in its order, and the document itself.
// SAFETY: never changed after init, and freed with the last reference.
final class JSONTape: @unchecked Sendable {
    let document: ByteSlice
    private var tape = postrider_json_tape()

    init(_ document: ByteSlice, _ limits: JSONLimits, tapeDepth: Int) throws(JSONError) {
        self.document = document
        try scan(document, limits, tapeDepth: tapeDepth, into: &tape)
    }

    deinit { postrider_json_tape_release(&tape) }

    var count: Int { Int(tape.count) }

    subscript(index: Int) -> postrider_json_token {
        precondition(index >= 0 && index < Int(tape.count))
        return tape.tokens[index]
    }

    /// Of the token, as sent.
    func bytes(of token: postrider_json_token) -> ByteSlice {
        document[document.startIndex + Int(token.start)..<document.startIndex + Int(token.end)]
    }
}

extension postrider_json_token {
    var type: UInt32 { kind & UInt32(POSTRIDER_JSON_KIND_MASK) }
    var isEscaped: Bool { kind & UInt32(POSTRIDER_JSON_ESCAPED) != 0 }
    var isOpaque: Bool { kind & UInt32(POSTRIDER_JSON_OPAQUE) != 0 }
}

/// - Parameter tape: nil when only the answer matters.
func scan(
    _ document: ByteSlice, _ limits: JSONLimits, tapeDepth: Int, into tape: UnsafeMutablePointer<postrider_json_tape>?
) throws(JSONError) {
    precondition((1...JSONLimits.depthMax).contains(limits.depth), "depth out of range")
    precondition((1...JSONLimits.countMax).contains(limits.tokens) && (1...JSONLimits.countMax).contains(limits.keys))
    precondition(tapeDepth >= 0)
    var bounds = postrider_json_limits(
        depth: UInt32(limits.depth), tape_depth: UInt32(clamping: tapeDepth),
        tokens: UInt32(limits.tokens), keys: UInt32(limits.keys))
    var error = postrider_json_error()
    let valid = document.withUnsafeBufferPointer {
        postrider_json_scan($0.baseAddress, $0.count, &bounds, tape, &error) == 1
    }
    if !valid { throw JSONError(error, in: document) }
}

extension JSONError {
    fileprivate init(_ error: postrider_json_error, in document: ByteSlice) {
        var pointer = JSONPointer()
        withUnsafeBytes(of: error.steps) { raw in
            for step in raw.bindMemory(to: postrider_json_step.self).prefix(Int(error.steps_count)) {
                if step.index >= 0 {
                    pointer.append(index: Int(step.index))
                } else {
                    let base = document.startIndex
                    let key = document[base + Int(step.key_start)..<base + Int(step.key_end)]
                    pointer.append(key: String(decoding: unescaped(key), as: UTF8.self))
                }
            }
        }
        self.init(Reason(error.reason), position: Int(error.position), pointer: pointer.text)
    }
}

extension JSONError.Reason {
    fileprivate init(_ reason: postrider_json_reason) {
        self =
            switch reason {
            case POSTRIDER_JSON_EMPTY: .empty
            case POSTRIDER_JSON_UNEXPECTED_END: .unexpectedEnd
            case POSTRIDER_JSON_TRAILING_DATA: .trailingData
            case POSTRIDER_JSON_KEY_EXPECTED: .keyExpected
            case POSTRIDER_JSON_COLON_EXPECTED: .colonExpected
            case POSTRIDER_JSON_OBJECT_SEPARATOR_EXPECTED: .objectSeparatorExpected
            case POSTRIDER_JSON_ARRAY_SEPARATOR_EXPECTED: .arraySeparatorExpected
            case POSTRIDER_JSON_BAD_NUMBER: .badNumber
            case POSTRIDER_JSON_NUMBER_OUT_OF_RANGE: .numberOutOfRange
            case POSTRIDER_JSON_BAD_ESCAPE: .badEscape
            case POSTRIDER_JSON_CONTROL_CHARACTER: .controlCharacter
            case POSTRIDER_JSON_LONE_SURROGATE: .loneSurrogate
            case POSTRIDER_JSON_NOT_UTF8: .notUTF8
            case POSTRIDER_JSON_DUPLICATE_KEY: .duplicateKey
            case POSTRIDER_JSON_TOO_DEEP: .tooDeep
            case POSTRIDER_JSON_TOO_MANY_TOKENS: .tooManyTokens
            case POSTRIDER_JSON_TOO_MANY_KEYS: .tooManyKeys
            case POSTRIDER_JSON_TOO_LARGE: .tooLarge
            case POSTRIDER_JSON_NO_MEMORY: .noMemory
            default: .valueExpected
            }
    }
}
