/// A header field of a response.
public struct HTTPHeader: Hashable, Sendable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    /// The name is a token and the value has no control characters (RFC 9110, section 5).
    var isSafe: Bool { Self.isToken(name) && !Self.needsCleaning(value) && !Self.isServers(name) }

    static func isToken(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy(isTokenByte) }

    /// RFC 9110, section 5.6.2: letters, digits and !#$%&'*+-.^_`|~.
    @inline(__always)
    public static func isTokenByte(_ byte: UInt8) -> Bool {
        let bits = byte < 64 ? tokenBitsLow >> UInt64(byte) : byte < 128 ? tokenBitsHigh >> UInt64(byte - 64) : 0
        return bits & 1 == 1
    }

    /// One bit for each byte of 0 to 63, and of 64 to 127.
    private static let tokenBitsLow: UInt64 = 0x03FF_6CFA_0000_0000
    private static let tokenBitsHigh: UInt64 = 0x57FF_FFFF_C7FF_FFFE

    /// A control character in a value could end the header and begin another: response splitting.
    static func needsCleaning(_ value: String) -> Bool {
        var value = value
        return value.withUTF8 { $0.contains { $0 < 0x20 && $0 != UInt8(ascii: "\t") || $0 == 0x7F } }
    }

    /// Each control character becomes a space, as RFC 9110, section 5.5 lets a recipient do.
    static func cleaned(_ value: String) -> String {
        guard needsCleaning(value) else { return value }
        let space = UInt8(ascii: " ")
        return String(
            decoding: value.utf8.map { $0 < 0x20 && $0 != UInt8(ascii: "\t") || $0 == 0x7F ? space : $0 },
            as: UTF8.self)
    }

    /// Headers that frame the message; the server alone writes them.
    static func isServers(_ name: String) -> Bool {
        // Few names have these lengths: the comparison is rarely made.
        switch name.utf8.count {
        case 10: name.lowercased() == "connection"
        case 14: name.lowercased() == "content-length"
        case 17: name.lowercased() == "transfer-encoding"
        default: false
        }
    }
}

/// What a handler answers with.
///
/// Values with control characters are sent with spaces in their place; headers whose name is no token, and those that
/// frame the message (`Connection`, `Content-Length`, `Transfer-Encoding`), are not sent.
public struct HTTPResponse: Sendable {
    /// 200 to 599; anything else is sent as 500.
    public var status: Int
    /// nil: no `Content-Type`.
    public var contentType: String?
    public var headers: [HTTPHeader]
    /// Not sent to a HEAD request, nor with 204 and 304.
    public var body: [UInt8]
    /// Of the problem that it tells, for the log; not sent.
    public var code: String?

    public init(status: Int, contentType: String? = nil, headers: [HTTPHeader] = [], body: [UInt8] = []) {
        self.status = status
        self.contentType = contentType
        self.headers = headers
        self.body = body
    }

    public static func json(_ body: [UInt8], status: Int = 200, headers: [HTTPHeader] = []) -> HTTPResponse {
        HTTPResponse(status: status, contentType: "application/json", headers: headers, body: body)
    }

    /// RFC 9110, sections 15.3.5 and 15.4.5.
    var mayHaveBody: Bool { status != 204 && status != 304 }

    func hasHeader(_ name: String) -> Bool {
        headers.contains { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == name.lowercased() }
    }
}
