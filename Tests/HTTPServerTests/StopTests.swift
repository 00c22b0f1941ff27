import HTTPServer
import Primitives
import Testing
import TestSupport

@Suite struct StopTests {
    @Test func parkedRequests_GetTheirOwnAnswer_WhenTheServerStops() throws {
        let server = try TestServer()
        let clients = try (0..<20).map { _ in try server.client() }
        for client in clients { try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n") }
        let parked = eventually { server.server.usage.parked == 20 }
        #expect(parked)
        let start = SystemClock().now()
        server.stop(within: testPatience)
        #expect(SystemClock().now() - start < testPatience)
        for client in clients {
            let response = try client.response()
            #expect(response.body == "over")
            #expect(response.header("Connection") == "close")
            #expect(client.isClosedByServer())
        }
    }

    @Test func unansweredRequest_Gets503_WhenTheStopsDeadlineIsOver() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.send("POST /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        let held = try server.waitForHeld()
        server.stop(within: .milliseconds(50))
        let response = try client.response()
        #expect(response.status == 503)
        #expect(response.body == "stopping true")
        #expect(response.header("Retry-After") == "1")
        #expect(!held.responder.respond(HTTPResponse(status: 200)))
        #expect(held.responder.isClientGone())
        #expect(held.request.remoteAddress.isEmpty)
    }

    @Test func unansweredRequest_MayFinish_WhenTheServerStops() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.send("POST /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        let held = try server.waitForHeld()
        let stopping = WorkerThread(name: "stop") { server.stop(within: testPatience) }
        #expect(throws: RawClient.Failure.self) {
            // Refused once the listening socket is closed.
            while true { try server.client().close() }
        }
        held.responder.respond(HTTPResponse(status: 200, body: Array("late".utf8)))
        #expect(try client.response().body == "late")
        stopping.join()
    }

    @Test func requests_AreServedAndConnectionsClosed_WhenQuiesced() throws {
        try withServer { server in
            let client = try server.client()
            #expect(try client.exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n").header("Connection") == nil)
            server.server.quiesce()
            let response = try client.exchange("GET /v1/topics/a HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(response.body == "a")
            #expect(response.header("Connection") == "close")
            #expect(client.isClosedByServer())
            #expect(throws: RawClient.Failure.self) { try server.client() }
        }
    }

    /// Answers, waits that end, clients that leave and the stop, all at once.
    @Test func server_Stops_WhenEverythingHappensAtOnce() throws {
        for _ in 0..<10 {
            let server = try TestServer()
            let clients = try (0..<16).map { _ in try server.client() }
            for (index, client) in clients.enumerated() {
                switch index % 4 {
                case 0: try client.send("GET /park/\(index) HTTP/1.1\r\nHost: a\r\n\r\n")
                case 1: try client.send("POST /hold HTTP/1.1\r\nHost: a\r\n\r\n")
                case 2: try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
                default: try client.send("GET /big/3000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                }
            }
            _ = try server.waitForHeld(12)
            let answering = WorkerThread(name: "answer") {
                for held in server.held.withLock({ $0 }) { held.responder.respond(HTTPResponse(status: 200)) }
            }
            for client in clients.prefix(6) { client.close() }
            server.stop(within: .milliseconds(20))
            answering.join()
            #expect(server.server.usage.bodyBytes == 0)
            #expect(server.server.usage.responseBytes == 0)
            #expect(server.server.usage.parked == 0)
            #expect(server.server.usage.connections == 0)
        }
    }
}
