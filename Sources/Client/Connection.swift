import CCurl
import Glibc
import Primitives

/// A request to a gateway. A value.
public struct Request: Sendable {
    public var method: String
    /// Path and query, percent-encoded.
    public var target: String
    public var headers: [(name: String, value: String)]
    /// nil sends none; for POST and PUT the same as an empty one.
    public var body: [UInt8]?
    /// How long the gateway is asked to wait: comes on top of the time-out.
    public var wait = Duration.zero

    public init(
        _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil,
        wait: Duration = .zero
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.wait = wait
    }

    public static func json(_ method: String, _ target: String, _ body: [UInt8]) -> Request {
        Request(method, target, headers: [("Content-Type", "application/json")], body: body)
    }
}

/// Sends requests, one after the other. What a test replaces.
public protocol Transport: AnyObject {
    /// Blocks until the whole answer is there.
    ///
    /// - Parameter stop: ends the wait within about a second when it is set; nil: nothing does but the time-out.
    /// - Throws: `noAnswer` or `stopped`; the request may have had its effect.
    func send(_ request: Request, stop: StopFlag?) throws(ClientError) -> Answer
}

/// Requests to one gateway through libcurl (https://curl.se/libcurl/c/). Its connection is kept for the next request.
///
/// One thread at a time. Blocks up to the time-outs of the endpoint. HTTP/1.1, no redirects, no cookies, no proxies:
/// what a gateway answers is what counts.
public final class Connection: Transport {
    /// Longer answers are refused. A poll of 16 MiB that is all escapes takes 96.
    public static let answerBytesMax = 128 << 20

    /// What the callbacks work on.
    private final class Exchange {
        var headers: [(name: String, value: String)] = []
        var headerBytes = 0
        var body: [UInt8] = []
        var isTooLong = false
        let stop: StopFlag?

        init(_ stop: StopFlag?) { self.stop = stop }

        /// An interim answer (1xx) or trailers begin or end a block, too: only the last block counts.
        func take(header line: UnsafeBufferPointer<UInt8>) -> Bool {
            headerBytes += line.count
            guard headerBytes <= Connection.headerBytesMax else {
                isTooLong = true
                return false
            }
            let text = String(decoding: line, as: UTF8.self)
            if text.hasPrefix("HTTP/") {
                headers = []
            } else if let colon = text.firstIndex(of: ":") {
                headers.append((text[..<colon].lowercased(), trimmed(text[text.index(after: colon)...])))
            }
            return true
        }

        func take(body bytes: UnsafeBufferPointer<UInt8>) -> Bool {
            guard body.count + bytes.count <= Connection.answerBytesMax else {
                isTooLong = true
                return false
            }
            body.append(contentsOf: bytes)
            return true
        }
    }

    private static let headerBytesMax = 1 << 20
    /// Before any handle is made, once.
    private static let isInitialized = postrider_curl_init() == CURLE_OK

    private let endpoint: Endpoint
    private let handle: UnsafeMutableRawPointer

    /// Connects with the first request.
    ///
    /// - Throws: libcurl cannot work here, or cannot do what the endpoint asks for.
    public init(_ endpoint: Endpoint) throws(ClientError) {
        guard Self.isInitialized, let made = curl_easy_init() else { throw .io("libcurl does not start") }
        handle = made
        self.endpoint = endpoint
    }

    deinit { curl_easy_cleanup(handle) }

    public func send(_ request: Request, stop: StopFlag? = nil) throws(ClientError) -> Answer {
        let curl = handle
        // Options go, connections stay.
        curl_easy_reset(curl)
        let exchange = Exchange(stop)
        var fields: UnsafeMutablePointer<curl_slist>?
        defer { curl_slist_free_all(fields) }
        for (name, value) in request.headers { fields = curl_slist_append(fields, "\(name): \(value)") }
        // Without waiting for a 100, and nothing that was not asked for.
        for none in ["Expect:", "Accept-Encoding:"] { fields = curl_slist_append(fields, none) }
        if request.method != "GET", !request.headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            fields = curl_slist_append(fields, "Content-Type:")
        }
        var code = configure(curl, request, Unmanaged.passUnretained(exchange).toOpaque())
        if code == CURLE_OK { code = postrider_curl_set_headers(curl, fields) }
        if code == CURLE_OK {
            let body = request.body ?? []
            code = body.withUnsafeBytes { bytes in
                if request.method != "GET" {
                    // An empty body still needs a pointer, else libcurl reads standard input.
                    withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { empty in
                        let start = bytes.baseAddress ?? UnsafeRawPointer(empty.baseAddress)
                        postrider_curl_set_size(curl, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(bytes.count))
                        postrider_curl_set_pointer(curl, CURLOPT_POSTFIELDS, start)
                        postrider_curl_set_text(curl, CURLOPT_CUSTOMREQUEST, request.method)
                        return withExtendedLifetime(exchange) { curl_easy_perform(curl) }
                    }
                } else {
                    withExtendedLifetime(exchange) { curl_easy_perform(curl) }
                }
            }
        }
        if exchange.isTooLong { throw .noAnswer("the answer is longer than \(Self.answerBytesMax) bytes") }
        if code == CURLE_ABORTED_BY_CALLBACK { throw .stopped }
        guard code == CURLE_OK else { throw .noAnswer(String(cString: curl_easy_strerror(code))) }
        return Answer(status: Int(postrider_curl_status(curl)), headers: exchange.headers, body: exchange.body)
    }

    private func configure(
        _ curl: UnsafeMutableRawPointer, _ request: Request, _ exchange: UnsafeMutableRawPointer
    ) -> CURLcode {
        let timeout = endpoint.answerTimeout + request.wait
        var codes = [
            postrider_curl_set_text(curl, CURLOPT_URL, endpoint.url + request.target),
            postrider_curl_set_text(curl, CURLOPT_PROTOCOLS_STR, "http,https"),
            postrider_curl_set_number(curl, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1)),
            postrider_curl_set_text(curl, CURLOPT_PROXY, ""),
            // No signals for its time-outs: other threads are here, too.
            postrider_curl_set_number(curl, CURLOPT_NOSIGNAL, 1),
            postrider_curl_set_number(curl, CURLOPT_PATH_AS_IS, 1),
            postrider_curl_set_number(
                curl, CURLOPT_CONNECTTIMEOUT_MS, Int(endpoint.connectTimeout.wholeMilliseconds)),
            postrider_curl_set_number(curl, CURLOPT_TIMEOUT_MS, Int(timeout.wholeMilliseconds)),
            // Commands that are run meanwhile must not hold the connection.
            postrider_curl_set_made(curl) { _, descriptor, _ in
                fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0 ? 1 : 0
            },
            postrider_curl_set_number(curl, CURLOPT_NOPROGRESS, 0),
            postrider_curl_set_progress(curl) { context, _, _, _, _ in
                guard let context else { return 0 }
                return Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue().stop?.isSet == true ? 1 : 0
            },
            postrider_curl_set_pointer(curl, CURLOPT_XFERINFODATA, exchange),
            postrider_curl_set_receive(curl, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
                Connection.received(bytes, size * count, context) { $0.take(body: $1) }
            },
            postrider_curl_set_pointer(curl, CURLOPT_WRITEDATA, exchange),
            postrider_curl_set_receive(curl, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
                Connection.received(bytes, size * count, context) { $0.take(header: $1) }
            },
            postrider_curl_set_pointer(curl, CURLOPT_HEADERDATA, exchange),
        ]
        if let path = endpoint.unixSocket {
            codes.append(postrider_curl_set_text(curl, CURLOPT_UNIX_SOCKET_PATH, path))
        }
        if let file = endpoint.certificates { codes.append(postrider_curl_set_text(curl, CURLOPT_CAINFO, file)) }
        return codes.first { $0 != CURLE_OK } ?? CURLE_OK
    }

    /// A callback's work: how many bytes were taken; fewer than given ends the transfer.
    private static func received(
        _ bytes: UnsafeMutablePointer<CChar>?, _ count: Int, _ context: UnsafeMutableRawPointer?,
        _ take: (Exchange, UnsafeBufferPointer<UInt8>) -> Bool
    ) -> Int {
        guard let bytes, let context else { return 0 }
        let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
        let taken = UnsafeRawPointer(bytes).withMemoryRebound(to: UInt8.self, capacity: count) {
            take(exchange, UnsafeBufferPointer(start: $0, count: count))
        }
        return taken ? count : 0
    }
}

/// Without white space at its ends.
func trimmed(_ text: Substring) -> String {
    var text = text
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return String(text.drop { $0.isWhitespace })
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
public func percentEncoded(_ text: String) -> String {
    var encoded = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            encoded.unicodeScalars.append(Unicode.Scalar(byte))
        default:
            encoded += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }
    }
    return encoded
}
