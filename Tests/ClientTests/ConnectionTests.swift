import Client
import JSON
import Primitives
import TestSupport
import Testing

@Suite struct ConnectionTests {
    private func connection(_ server: FakeServer, unixSocket: String? = nil) throws -> Connection {
        var endpoint = try Endpoint("http://127.0.0.1:\(server.port)/base/")
        endpoint.unixSocket = unixSocket
        return try Connection(endpoint)
    }

    /// Says what was thrown; nil: nothing.
    private func failure(_ body: () throws -> Void) -> ClientError? {
        do {
            try body()
            return nil
        } catch {
            return error as? ClientError
        }
    }

    @Test func requests_ShareAConnection_AndSayWhatTheyWereTold() throws {
        let server = try FakeServer([.answer(201, headers: "X-One: a b \r\nRetry-After: 7\r\n", body: "{\"a\":1}")])
        let connection = try connection(server)
        let answer = try connection.send(
            Request("PUT", "/x%20y?a=b", headers: [("Idempotency-Key", "\"k\"")], body: Array("hello".utf8)))
        #expect(answer.status == 201 && answer.header("x-one") == "a b" && answer.retryAfter == .seconds(7))
        #expect(try answer.json().member("a")?.int64 == 1)
        #expect(try connection.send(Request("GET", "/")).status == 200)
        #expect(try connection.send(Request("POST", "/empty")).status == 200)
        let seen = server.seen
        #expect(seen.map(\.connection) == [0, 0, 0])
        #expect(seen[0].head.hasPrefix("PUT /base/x%20y?a=b HTTP/1.1\r\n") && seen[0].body == "hello")
        #expect(seen[0].head.contains("Idempotency-Key: \"k\"\r\n"))
        // A gateway would keep curl's form type as the record's.
        #expect(!seen.contains { $0.head.contains("Content-Type") || $0.head.contains("Expect") })
        #expect(seen[1].head.hasPrefix("GET /base/ ") && !seen[1].head.contains("Content-Length"))
        #expect(seen[2].head.hasPrefix("POST /base/empty ") && seen[2].head.contains("Content-Length: 0\r\n"))
    }

    @Test func answer_IsNone_WhenItIsLostOrCutOff() throws {
        let server = try FakeServer([.lose, .half])
        for _ in 0..<2 {
            let error = failure { _ = try connection(server).send(Request("POST", "/", body: [1])) }
            guard case .noAnswer = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        let nobody = try Connection(try Endpoint("http://127.0.0.1:1"))
        guard case .noAnswer = failure({ _ = try nobody.send(Request("GET", "/")) }) else {
            Issue.record("somebody listens on port 1")
            return
        }
    }

    @Test func wait_Ends_WhenItIsStopped() throws {
        let server = try FakeServer([.hang])
        let stop = StopFlag()
        let stopper = WorkerThread(name: "stopper") {
            _ = server.waitForRequests(1)
            stop.set()
        }
        let error = failure { _ = try connection(server).send(Request("POST", "/poll"), stop: stop) }
        stopper.join()
        guard case .stopped = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func gateway_IsReached_ThroughAUnixSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/s"
        let server = try FakeServer([.answer(204, body: "")], path: path)
        #expect(try connection(server, unixSocket: path).send(Request("GET", "/")).status == 204)
    }

    @Test(arguments: [
        "", "ftp://a", "127.0.0.1:8080", "http://a?b", "http://a#b", "http://u@a", "http://a b", "http://",
    ])
    func url_IsRefused_WhenItIsNoGateways(url: String) {
        #expect(throws: Endpoint.Malformed.self) { try Endpoint(url) }
    }

    @Test func text_CannotSteerATerminal() {
        #expect(plain("a\u{1B}[2Jb\u{9B}c\nd") == "a\u{FFFD}[2Jb\u{FFFD}c\u{FFFD}d")
        #expect(percentEncoded("a/b c?é~") == "a%2Fb%20c%3F%C3%A9~")
    }
}
