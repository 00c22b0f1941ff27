public import Primitives

/// What a base 64 text broke.
public struct Base64Error: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Reason: String, Sendable {
        /// The length is no multiple of four: padding is required.
        case badLength = "bad_length"
        case badCharacter = "bad_character"
        /// `=` elsewhere than at the end.
        case badPadding = "bad_padding"
        /// The bits that stand for nothing are not zero: two texts would mean the same bytes.
        case trailingBits = "trailing_bits"
    }

    public let reason: Reason
    /// Bytes from the beginning of the text.
    public let position: Int

    public init(_ reason: Reason, position: Int) {
        self.reason = reason
        self.position = position
    }

    public var description: String { "\(reason.rawValue) (byte \(position))" }
}

/// Base 64 with the standard alphabet and required padding (RFC 4648, sections 3.5 and 4): no line breaks, no white
/// space, exactly one text for each run of bytes.
public enum Base64 {
    public static func encode(_ bytes: ByteSlice) -> [UInt8] {
        var text: [UInt8] = []
        append(bytes, to: &text)
        return text
    }

    public static func append(_ bytes: ByteSlice, to text: inout [UInt8]) {
        text.reserveCapacity(text.count + (bytes.count + 2) / 3 * 4)
        bytes.withUnsafeBufferPointer { bytes in
            alphabet.withUnsafeBufferPointer { alphabet in
                var at = 0
                while at + 3 <= bytes.count {
                    let group = UInt32(bytes[at]) << 16 | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2])
                    text.append(alphabet[Int(group >> 18)])
                    text.append(alphabet[Int(group >> 12 & 63)])
                    text.append(alphabet[Int(group >> 6 & 63)])
                    text.append(alphabet[Int(group & 63)])
                    at += 3
                }
                guard at < bytes.count else { return }
                let second = at + 1 < bytes.count ? UInt32(bytes[at + 1]) : 0
                let group = UInt32(bytes[at]) << 16 | second << 8
                text.append(alphabet[Int(group >> 18)])
                text.append(alphabet[Int(group >> 12 & 63)])
                text.append(at + 1 < bytes.count ? alphabet[Int(group >> 6 & 63)] : padding)
                text.append(padding)
            }
        }
    }

    public static func decode(_ text: ByteSlice) throws(Base64Error) -> [UInt8] {
        guard text.count % 4 == 0 else { throw Base64Error(.badLength, position: text.count) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        let body = text.count - (text.suffix(2).reversed().prefix { $0 == padding }.count)
        var group: UInt32 = 0
        var digits = 0
        for offset in 0..<body {
            let character = text[text.startIndex + offset]
            let value = values[Int(character)]
            guard value < 64 else {
                throw Base64Error(character == padding ? .badPadding : .badCharacter, position: offset)
            }
            group = group << 6 | UInt32(value)
            digits += 1
            if digits == 4 {
                bytes.append(UInt8(truncatingIfNeeded: group >> 16))
                bytes.append(UInt8(truncatingIfNeeded: group >> 8))
                bytes.append(UInt8(truncatingIfNeeded: group))
                group = 0
                digits = 0
            }
        }
        // Two digits hold one byte and four spare bits, three hold two bytes and two.
        if digits == 2 {
            guard group & 15 == 0 else { throw Base64Error(.trailingBits, position: body - 1) }
            bytes.append(UInt8(truncatingIfNeeded: group >> 4))
        } else if digits == 3 {
            guard group & 3 == 0 else { throw Base64Error(.trailingBits, position: body - 1) }
            bytes.append(UInt8(truncatingIfNeeded: group >> 10))
            bytes.append(UInt8(truncatingIfNeeded: group >> 2))
        }
        return bytes
    }

    private static let padding = UInt8(ascii: "=")
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// 255 for what is not in the alphabet.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()
}
