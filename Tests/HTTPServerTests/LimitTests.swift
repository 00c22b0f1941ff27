import HTTPServer
import Primitives
import Testing
import TestSupport

/// Slow and silent clients end within limits, and hold no thread: one event loop serves the others meanwhile.
@Suite struct LimitTests {
    private static let get = "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n"

    private static func quick(_ settings: inout HTTPServerSettings) {
        settings.threads = 1
        settings.idleTimeout = .seconds(1)
        settings.headerTimeout = .seconds(1)
        settings.requestTimeout = .seconds(1)
    }

    @Test func connection_IsClosed_WhenItSaysNothing() throws {
        try withServer(Self.quick) { server in
            let silent = try server.client()
            #expect(try server.client().exchange(Self.get).body == "a")
            #expect(silent.isClosedByServer())
        }
    }

    /// A descriptor each, and nothing else: the others are served meanwhile, and the time-out ends them all.
    @Test func connections_AreClosed_WhenTwoThousandSayNothing() throws {
        // Where two thousand need longer to connect, the first are closed before the last are there.
        var connected = false
        for seconds in [2, 10, 40] where !connected {
            try withServer({
                Self.quick(&$0)
                $0.idleTimeout = .seconds(seconds)
            }) { server in
                let silent = try (0..<2000).map { _ in try server.client() }
                connected = eventually(within: .seconds(seconds)) { server.server.usage.connections >= 2000 }
                guard connected else { return }
                #expect(try server.client().exchange(Self.get).body == "a")
                let closed = silent.allSatisfy { $0.isClosedByServer() }
                #expect(closed)
                let quiet = eventually { server.server.usage.connections == 0 }
                #expect(quiet)
                #expect(try server.client().exchange(Self.get).body == "a")
            }
        }
        #expect(connected)
    }

    /// However many do so, their answers stay within `responseMemoryMax`; others are told, and the deadline ends all.
    @Test func memory_IsBounded_WhenNobodyReadsItsAnswer() throws {
        try withServer({
            Self.quick(&$0)
            $0.idleTimeout = .seconds(120)
            $0.responseMemoryMax = 50_000_000
        }) { server in
            let clients = try (0..<10).map { _ in try server.client(receiveBytes: 4096) }
            for client in clients { try client.send("GET /big/20000000 HTTP/1.1\r\nHost: a\r\n\r\n") }
            let full = eventually { server.server.usage.responseBytes >= 40_000_000 }
            #expect(full)
            #expect(server.server.usage.responseBytes <= 50_000_000 + 10 * (64 << 10))
            #expect(try server.client().exchange(Self.get).body == "a")
            let cut = eventually { server.server.usage.responseBytes == 0 }
            #expect(cut)
        }
    }

    /// Each sends a byte whenever the socket takes one, so that no idle limit of the library ends it.
    @Test(arguments: [
        "", "GET /v1/topics/a HTTP/1.1\r\n", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    ])
    func connection_IsClosed_WhenARequestComesByteByByte(_ start: String) throws {
        try withServer(Self.quick) { server in
            let slow = try server.client()
            try slow.send(start)
            let clock = Monitor(())
            let closed = eventually {
                _ = clock.wait(until: SystemClock().now() + .milliseconds(50)) { _ -> Bool? in nil }
                return !slow.trySend([UInt8(ascii: "a")])
            }
            #expect(closed)
            #expect(try server.client().exchange(Self.get).body == "a")
        }
    }

    @Test(arguments: [(200, 408), (4000, 200)])
    func client_Sees408_WhenItsBodyTricklesIn(_ bytesPerSecond: Int, _ status: Int) throws {
        try withServer({
            $0.headerTimeout = .seconds(1)
            $0.bodyRateMin = 1000
        }) { server in
            let slow = try server.client()
            try slow.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\n")
            var open = true
            for _ in 0..<(8000 * 20 / bytesPerSecond) where open {
                open = slow.trySend([UInt8](repeating: 120, count: bytesPerSecond / 20))
                if !slow.isSilent(for: .milliseconds(50)) { break }
            }
            #expect(try slow.response().status == status)
            #expect(try server.client().exchange(Self.get).body == "a")
        }
    }

    @Test func timeouts_MayBeAsLongAsAnybodyLikes() throws {
        try withServer({
            $0.idleTimeout = .seconds(86_400_000_000_000)
            $0.headerTimeout = $0.idleTimeout
            $0.requestTimeout = $0.idleTimeout
        }) { server in
            let client = try server.client()
            #expect(try client.exchange(Self.get).body == "a")
        }
    }

    @Test func client_Sees408_WhenItsBodyDoesNotArrive() throws {
        try withServer({
            Self.quick(&$0)
            $0.idleTimeout = .seconds(120)
        }) { server in
            let client = try server.client()
            let response = try client.exchange("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello")
            #expect(response.status == 408)
            #expect(response.body == "request_timeout false")
            #expect(client.isClosedByServer())
        }
    }

    @Test func client_Sees503_WhenTheHandlerNeverAnswers() throws {
        try withServer(Self.quick) { server in
            let client = try server.client()
            let response = try client.exchange("POST /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.status == 503)
            #expect(response.body == "deadline_exceeded true")
            #expect(response.header("Retry-After") == "5")
            #expect(try client.exchange(Self.get).body == "a")
        }
    }

    @Test func connection_IsClosed_WhenItsClientStopsReading() throws {
        try withServer({
            Self.quick(&$0)
            $0.idleTimeout = .seconds(120)
        }) { server in
            let client = try server.client(receiveBytes: 4096)
            try client.send("GET /big/20000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            let sending = eventually { server.server.usage.responseBytes == 20_000_000 }
            #expect(sending)
            #expect(try server.client().exchange(Self.get).body == "a")
            let cut = eventually { server.server.usage.responseBytes == 0 }
            #expect(cut)
        }
    }

    @Test func connection_IsClosed_WhenItsClientReadsTooSlowly() throws {
        try withServer({
            Self.quick(&$0)
            $0.idleTimeout = .seconds(120)
        }) { server in
            let client = try server.client(receiveBytes: 4096)
            try client.send("GET /big/20000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            let clock = Monitor(())
            let start = SystemClock().now()
            // It takes a little every few milliseconds, so that something always moves.
            let ended = eventually {
                _ = clock.wait(until: SystemClock().now() + .milliseconds(5)) { _ -> Bool? in nil }
                do { _ = try client.readSlowly(1024) } catch { return true }
                return SystemClock().now() - start > .seconds(1) && server.server.usage.responseBytes == 0
            }
            #expect(ended)
        }
    }

    @Test func connections_Wait_WhenThereAreTooMany() throws {
        try withServer({
            $0.connectionsMax = 2
            $0.threads = 2
        }) { server in
            let first = try server.client()
            let second = try server.client()
            #expect(try first.exchange(Self.get).body == "a")
            #expect(try second.exchange(Self.get).body == "a")
            let third = try server.client()
            try third.send(Self.get)
            #expect(third.isSilent(for: .milliseconds(100)))
            first.close()
            #expect(try third.response().body == "a")
        }
    }

    @Test func connection_IsRefused_WhenItsAddressHasTooMany() throws {
        try withServer({ $0.perAddressConnectionsMax = 1 }) { server in
            let first = try server.client()
            #expect(try first.exchange(Self.get).body == "a")
            #expect(try server.client().isClosedByServer())
            #expect(try first.exchange(Self.get).body == "a")
        }
    }

    @Test func server_DoesNotStart_WhenASettingIsOutOfBounds() throws {
        let changes: [(inout HTTPServerSettings) -> Void] = [
            { $0.threads = 0 }, { $0.connectionsMax = 0 }, { $0.idleTimeout = .zero }, { $0.discardBytesMax = 1 },
            { $0.commonHeaders = [HTTPHeader("A", "b\r\nc")] }, { $0.commonHeaders = [HTTPHeader("A b", "c")] },
        ]
        for change in changes {
            #expect(throws: HTTPServerError.self) { try TestServer(change) }
        }
        #expect(throws: HTTPServerError.self) { try TestServer { $0.address = "localhost" } }
        try withServer { server in
            #expect(throws: HTTPServerError.self) { try TestServer { $0.port = server.port } }
        }
    }

    @Test func server_ListensOnIPv6() throws {
        let server = try TestServer { $0.address = "::1" }
        #expect(server.port != 0)
        server.stop()
    }
}
