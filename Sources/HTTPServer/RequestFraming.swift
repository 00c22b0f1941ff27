import CMicrohttpd

/// What the headers say about the body, and whether they may be believed. libmicrohttpd 0.9.75 is lenient where two
/// readers of one message could disagree (request smuggling); this refuses, in one pass over the headers, which also
/// notes who sent them and how the answer may be coded.
struct RequestFraming {
    /// nil with a chunked body.
    private(set) var contentLength: Int? = 0
    private(set) var expectsContinue = false
    private(set) var fault: String?
    /// Valid while the access handler's first call lasts.
    private(set) var sender = RequestSender()
    private(set) var codings = AcceptedCodings()
    /// nil without a valid `traceparent`, and with more than one of them.
    private(set) var trace: TraceContext?

    var hasBody: Bool { contentLength != 0 }

    private var contentLengths = 0
    private var transferEncodings = 0
    private var traceparents = 0
    /// Where the next field must begin; nil when the library's layout is not known.
    private var position: Int?

    /// Call on the first call of the access handler only, on the connection's event loop.
    ///
    /// - Parameters:
    ///   - method, version: as handed to the access handler.
    ///   - checksLayout: the library is 0.9, which leaves the fields where they came in, with NULs for the separators.
    ///     Then each must begin where the one before ended. It does not hold where a NUL cut a value short, or where a
    ///     folded line (RFC 9112, section 5.2) was appended to the name of its field.
    init(
        _ connection: OpaquePointer, method: UnsafePointer<CChar>, version: UnsafePointer<CChar>, checksLayout: Bool
    ) {
        if checksLayout { position = Int(bitPattern: version) + 8 }
        withUnsafeMutablePointer(to: &self) { framing in
            _ = MHD_get_connection_values_n(
                connection, postrider_mhd_header_kind,
                { context, _, name, nameBytes, value, valueBytes in
                    guard let framing = context?.assumingMemoryBound(to: RequestFraming.self) else {
                        return postrider_mhd_no
                    }
                    framing.pointee.read(
                        UnsafeRawBufferPointer(start: name, count: nameBytes),
                        UnsafeRawBufferPointer(start: value, count: valueBytes))
                    return framing.pointee.fault == nil ? postrider_mhd_yes : postrider_mhd_no
                }, framing)
        }
        if fault == nil { finish(connection, method, isVersion10: version[7] == CChar(bitPattern: UInt8(ascii: "0"))) }
    }

    private mutating func finish(_ connection: OpaquePointer, _ method: UnsafePointer<CChar>, isVersion10: Bool) {
        if transferEncodings > 0, contentLengths > 0 {
            fault = "Content-Length together with Transfer-Encoding"
        } else if transferEncodings > 0, isVersion10 {
            fault = "Transfer-Encoding in HTTP/1.0"
        } else if sender.host == nil, !isVersion10 {
            fault = "no Host"
        } else if let position {
            let headerBytes = postrider_mhd_header_bytes(connection)
            // The last line's end and the empty line, each CR LF or LF.
            let rest = Int(bitPattern: method) + headerBytes - position
            if headerBytes == 0 || !(2...4).contains(rest) { fault = "a NUL or a folded line in the headers" }
        }
    }

    private mutating func read(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard !name.isEmpty, name.allSatisfy(HTTPHeader.isTokenByte) else {
            fault = "a header name that is no token"
            return
        }
        if let position, let start = name.baseAddress {
            let separator = Int(bitPattern: start) - position
            let valueStart = value.baseAddress.map { Int(bitPattern: $0) } ?? -1
            guard (1...2).contains(separator), valueStart > Int(bitPattern: start) + name.count else {
                fault = "a NUL or a folded line in the headers"
                return
            }
            self.position = valueStart + value.count
        }
        guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == UInt8(ascii: "\t") }) else {
            fault = "a control character in a header value"
            return
        }
        // The lengths first: most fields are told apart by them.
        switch name.count {
        case 4 where HeaderField.equals(name, "host"):
            if sender.host != nil { fault = "more than one Host" }
            sender.host = value
        case 6 where HeaderField.equals(name, "expect"):
            if HeaderField.equals(value, "100-continue") { expectsContinue = true }
        case 6 where HeaderField.equals(name, "origin"):
            if sender.origin != nil { fault = "more than one Origin" }
            sender.origin = value
        case 11 where HeaderField.equals(name, "traceparent"):
            traceparents += 1
            trace = traceparents == 1 ? TraceContext(value) : nil
        case 14 where HeaderField.equals(name, "content-length"):
            contentLengths += 1
            guard contentLengths == 1 else { return fault = "more than one Content-Length" }
            guard let length = Self.decimal(value) else { return fault = "a Content-Length that is no number" }
            contentLength = length
        case 14 where HeaderField.equals(name, "sec-fetch-site"): sender.site = value
        case 14 where HeaderField.equals(name, "sec-fetch-mode"):
            sender.navigates = HeaderField.equals(value, "navigate")
        case 15 where HeaderField.equals(name, "accept-encoding"): codings.read(value)
        case 17 where HeaderField.equals(name, "transfer-encoding"):
            transferEncodings += 1
            guard transferEncodings == 1, HeaderField.equals(value, "chunked") else {
                return fault = "a Transfer-Encoding other than chunked"
            }
            contentLength = nil
        default: break
        }
    }

    /// Digits only: no sign, no list, no space.
    private static func decimal(_ text: UnsafeRawBufferPointer) -> Int? {
        guard !text.isEmpty else { return nil }
        var number = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (product, overflow) = number.multipliedReportingOverflow(by: 10)
            let (sum, second) = product.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
            if overflow || second { return nil }
            number = sum
        }
        return number
    }
}
