import CJSON
public import Primitives

/// One value of a document. Cheap to copy; keeps the document alive. Any thread.
public struct JSONValue: Sendable {
    public enum Kind: String, Hashable, Sendable {
        case null
        case bool
        case number
        case string
        case array
        case object
    }

    let tape: JSONTape
    let index: Int

    init(_ tape: JSONTape, _ index: Int) {
        self.tape = tape
        self.index = index
    }

    private var token: postrider_json_token { tape[index] }

    public var kind: Kind {
        switch token.type {
        case POSTRIDER_JSON_NULL.rawValue: .null
        case POSTRIDER_JSON_FALSE.rawValue, POSTRIDER_JSON_TRUE.rawValue: .bool
        case POSTRIDER_JSON_NUMBER.rawValue: .number
        case POSTRIDER_JSON_ARRAY.rawValue: .array
        case POSTRIDER_JSON_OBJECT.rawValue: .object
        default: .string
        }
    }

    /// The very bytes the client sent for this value, without white space around it. Shares the document's storage.
    public var raw: ByteSlice { tape.bytes(of: token) }

    /// Bytes from the beginning of the document.
    public var position: Int { Int(token.start) }

    public var isNull: Bool { token.type == POSTRIDER_JSON_NULL.rawValue }

    /// nil when it is neither `true` nor `false`.
    public var bool: Bool? {
        switch token.type {
        case POSTRIDER_JSON_TRUE.rawValue: true
        case POSTRIDER_JSON_FALSE.rawValue: false
        default: nil
        }
    }

    /// nil when it is no number, is written with a fraction or exponent, or does not fit.
    public var int64: Int64? {
        guard token.type == POSTRIDER_JSON_NUMBER.rawValue else { return nil }
        return Int64(String(decoding: raw, as: UTF8.self))
    }

    /// A string's characters in UTF-8; nil when it is no string. Shares the document's storage when there is no escape.
    public var stringBytes: ByteSlice? {
        let token = token
        guard token.type == POSTRIDER_JSON_STRING.rawValue || token.type == POSTRIDER_JSON_KEY.rawValue else {
            return nil
        }
        let inside = tape.bytes(of: token).dropFirst().dropLast()
        return token.isEscaped ? unescaped(inside) : inside
    }

    /// nil when it is no string.
    public var string: String? { stringBytes.map { String(decoding: $0, as: UTF8.self) } }

    /// nil when it is no array.
    ///
    /// - Precondition: it lies within the document's `tapeDepth`.
    public var elements: JSONElements? {
        token.type == POSTRIDER_JSON_ARRAY.rawValue ? JSONElements(tape, contents) : nil
    }

    /// nil when it is no object.
    ///
    /// - Precondition: it lies within the document's `tapeDepth`.
    public var members: JSONMembers? {
        token.type == POSTRIDER_JSON_OBJECT.rawValue ? JSONMembers(tape, contents) : nil
    }

    /// The value of an object's member; nil when there is none, or when it is no object. Looks at each key.
    public func member(_ name: String) -> JSONValue? { members?.first { $0.has(name: name) }?.value }

    private var contents: Range<Int> {
        // How deep the walker goes is in its code, not in what a client sends.
        precondition(!token.isOpaque, "walked beyond tapeDepth")
        return index + 1..<Int(token.next)
    }

    /// Where this is in its document (RFC 6901), for error messages: found from the root, one step a level.
    public var pointer: String {
        var pointer = JSONPointer()
        var at = JSONValue(tape, 0)
        while at.index < index {
            if let members = at.members, let next = members.first(where: { $0.value.contains(index) }) {
                pointer.append(key: next.name)
                at = next.value
            } else if let elements = at.elements,
                let (position, next) = elements.enumerated().first(where: { $1.contains(index) })
            {
                pointer.append(index: position)
                at = next
            } else {
                // A key: the error is about its object.
                break
            }
        }
        return pointer.text
    }

    private func contains(_ other: Int) -> Bool { index <= other && other < Int(token.next) }
}

/// An array's values, in order.
public struct JSONElements: Sequence, IteratorProtocol, Sendable {
    private let tape: JSONTape
    private var at: Int
    private let end: Int

    init(_ tape: JSONTape, _ range: Range<Int>) {
        self.tape = tape
        at = range.lowerBound
        end = range.upperBound
    }

    public mutating func next() -> JSONValue? {
        guard at < end else { return nil }
        defer { at = Int(tape[at].next) }
        return JSONValue(tape, at)
    }
}

/// A key and its value.
public struct JSONMember: Sendable {
    /// A string.
    public let key: JSONValue
    public let value: JSONValue

    /// The key, decoded.
    public var name: String { key.string ?? "" }

    /// Compares without building a string, unless the key is written with escapes.
    public func has(name: String) -> Bool { key.stringBytes?.elementsEqual(name.utf8) ?? false }
}

/// An object's members, in order; no key comes twice.
public struct JSONMembers: Sequence, IteratorProtocol, Sendable {
    private let tape: JSONTape
    private var at: Int
    private let end: Int

    init(_ tape: JSONTape, _ range: Range<Int>) {
        self.tape = tape
        at = range.lowerBound
        end = range.upperBound
    }

    public mutating func next() -> JSONMember? {
        guard at < end else { return nil }
        let key = JSONValue(tape, at)
        let value = JSONValue(tape, at + 1)
        at = Int(tape[at + 1].next)
        return JSONMember(key: key, value: value)
    }
}
