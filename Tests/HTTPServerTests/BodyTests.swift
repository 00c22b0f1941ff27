import HTTPServer
import Primitives
import Testing
import TestSupport

@Suite struct BodyTests {
    private static let get = "GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func body_ArrivesWhole_WhenItComesByteByByte() throws {
        try withServer { server in
            let client = try server.client()
            for byte in "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world".utf8 {
                try client.send([byte])
            }
            #expect(try client.response().body == "hello world")
        }
    }

    @Test func body_ArrivesWhole_WhenChunked() throws {
        try withServer { server in
            let client = try server.client()
            try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in ["5\r\nhello\r\n", "1;x=y\r\n \r\n", "00005\r\nwor", "ld\r\n0\r\nX-Trailer: t\r\n\r\n"] {
                try client.send(piece)
            }
            #expect(try client.response().body == "hello world")
            #expect(try client.exchange(Self.get).body == "a")
        }
    }

    @Test func body_ArrivesWhole_WhenLarge() throws {
        try withServer { server in
            let client = try server.client()
            let body = String(repeating: "0123456789abcdef", count: 1 << 16)
            let text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            for _ in 0..<2 {
                try client.send(text)
                #expect(try client.response().body == body)
            }
        }
    }

    @Test func connection_IsKept_WhenRequestsFollowEachOther() throws {
        try withServer { server in
            let client = try server.client()
            var ids: Set<String> = []
            for index in 0..<20 {
                let response = try client.exchange(
                    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\(100 + index)")
                #expect(response.body == "\(100 + index)")
                #expect(response.header("Postrider-Gateway") == "test")
                ids.insert(response.header("Postrider-Request-Id") ?? "none")
            }
            #expect(ids.count == 20)
        }
    }

    @Test func requests_AreAnsweredInOrder_WhenPipelined() throws {
        try withServer { server in
            let client = try server.client()
            var text = ""
            for index in 0..<50 {
                text += "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\(100 + index)"
                text += "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
            }
            try client.send(text)
            for index in 0..<50 {
                #expect(try client.response().body == "\(100 + index)")
                #expect(try client.response().status == 404)
            }
        }
    }

    @Test func connection_Closes_WhenTheClientAsksForIt() throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            #expect(response.body == "a")
            #expect(client.isClosedByServer())
        }
    }

    // MARK: Over the limit

    @Test func body_Gets413AndTheConnectionStays_WhenALittleTooLarge() throws {
        try withServer { server in
            let client = try server.client()
            let body = String(repeating: "x", count: 101)
            let response = try client.exchange("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n\(body)")
            #expect(response.status == 413)
            #expect(response.body == "body_too_large false")
            #expect(try client.exchange(Self.get).body == "a")
        }
    }

    @Test func body_Is413_OnlyAboveTheLimit() throws {
        try withServer { server in
            let client = try server.client()
            let body = String(repeating: "x", count: 100)
            let response = try client.exchange("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n\(body)")
            #expect(response.body == body)
        }
    }

    @Test func body_Gets413_WhenChunkedAndTooLarge() throws {
        try withServer { server in
            let client = try server.client()
            let body = String(repeating: "x", count: 0x80)
            let response = try client.exchange(
                "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n80\r\n\(body)\r\n0\r\n\r\n")
            #expect(response.status == 413)
            #expect(try client.exchange(Self.get).body == "a")
        }
    }

    @Test func body_Gets413WhileTheClientSends_WhenFarTooLarge() throws {
        try withServer({
            $0.bodyBytesMax = 1 << 20
            $0.discardBytesMax = 1 << 20
        }) { server in
            let client = try server.client()
            try client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
            try client.send([UInt8](repeating: 120, count: 10_000))
            // The body is far from over.
            let response = try client.response()
            #expect(response.status == 413)
            #expect(response.header("Connection") == "close")
            #expect(response.header("Postrider-Gateway") == "test")
            #expect(response.header("Postrider-Request-Id") != nil)
            // It may send on for a while without being reset, but not for ever.
            try client.send([UInt8](repeating: 120, count: 500_000))
            let block = [UInt8](repeating: 120, count: 65536)
            let closed = eventually { !client.trySend(block) }
            #expect(closed)
        }
    }

    @Test func body_Gets413WhileTheClientSends_WhenChunkedWithoutEnd() throws {
        try withServer({
            $0.bodyBytesMax = 1 << 20
            $0.discardBytesMax = 1 << 20
        }) { server in
            let client = try server.client()
            try client.send("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = Array("10000\r\n".utf8) + [UInt8](repeating: 120, count: 65536) + Array("\r\n".utf8)
            for _ in 0..<10 { try client.send(chunk) }
            #expect(try client.response().status == 413)
            let closed = eventually { !client.trySend(chunk) }
            #expect(closed)
        }
    }

    @Test(arguments: [("/small", 413), ("/nothing", 404), ("/v1/topics/a", 405)])
    func body_IsRefusedBeforeItIsSent_WhenTheClientAsksFirst(_ path: String, _ status: Int) throws {
        try withServer { server in
            let client = try server.client()
            let response = try client.exchange(
                "POST \(path) HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n")
            #expect(response.status == status)
            #expect(client.isClosedByServer())
        }
    }

    @Test func body_IsAskedFor_WhenTheClientAsksFirst() throws {
        try withServer { server in
            let client = try server.client()
            let interim = try client.exchange(
                "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            #expect(interim.status == 100)
            #expect(try client.exchange("hello").body == "hello")
        }
    }

    // MARK: Memory

    @Test func body_Gets503_WhenOthersUseTheMemory() throws {
        try withServer({
            $0.bodyBytesMax = 1 << 20
            $0.bodyMemoryMax = 1 << 20
        }) { server in
            let greedy = try server.client()
            try greedy.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
            try greedy.send([UInt8](repeating: 120, count: 1_000_000))
            let held = try server.waitForHeld()
            #expect(held.request.body.count == 1_000_000)

            let other = try server.client()
            let body = String(repeating: "x", count: 200_000)
            let text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n\(body)"
            let refused = try other.exchange(text)
            #expect(refused.status == 503)
            #expect(refused.body == "overloaded false")
            #expect(refused.header("Retry-After") == "1")

            held.responder.respond(HTTPResponse(status: 204))
            #expect(try greedy.response().status == 204)
            #expect(try other.exchange(text).body == body)
        }
    }

    @Test func claimedLength_CostsNothing_UntilBytesCome() throws {
        try withServer({
            $0.bodyBytesMax = 1 << 20
            $0.bodyMemoryMax = 1 << 20
        }) { server in
            let claimants = try (0..<5).map { _ in try server.client() }
            for client in claimants {
                try client.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
            }
            let client = try server.client()
            let body = String(repeating: "x", count: 500_000)
            let text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n\(body)"
            #expect(try client.exchange(text).body == body)
        }
    }

    // MARK: Connections that break

    @Test func server_ForgetsEverything_WhenTheConnectionIsDroppedAtEachByte() throws {
        try withServer({
            $0.bodyBytesMax = 1 << 20
            $0.bodyMemoryMax = 1 << 20
        }) { server in
            let body = String(repeating: "x", count: 40)
            let requests = [
                "POST /echo?a=b HTTP/1.1\r\nHost: a\r\nX-One: v\r\nContent-Length: 40\r\n\r\n\(body)",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n\(body)\r\n0\r\n\r\n",
            ]
            for request in requests.map({ Array($0.utf8) }) {
                for cut in 0...request.count {
                    let client = try server.client()
                    try client.send(Array(request[..<cut]))
                    client.close()
                }
            }
            let quiet = eventually {
                server.server.usage == .init(connections: 0, parked: 0, bodyBytes: 0, responseBytes: 0)
            }
            #expect(quiet, "\(server.server.usage)")
            #expect(try server.client().exchange(Self.get).body == "a")
        }
    }
}
