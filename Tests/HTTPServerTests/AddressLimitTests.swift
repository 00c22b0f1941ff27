import HTTPServer
import Primitives
import TestSupport
import Testing

/// Limits for each client address, over real sockets and a clock that stands still.
@Suite struct AddressLimitTests {
    private static let get = "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n"

    private func get(_ path: String, for client: String) -> String {
        "GET \(path) HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: \(client)\r\n\r\n"
    }

    @Test func requests_Get429_WhenTheirAddressMakesTooMany() throws {
        let clock = ManualClock()
        try withServer(limitsClock: clock) {
            $0.perAddressRequestsPerSecond = 2
            $0.perAddressBurst = 3
        } body: { server in
            let client = try server.client()
            for left in [2, 1, 0] {
                let response = try client.exchange(Self.get)
                #expect(response.body == "a")
                #expect(response.header("RateLimit-Policy") == "\"rate\";q=3;w=2")
                #expect(response.header("RateLimit") == "\"rate\";r=\(left);t=1")
            }
            // All connections of the address together; whatever the path is.
            for path in ["/v1/topics/a", "/nowhere"] {
                let other = try server.client()
                let refused = try other.exchange("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(refused.status == 429)
                #expect(refused.body == "rate_limited false")
                #expect(refused.header("Retry-After") == "1")
                // Never earlier than the end of the effective window (the draft's section 6).
                #expect(refused.header("RateLimit") == "\"rate\";r=0;t=1")
                #expect(refused.header("Postrider-Request-Id") != nil)
            }
            // What watches over the server is served, without the fields.
            let watching = try client.exchange("GET /watch HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(watching.body == "watching")
            #expect(watching.header("RateLimit") == nil)
            clock.advance(by: .milliseconds(500))
            #expect(try client.exchange(Self.get).body == "a")
            #expect(try client.exchange(Self.get).status == 429)
        }
    }

    /// A body that comes with a refused request does not break the connection.
    @Test func connection_GoesOn_AfterARefusedRequestWithABody() throws {
        let clock = ManualClock()
        try withServer(limitsClock: clock) {
            $0.perAddressRequestsPerSecond = 1
        } body: { server in
            let client = try server.client()
            let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            #expect(try client.exchange(post).body == "hello")
            #expect(try client.exchange(post).status == 429)
            clock.advance(by: .seconds(1))
            #expect(try client.exchange(post).body == "hello")
        }
    }

    @Test func requests_Get429_WhileTooManyOfTheirAddressAreUnderWay() throws {
        try withServer {
            $0.perAddressRequestsMax = 2
        } body: { server in
            let waiting = try (0..<2).map { _ in try server.client() }
            for client in waiting { try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n") }
            _ = try server.waitForHeld(2)
            let client = try server.client()
            let refused = try client.exchange(Self.get)
            #expect(refused.status == 429)
            #expect(refused.body == "too_many_requests false")
            #expect(refused.header("Retry-After") == "1")
            #expect(refused.header("RateLimit-Policy") == "\"concurrency\";q=2;qu=\"concurrent-requests\"")
            #expect(refused.header("RateLimit") == "\"concurrency\";r=0")
            try #require(server.held.withLock { $0.first }).responder.respond(HTTPResponse(status: 200))
            _ = try waiting[0].response()
            // Its place is free once the request is over, which is after its answer.
            #expect(try eventually { try client.exchange(Self.get).body == "a" })
            // A client that leaves gives its place back, too: here before its connection is gone.
            waiting[1].close()
            #expect(eventually { server.server.usage.connections == 2 })
            let again = try server.client()
            try again.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try server.waitForHeld(3)
            #expect(try client.exchange(Self.get).body == "a")
        }
    }

    @Test func clients_AreToldApart_BehindATrustedProxy() throws {
        let clock = ManualClock()
        try withServer(limitsClock: clock) {
            $0.perAddressRequestsPerSecond = 1
            $0.perAddressConnectionsMax = 1
            $0.trustedProxies = ["127.0.0.0/8"]
        } body: { server in
            // The proxy's own connections are not limited.
            let proxies = try (0..<3).map { _ in try server.client() }
            for (number, proxy) in proxies.enumerated() {
                #expect(try proxy.exchange(get("/v1/topics/a", for: "203.0.113.\(number)")).body == "a")
            }
            #expect(try proxies[0].exchange(get("/v1/topics/a", for: "203.0.113.1")).status == 429)
            // A claim of the client's own does not help it.
            #expect(try proxies[0].exchange(get("/v1/topics/a", for: "9.9.9.9, 203.0.113.1")).status == 429)
            // Addresses of one /64 are one client.
            #expect(try proxies[1].exchange(get("/v1/topics/a", for: "2001:db8::1")).body == "a")
            #expect(try proxies[1].exchange(get("/v1/topics/a", for: "2001:db8::2")).status == 429)
            #expect(try proxies[1].exchange(get("/v1/topics/a", for: "2001:db8:0:1::2")).body == "a")
        }
    }

    @Test func connection_GivesItsPlaceBack_WhenItCloses() throws {
        try withServer {
            $0.perAddressConnectionsMax = 1
        } body: { server in
            for _ in 0..<5 {
                let client = try server.client()
                #expect(try client.exchange(Self.get).body == "a")
                #expect(try server.client().isClosedByServer())
                client.close()
                #expect(eventually { server.server.usage.connections == 0 })
            }
        }
    }

    @Test func server_DoesNotStart_WhenALimitMakesNoSense() {
        let changes: [(inout HTTPServerSettings) -> Void] = [
            { $0.perAddressRequestsPerSecond = -1 }, { $0.perAddressBurst = -1 }, { $0.perAddressRequestsMax = -1 },
            { $0.trustedProxies = ["localhost"] }, { $0.perAddressRequestsPerSecond = 2_000_000 },
        ]
        for change in changes {
            #expect(throws: HTTPServerError.self) { try TestServer(change) }
        }
    }
}
