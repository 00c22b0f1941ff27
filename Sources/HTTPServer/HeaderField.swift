/// One header field of a request as it came in, shown without a copy by `HTTPRequest.visitHeaders`. Valid during that
/// call only: keep what `value`, `text` and `lowercasedName` make of it, never the field itself.
public struct HeaderField {
    private let rawName: UnsafeRawBufferPointer
    private let rawValue: UnsafeRawBufferPointer

    init(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        rawName = name
        rawValue = value
    }

    /// Whether this is the field's name, without regard to case. - Parameter lower: ASCII, in lower case.
    public func isNamed(_ lower: StaticString) -> Bool { Self.equals(rawName, lower) }

    /// Whether the name begins so, without regard to case. - Parameter lower: ASCII, in lower case.
    public func nameBegins(with lower: StaticString) -> Bool { Self.begins(rawName, with: lower) }

    /// Whether the value begins so, without regard to case. - Parameter lower: ASCII, in lower case.
    public func valueBegins(with lower: StaticString) -> Bool { Self.begins(rawValue, with: lower) }

    /// A field's name is a token (RFC 9110, section 5.1), so ASCII: the server refuses others.
    public var lowercasedName: String { String(decoding: rawName.lazy.map(Self.folded), as: UTF8.self) }

    /// Byte for byte.
    public var value: [UInt8] { Array(rawValue) }

    /// Bytes that are not UTF-8 become U+FFFD.
    public var text: String { String(decoding: rawValue, as: UTF8.self) }

    /// The bytes of `text`.
    public var textBytes: [UInt8] { rawValue.contains { $0 >= 0x80 } ? Array(text.utf8) : value }

    // MARK: - ASCII without regard to case

    static func equals(_ text: UnsafeRawBufferPointer, _ lower: StaticString) -> Bool {
        text.count == lower.utf8CodeUnitCount && begins(text, with: lower)
    }

    static func equals(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
        one.count == other.count && zip(one, other).allSatisfy { folded($0) == folded($1) }
    }

    static func begins(_ text: UnsafeRawBufferPointer, with lower: StaticString) -> Bool {
        let expected = UnsafeBufferPointer(start: lower.utf8Start, count: lower.utf8CodeUnitCount)
        guard text.count >= expected.count else { return false }
        for index in 0..<expected.count where folded(text[index]) != expected[index] { return false }
        return true
    }

    private static func folded(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }
}
