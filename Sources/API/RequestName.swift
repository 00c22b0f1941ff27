import HTTPServer
import Primitives
import Records

/// By what a client tells a produce request from its others, as header fields say it (promise 4).
enum RequestName: Hashable, Sendable {
    /// `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), without quotes and their escapes.
    case key([UInt8])
    /// `Postrider-Producer` and `Postrider-Sequence`.
    case sequence(producer: [UInt8], number: UInt64)

    /// Of a key, and of a producer's id.
    static let bytesMax = 255
    static let numberMax = UInt64(Int64.max)

    /// What the fields of a request say, each with its value; a repeated one is refused.
    struct Fields {
        var key = OneField()
        var producer = OneField()
        var sequence = OneField()
    }

    struct OneField {
        private(set) var value: ByteSlice?
        private(set) var isRepeated = false

        mutating func add(_ bytes: [UInt8]) {
            if value != nil { isRepeated = true }
            // White space around it is no part of a value (RFC 9110, section 5.5).
            var rest = bytes[...]
            while let first = rest.first, first == 0x20 || first == 0x09 { rest = rest.dropFirst() }
            while let last = rest.last, last == 0x20 || last == 0x09 { rest = rest.dropLast() }
            value = rest
        }

        fileprivate func once(_ name: String) throws(Problem) -> ByteSlice? {
            if isRepeated { throw .invalid(name, "given more than once") }
            return value
        }
    }

    /// - Returns: nil when the request has none of the fields.
    static func of(_ fields: Fields) throws(Problem) -> RequestName? {
        let key = try fields.key.once("Idempotency-Key")
        let producer = try fields.producer.once("Postrider-Producer")
        let sequence = try fields.sequence.once("Postrider-Sequence")
        if let key {
            guard producer == nil, sequence == nil else {
                throw .invalid("Idempotency-Key", "either a key, or Postrider-Producer with Postrider-Sequence")
            }
            return .key(try self.key(key))
        }
        switch (producer, sequence) {
        case (nil, nil): return nil
        case (nil, _): throw .invalid("Postrider-Producer", "missing; Postrider-Sequence needs it")
        case (_, nil): throw .invalid("Postrider-Sequence", "missing; Postrider-Producer needs it")
        case (let producer?, let sequence?):
            guard isVisible(producer), (1...bytesMax).contains(producer.count) else {
                throw .invalid("Postrider-Producer", "1 to \(bytesMax) visible ASCII characters are expected")
            }
            let number = DecimalText.whole(String(decoding: sequence, as: UTF8.self), as: UInt64.self)
            guard let number, (1...numberMax).contains(number) else {
                throw .invalid("Postrider-Sequence", "a whole number from 1 to \(numberMax) is expected")
            }
            return .sequence(producer: Array(producer), number: number)
        }
    }

    /// A string of structured fields (RFC 8941, section 3.3.3), or the same without its quotes, as many clients send
    /// it: then without space, quote, backslash, comma and semicolon, which separate something elsewhere.
    private static func key(_ field: ByteSlice) throws(Problem) -> [UInt8] {
        let key = field.first == UInt8(ascii: "\"") ? unquoted(field) : isBare(field) ? Array(field) : nil
        guard let key, (1...bytesMax).contains(key.count) else {
            throw .invalid(
                "Idempotency-Key",
                "a quoted string, or a token, of 1 to \(bytesMax) characters of printable ASCII is expected")
        }
        return key
    }

    private static func unquoted(_ field: ByteSlice) -> [UInt8]? {
        var key: [UInt8] = []
        var rest = field.dropFirst()
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return rest.isEmpty ? key : nil
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst(), escaped == UInt8(ascii: "\"") || escaped == UInt8(ascii: "\\")
                else { return nil }
                key.append(escaped)
            case 0x20...0x7E: key.append(byte)
            default: return nil
            }
        }
        return nil
    }

    private static func isVisible(_ bytes: ByteSlice) -> Bool { bytes.allSatisfy { (0x21...0x7E).contains($0) } }

    private static func isBare(_ bytes: ByteSlice) -> Bool {
        isVisible(bytes) && !bytes.contains { [0x22, 0x2C, 0x3B, 0x5C].contains($0) }
    }

    // MARK: - What is remembered

    /// - Parameters:
    ///   - principal: who asks; empty until there is authentication.
    ///   - route: its pattern.
    ///   - payload: of `ProduceCall.payload`.
    func identity(principal: String = "", route: String, _ topic: TopicName, payload: Digest) -> RequestIdentity {
        switch self {
        case .key(let key):
            var scope = Fingerprint("key")
            scope.add(principal)
            scope.add(HTTPMethod.post.rawValue)
            scope.add(route)
            scope.add(topic.text)
            scope.add(key[...])
            return .key(scope: scope.digest(), payload: payload)
        case .sequence(let id, let number):
            var producer = Fingerprint("producer")
            producer.add(principal)
            producer.add(id[...])
            return .sequence(producer: producer.digest(), number: number, payload: payload)
        }
    }
}
