import HTTPServer
import Logging
import Primitives
import TestSupport
import Testing

/// The lines about requests that are over.
@Suite struct RequestLogTests {
    private static let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    private let log = RecordingLog()

    private func withServer(
        _ kept: RequestLogSettings.Kept, slow: Duration = .seconds(3600),
        _ configure: (inout HTTPServerSettings) -> Void = { _ in }, _ body: (TestServer) throws -> Void
    ) throws {
        let server = try TestServer(requestLogger: log.logger) { settings in
            settings.requestLog.kept = kept
            settings.requestLog.slow = slow
            configure(&settings)
        }
        defer { server.stop() }
        try body(server)
    }

    /// Once there are so many.
    private func lines(_ count: Int) -> [RecordingLog.Line] {
        log.lines.wait(until: patienceEnd()) { $0.count >= count ? $0 : nil } ?? []
    }

    private func messages(_ count: Int) -> [String] { lines(count).map { "\($0.level) \($0.message)" } }

    @Test func line_TellsTheFactsOfTheRequest_AndNothingThatItHolds() throws {
        try withServer(.all) { server in
            let client = try server.client()
            try client.send(
                "GET /v1/topics/orders?secret=1 HTTP/1.1\r\nHost: a\r\nAuthorization: secret\r\n"
                    + "traceparent: \(Self.trace)\r\n\r\n")
            let answer = try client.response()
            let line = try #require(lines(1).first)
            var facts = line.metadata
            for name in ["duration_ms", "gateway_ms"] {
                let value = facts.removeValue(forKey: name).flatMap { Int($0) }
                #expect(value ?? -1 >= 0, "\(name)")
            }
            #expect(line.message == "request")
            #expect(line.level == .info)
            #expect(
                facts == [
                    "method": "GET", "route": "/v1/topics/{topic}", "topic": "orders", "status": "200",
                    "bytes_in": "0", "bytes_out": "6", "client": "127.0.0.1",
                    "request_id": answer.header("Postrider-Request-Id") ?? "none",
                    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
                ])
        }
    }

    /// Which of these the log tells of: a good one, a missing resource, an error of the handler, one that is parked.
    @Test(
        arguments: [
            (.none, []), (.errors, ["info request refused", "warning request failed"]),
            (.slowAndErrors, ["info request refused", "warning request failed"]),
            (.all, ["info request", "info request refused", "warning request failed", "info request"]),
        ] as [(RequestLogSettings.Kept, [String])])
    func settings_SayWhichRequestsAreTold(kept: RequestLogSettings.Kept, expected: [String]) throws {
        try withServer(kept) { server in
            let client = try server.client()
            try client.send("GET /query HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.response().status == 200)
            try client.send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.response().status == 404)
            try client.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            try server.waitForHeld(1).responder.respond(HTTPResponse(status: 503))
            #expect(try client.response().status == 503)
            try client.send("GET /park/1 HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.response().status == 200)
            // A connection's requests come one after the other, so once this one is at its handler the others are over.
            // (An answer that was read does not say so: the line comes after it.)
            try client.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            let last = try server.waitForHeld(3)
            server.server.requestLog.kept = .all
            last.responder.respond(HTTPResponse(status: 200))
            #expect(try client.response().status == 200)
            #expect(messages(expected.count + 1) == expected + ["info request"])
        }
    }

    /// A balancer asks every few seconds, and gets 503 for as long as a drain or an outage lasts.
    @Test func answerOfAWatchingRoute_IsNoFailure() throws {
        try withServer(.slowAndErrors) { server in
            let client = try server.client()
            for (path, status) in [("/watch/503", 503), ("/watch/500", 500), ("/watch/400", 400)] {
                #expect(try client.exchange("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n").status == status)
            }
            // (The request before may end after this: it is told of with both.)
            server.server.requestLog.kept = .all
            #expect(try client.exchange("GET /watch/503 HTTP/1.1\r\nHost: a\r\n\r\n").status == 503)
            #expect(messages(3) == ["warning request failed", "info request refused", "info request"])
        }
    }

    @Test func client_IsTheOneThatTheTrustedProxyNames() throws {
        try withServer(.all, { $0.trustedProxies = ["127.0.0.1", "10.0.0.0/8"] }) { server in
            let client = try server.client()
            for fields in [
                "X-Forwarded-For: 9.9.9.9, 203.0.113.7\r\n", "X-Forwarded-For: 2001:db8::A, 10.1.1.1\r\n", "",
            ] {
                _ = try client.exchange("GET /query HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
            }
            let told = lines(3).map { [$0.metadata["client"], $0.metadata["proxy"]] }
            #expect(told == [["203.0.113.7", "127.0.0.1"], ["2001:db8::a", "127.0.0.1"], ["127.0.0.1", nil]])
        }
        // Who is not trusted is not believed.
        try withServer(.all) { server in
            _ = try server.client().exchange("GET /query HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n")
            let last = try #require(lines(4).last)
            #expect(last.metadata["client"] == "127.0.0.1")
            #expect(last.metadata["proxy"] == nil)
        }
    }

    @Test func code_IsToldOfARefusal() throws {
        try withServer(.errors) { server in
            let client = try server.client()
            try client.send("GET /nowhere/secret HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try client.response()
            let line = try #require(lines(1).first)
            #expect(line.metadata["code"] == "not_found")
            #expect(line.metadata["route"] == nil)
            #expect(line.metadata["method"] == "GET")
        }
    }

    @Test func slowness_CountsWhatTheGatewayTook_AndNotWhatARequestWasParked() throws {
        try withServer(.slowAndErrors, slow: .zero) { server in
            let client = try server.client()
            try client.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            let held = try server.waitForHeld(1)
            held.responder.respond(HTTPResponse(status: 200, body: [1]))
            _ = try client.response()
            #expect(messages(1) == ["warning slow request"])
        }
        try withServer(.all, slow: .milliseconds(500)) { server in
            let client = try server.client()
            try client.send("GET /park/800 HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try client.response()
            let line = try #require(lines(2).last)
            // (On a machine that stands still for so long between two steps it is slow.)
            let worked = line.metadata["gateway_ms"].flatMap { Int($0) } ?? -1
            #expect(line.message == (worked >= 500 ? "slow request" : "request"))
            let (parked, whole) = (line.metadata["parked_ms"], line.metadata["duration_ms"])
            #expect(parked.flatMap { Int($0) } ?? 0 >= 799)
            #expect(whole.flatMap { Int($0) } ?? 0 >= 799)
        }
    }

    @Test func refusalInTheMiddleOfABody_IsToldWithTheIdThatItsClientGot() throws {
        try withServer(
            .errors,
            {
                $0.discardBytesMax = 1 << 20; $0.bodyBytesMax = 1 << 20
            }
        ) { server in
            let client = try server.client()
            try client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
            let answer = try client.response()
            #expect(answer.status == 413)
            client.close()
            let line = try #require(lines(1).first)
            #expect(line.metadata["status"] == "413")
            #expect(line.metadata["code"] == "body_too_large")
            #expect(line.metadata["request_id"] == answer.header("Postrider-Request-Id"))
        }
    }

    @Test func clientThatLeft_IsToldWithoutAStatus() throws {
        try withServer(.all) { server in
            let client = try server.client()
            try client.send("GET /park/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try server.waitForHeld(1)
            client.close()
            let line = try #require(lines(1).first)
            #expect(line.message == "request ended early")
            #expect(line.metadata["status"] == nil)
            #expect(line.metadata["route"] == "/park/{ms}")
        }
    }

    @Test func loggerOfARequest_NamesIt() throws {
        try withServer(.none) { server in
            let client = try server.client()
            // Two of them are none.
            try client.send(
                "POST /hold HTTP/1.1\r\nHost: a\r\ntraceparent: \(Self.trace)\r\nContent-Length: 0\r\n\r\n"
                    + "POST /hold HTTP/1.1\r\nHost: a\r\ntraceparent: \(Self.trace)\r\ntraceparent: \(Self.trace)\r\n"
                    + "Content-Length: 0\r\n\r\n")
            for number in 1...2 {
                let held = try server.waitForHeld(number)
                held.request.logger(log.logger).warning("about it")
                held.responder.respond(HTTPResponse(status: 200))
                let id = try client.response().header("Postrider-Request-Id")
                let metadata = try #require(lines(number).last).metadata
                #expect(metadata["request_id"] == id)
                #expect(metadata["trace_id"] == (number == 1 ? "4bf92f3577b34da6a3ce929d0e0e4736" : nil))
                #expect(metadata["span_id"] == (number == 1 ? "00f067aa0ba902b7" : nil))
            }
        }
    }
}
