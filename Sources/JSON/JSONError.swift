/// Why bytes are no acceptable JSON text, and where.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Raw values are stable: they appear in problem documents.
    public enum Reason: String, Sendable, CaseIterable {
        /// Nothing but white space.
        case empty
        case unexpectedEnd = "unexpected_end"
        case trailingData = "trailing_data"
        case valueExpected = "value_expected"
        case keyExpected = "key_expected"
        case colonExpected = "colon_expected"
        case objectSeparatorExpected = "object_separator_expected"
        case arraySeparatorExpected = "array_separator_expected"
        case badNumber = "bad_number"
        /// Beyond what an IEEE 754 double can hold (RFC 7493, section 2.2); most readers would get an infinity.
        case numberOutOfRange = "number_out_of_range"
        case badEscape = "bad_escape"
        /// A byte under 0x20 inside a string (RFC 8259, section 7).
        case controlCharacter = "control_character"
        /// An escape for half a surrogate pair: stands for no character, and cannot be written as UTF-8.
        case loneSurrogate = "lone_surrogate"
        case notUTF8 = "not_utf8"
        case duplicateKey = "duplicate_key"
        case tooDeep = "too_deep"
        case tooManyTokens = "too_many_tokens"
        case tooManyKeys = "too_many_keys"
        case tooLarge = "too_large"
        case noMemory = "no_memory"

        /// In words, for people.
        public var text: String {
            switch self {
            case .empty: "there is no value"
            case .unexpectedEnd: "the text ends too early"
            case .trailingData: "there is something after the value"
            case .valueExpected: "a value was expected"
            case .keyExpected: "a key in double quotes was expected"
            case .colonExpected: "a colon was expected after the key"
            case .objectSeparatorExpected: "a comma or a closing brace was expected"
            case .arraySeparatorExpected: "a comma or a closing bracket was expected"
            case .badNumber: "a digit was expected"
            case .numberOutOfRange: "the number is beyond the range of a double"
            case .badEscape: "the escape is none of JSON's"
            case .controlCharacter: "control characters must be escaped"
            case .loneSurrogate: "the escape is half a surrogate pair"
            case .notUTF8: "the text is not UTF-8"
            case .duplicateKey: "the object has this key already"
            case .tooDeep: "arrays and objects are nested too deep"
            case .tooManyTokens: "there are too many values"
            case .tooManyKeys: "the open objects have too many keys"
            case .tooLarge: "the text is too large"
            case .noMemory: "there is not enough memory"
            }
        }
    }

    public let reason: Reason
    /// Bytes from the beginning of the document.
    public let position: Int
    /// Of the value, or of the container where no value was read yet (RFC 6901). Cut at `pointerBytesMax`.
    public let pointer: String

    /// Keys are the client's, so a pointer is as long as it likes: what is longer ends in `…`.
    public static let pointerBytesMax = 512

    public init(_ reason: Reason, position: Int, pointer: String) {
        self.reason = reason
        self.position = position
        self.pointer = pointer
    }

    public var description: String {
        "\(reason.text) (byte \(position)\(pointer.isEmpty ? "" : ", at \(pointer)"))"
    }
}
