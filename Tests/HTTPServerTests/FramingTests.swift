import HTTPServer
import Primitives
import Testing

/// What two readers of one message could understand differently is refused, and the connection closes.
@Suite struct FramingTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var name: String
        var head: String
        var testDescription: String { name }
    }

    static let malformed = [
        Case(name: "two Content-Lengths", head: "Content-Length: 5\r\nContent-Length: 6\r\n"),
        Case(name: "two equal Content-Lengths", head: "Content-Length: 5\r\nContent-Length: 5\r\n"),
        Case(name: "Content-Length list", head: "Content-Length: 5, 5\r\n"),
        Case(name: "Content-Length with sign", head: "Content-Length: +5\r\n"),
        Case(name: "negative Content-Length", head: "Content-Length: -5\r\n"),
        Case(name: "hexadecimal Content-Length", head: "Content-Length: 0x5\r\n"),
        Case(name: "empty Content-Length", head: "Content-Length:\r\n"),
        Case(
            name: "Content-Length and Transfer-Encoding", head: "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        Case(
            name: "Transfer-Encoding and Content-Length", head: "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        Case(name: "gzip, chunked", head: "Transfer-Encoding: gzip, chunked\r\n"),
        Case(name: "gzip", head: "Transfer-Encoding: gzip\r\n"),
        Case(name: "identity", head: "Transfer-Encoding: identity\r\n"),
        Case(name: "chunked twice", head: "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        Case(name: "chunked with vertical tab", head: "Transfer-Encoding: \u{0B}chunked\r\n"),
        Case(name: "chunked with trailing space", head: "Transfer-Encoding: chunked \r\n"),
        Case(name: "space before the colon", head: "Content-Length : 5\r\n"),
        Case(name: "space before the other colon", head: "Transfer-Encoding : chunked\r\n"),
        Case(name: "folded line", head: "X-One: a\r\n b\r\n"),
        Case(name: "folded line that makes a name", head: "Content-: 5\r\n Length\r\n"),
        Case(name: "folded line after spaces", head: "A:               v\r\n x\r\n"),
        Case(name: "NUL in a value", head: "X-One: a\0b\r\n"),
        Case(name: "NUL that hides a Content-Length", head: "X-One: a\0\r\nContent-Length: 5\r\n"),
        Case(name: "bare CR in a value", head: "X-One: a\rb\r\n"),
        Case(name: "no colon", head: "X-One\r\n"),
        Case(name: "second Host", head: "Host: b\r\n"),
    ]

    @Test(arguments: malformed)
    func request_IsRefusedAndClosed_WhenItsFramingIsAmbiguous(_ input: Case) throws {
        try withServer { server in
            let client = try server.client()
            let smuggled = "GET /v1/topics/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            let response = try client.exchange(
                "POST /echo HTTP/1.1\r\nHost: a\r\n\(input.head)\r\n5\r\nhello\r\n0\r\n\r\n" + smuggled)
            #expect(response.status == 400)
            #expect(!response.body.contains("smuggled"))
            #expect(client.isClosedByServer())
        }
    }

    @Test func request_IsRefused_WhenHostIsMissingInHTTP11() throws {
        try withServer { server in
            let client = try server.client()
            #expect(try client.exchange("GET /v1/topics/a HTTP/1.1\r\n\r\n").body == "malformed_request false")
            #expect(client.isClosedByServer())
        }
    }

    @Test func request_IsServed_WhenHostIsMissingInHTTP10() throws {
        try withServer { server in
            let client = try server.client()
            #expect(try client.exchange("GET /v1/topics/a HTTP/1.0\r\n\r\n").body == "a")
            #expect(client.isClosedByServer())
        }
    }

    @Test func request_IsRefused_WhenHTTP10IsChunked() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange(
                "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            #expect(response.status == 400)
        }
    }

    @Test(arguments: ["/v1/topics/a b", "/query?a=b c", "/query?a=b HTTP/1.0"])
    func request_IsRefused_WhenItsTargetHasASpace(_ target: String) throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.body == "malformed_request false")
            #expect(client.isClosedByServer())
        }
    }

    @Test func request_IsRefused_WhenItsTargetHidesBytesBehindANUL() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET /v1/topics/a\0/secret HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.status == 400)
        }
    }

    @Test(arguments: ["zz", "-1", "5 5", "ffffffffffffffffff"])
    func request_IsRefused_WhenAChunkSizeIsNone(_ size: String) throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange(
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(size)\r\nhello\r\n0\r\n\r\n")
            #expect(response.status == 400 || response.status == 413)
            #expect(client.isClosedByServer())
        }
    }

    @Test(arguments: [
        "X-One: a\r\n", "Content-Length: 5\r\n", "content-length:5\r\n", "Content-Length: \t 5\r\n", "X-Empty:\r\n",
        "Cookie: a=b; c=d\r\nX-One: a\r\n", "X-Tab: a\tb\r\n", "X-Latin: caf\u{E9}\r\n",
    ])
    func request_IsServed_WhenItsHeadersAreOrdinary(_ head: String) throws {
        try withServer { server in
            let client = try server.client()
            let body = head.lowercased().contains("content-length") ? "hello" : ""
            #expect(
                try client.exchange("POST /echo?a=b HTTP/1.1\r\nHost: a\r\n\(head)\r\n\(body)").body == body)
            #expect(try client.exchange("POST /echo HTTP/1.1\nHost: a\n\(head)\r\n\(body)").body == body)
        }
    }

    @Test func request_Gets431_WhenItsHeadersAreTooLarge() throws {
        try withServer { server in
            let client = try server.client()
            let large = String(repeating: "a", count: 40_000)
            _ = client.trySend(Array("GET /headers HTTP/1.1\r\nHost: a\r\nX-One: \(large)\r\n\r\n".utf8))
            #expect(try client.response().status == 431)
        }
    }
}
