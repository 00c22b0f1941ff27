import HTTPServer
import Primitives
import TestSupport
import Testing

/// What no proper client sends: each is answered or ended, and the next client is served.
@Suite struct HostileTests {
    private static let get = "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n"

    /// The status of what comes first, nil when the connection is closed without an answer.
    private func status(_ server: TestServer, _ text: String, closesWriting: Bool = true) throws -> Int? {
        let client = try server.client()
        // (It may be closed before everything is sent.)
        _ = client.trySend(Array(text.utf8))
        if closesWriting { client.closeWriting() }
        defer { client.close() }
        do {
            return try client.response().status
        } catch {
            return error is RawClient.Failure && client.isClosedByServer() ? nil : -1
        }
    }

    struct Case: CustomTestStringConvertible, Sendable {
        var name: String
        var text: String
        /// One of them; nil: closed without an answer.
        var statuses: [Int?]
        var testDescription: String { name }

        init(_ name: String, _ text: String, _ statuses: Int?...) {
            self.name = name
            self.text = text
            self.statuses = statuses
        }
    }

    static let requests = [
        Case("TRACE", "TRACE /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        Case("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("CONNECT with a path", "CONNECT /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        Case("method in lower case", "get /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        Case(
            "method of 5,000 letters", String(repeating: "A", count: 5000) + " / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        Case("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505, nil),
        Case("HTTP/0.9", "GET /v1/topics/a\r\n\r\n", 400, nil),
        Case("HTTP/3", "GET /v1/topics/a HTTP/3\r\nHost: a\r\n\r\n", 400, 505, nil),
        Case("TLS client hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{FC}\u{3}\u{3}\r\n\r\n", 400, nil),
        Case("only line ends", String(repeating: "\r\n", count: 5000), 400, 431, nil),
        Case("NUL bytes", String(repeating: "\0", count: 5000), 400, 431, nil),
        Case("SSH", "SSH-2.0-OpenSSH_9.2\r\n", 400, nil),
        Case("target in authority form", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("absolute target of another scheme", "GET ftp://a/v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("absolute target without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("fragment", "GET /v1/topics/a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("raw UTF-8 in the path", "GET /v1/topics/\u{E9} HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        Case("space in the path", "GET /v1/topics/a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, 505, nil),
        Case("100 segments", "GET " + String(repeating: "/a", count: 100) + " HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        Case(
            "path too long", "GET /\(String(repeating: "a", count: 40_000)) HTTP/1.1\r\nHost: a\r\n\r\n", 414, 431,
            nil),
        Case(
            "query too long", "GET /?\(String(repeating: "a", count: 40_000)) HTTP/1.1\r\nHost: a\r\n\r\n", 414, 431,
            nil),
        Case(
            "10,000 headers",
            "GET /headers HTTP/1.1\r\nHost: a\r\n" + String(repeating: "A: b\r\n", count: 10_000) + "\r\n", 431, nil),
        Case(
            "100 headers",
            "GET /headers HTTP/1.1\r\nHost: a\r\n" + String(repeating: "A: b\r\n", count: 100) + "\r\n", 200),
        Case("header name of controls", "GET /headers HTTP/1.1\r\nHost: a\r\nA\u{1}: b\r\n\r\n", 400),
        Case("header name not ASCII", "GET /headers HTTP/1.1\r\nHost: a\r\n\u{E9}: b\r\n\r\n", 400),
        Case("header line that begins with a colon", "GET /headers HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        Case("first header folded", "GET /headers HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        Case("Upgrade to HTTP/2", Self.upgrade("h2c"), 200),
        Case("Upgrade to WebSocket", Self.upgrade("websocket"), 200),
        Case("unknown expectation", Self.expecting("a-miracle"), 200),
        Case("expectation in capitals", Self.expecting("100-CONTINUE"), 100, 200),
        Case("Content-Length over 2^63", Self.length("9223372036854775808"), 400),
        Case("Content-Length over 2^64", Self.length("99999999999999999999"), 400, 413),
        Case("Content-Length of 2^63-1", Self.length("9223372036854775807"), 413),
        Case("body of a GET", "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 413),
        Case(
            // The library's own answer: its buffer is full.
            "chunk extension of 100 KB", Self.chunked("5;" + String(repeating: "a", count: 100_000) + "\r\nhello"), 400,
            413, 500, nil),
        Case("chunk size of 100 digits", Self.chunked(String(repeating: "0", count: 99) + "5\r\nhello"), 200, 400),
        Case("chunk longer than it says", Self.chunked("2\r\nhello"), 400, nil),
        Case("chunk size with a sign", Self.chunked("+5\r\nhello"), 400, nil),
        Case("chunk size in the other notation", Self.chunked("0x5\r\nhello"), 400, nil),
        Case("chunk of the greatest size", Self.chunked("7fffffffffffffff\r\nhello"), 400, 413, nil),
        Case("chunk size that overflows", Self.chunked("10000000000000005\r\nhello"), 400, 413, nil),
        Case("trailer that frames", Self.chunked("5\r\nhello", trailer: "Content-Length: 100\r\n"), 200, 400),
        Case(
            "10,000 trailers", Self.chunked("5\r\nhello", trailer: String(repeating: "A: b\r\n", count: 10_000)), 200,
            400, 413, 431, nil),
    ]

    private static func upgrade(_ to: String) -> String {
        "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: \(to)\r\n\r\n"
    }

    private static func expecting(_ what: String) -> String {
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: \(what)\r\nContent-Length: 5\r\n\r\nhello"
    }

    private static func length(_ text: String) -> String {
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(text)\r\n\r\nhello"
    }

    private static func chunked(_ chunk: String, trailer: String = "") -> String {
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunk)\r\n0\r\n\(trailer)\r\n"
    }

    @Test(arguments: requests)
    func request_IsAnsweredOrEnded_AndTheNextIsServed(_ input: Case) throws {
        try withServer { server in
            let status = try status(server, input.text)
            #expect(input.statuses.contains(status), "\(status.map { String($0) } ?? "closed")")
            #expect(try server.client().exchange(Self.get).body == "a")
            let quiet = eventually { server.server.usage.bodyBytes == 0 && server.server.usage.responseBytes == 0 }
            #expect(quiet)
        }
    }

    /// A trailer is no header of the request.
    @Test func trailer_ChangesNothing() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange(
                Self.chunked("5\r\nhello", trailer: "Host: evil.example\r\nContent-Length: 3\r\n") + Self.get)
            #expect(response.body == "hello")
            #expect(try client.response().body == "a")
        }
    }

    /// Random bytes, and valid requests with random bytes changed: the server lives, and holds nothing afterwards.
    @Test func server_Lives_WhateverComes() throws {
        var random = SeededGenerator(printingFor: "server_Lives_WhateverComes")
        let valid = Array(
            ("POST /echo?a=%41 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip;q=0.5\r\nOrigin: http://a\r\n"
                + "Content-Length: 5\r\n\r\nhello"
                + "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n").utf8)
        try withServer { server in
            for _ in 0..<1500 {
                var bytes = valid
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let at = Int.random(in: 0..<bytes.count, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: bytes[at] = UInt8.random(in: .min ... .max, using: &random)
                    case 1: bytes.insert(UInt8.random(in: .min ... .max, using: &random), at: at)
                    case 2: bytes.remove(at: at)
                    default: bytes += bytes[at...]
                    }
                }
                let client = try server.client()
                _ = client.trySend(bytes)
                client.close()
            }
            let quiet = eventually {
                server.server.usage == .init(connections: 0, parked: 0, bodyBytes: 0, responseBytes: 0)
            }
            #expect(quiet, "\(server.server.usage)")
            #expect(try server.client().exchange(Self.get).body == "a")
        }
    }
}
