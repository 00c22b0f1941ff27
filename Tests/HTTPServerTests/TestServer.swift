import HTTPServer
import Logging
import Primitives
import TestSupport

/// A server on a port of its own, with a handler for each thing the tests need. Stopped by `stop`.
final class TestServer: Sendable {
    let server: HTTPServer
    let timers = TimerThread()
    /// What `/hold` has received and not answered, in order.
    let held = Monitor<[(request: HTTPRequest, responder: Responder)]>([])
    /// Names of what happened, in order.
    let events = Monitor<[String]>([])

    var port: UInt16 { server.port }

    /// - Parameter limitsClock: of the limits for each address.
    init(
        limitsClock: any TimeSource = SystemClock(), requestLogger: Logger = Logger(label: "test"),
        _ configure: (inout HTTPServerSettings) -> Void = { _ in }
    ) throws {
        var settings = HTTPServerSettings()
        settings.sweepInterval = .milliseconds(20)
        // What a test waits for must not come from these.
        settings.idleTimeout = testPatience * 2
        settings.headerTimeout = testPatience * 2
        settings.commonHeaders = [HTTPHeader("Postrider-Gateway", "test")]
        settings.allowedHosts = ["a", "gateway"]
        settings.requestLog.kept = .none
        configure(&settings)
        let (held, events) = (held, events)
        @Sendable func note(_ event: String) {
            events.withLock { $0.append(event) }
            events.broadcast()
        }
        let hold: HTTPHandler = { request, responder in
            held.withLock { $0.append((request, responder)) }
            held.broadcast()
        }
        let echo: HTTPHandler = { request, responder in
            responder.respond(HTTPResponse(status: 200, contentType: "text/plain", body: Array(request.body)))
        }
        let routes = [
            Route(.post, "/echo", bodyBytesMax: 1 << 20, handler: echo),
            Route(.put, "/echo", bodyBytesMax: 1 << 20, handler: echo),
            Route(.post, "/small", bodyBytesMax: 100, handler: echo),
            Route(.post, "/hold", bodyBytesMax: 1 << 20, handler: hold),
            Route(.get, "/v1/topics/{topic}") { request, responder in
                responder.respond(
                    HTTPResponse(status: 200, contentType: "text/plain", body: Array(request.capture("topic").utf8)))
            },
            Route(.get, "/v1/topics/{topic}/records/{offset}") { request, responder in
                let text = request.capture("topic") + "@" + request.capture("offset") + " " + request.route
                responder.respond(HTTPResponse(status: 200, body: Array(text.utf8)))
            },
            Route(.get, "/query") { request, responder in
                do throws(HTTPRequest.QueryError) {
                    let text = try request.queryValue("a") ?? "none"
                    responder.respond(HTTPResponse(status: 200, body: Array(text.utf8)))
                } catch {
                    responder.respond(HTTPResponse(status: 422, body: Array("\(error)".utf8)))
                }
            },
            Route(.get, "/headers") { request, responder in
                var parts = ["\(request.header("X-One") ?? "none")", "\(request.headers(named: "x-two"))"]
                parts += request.headers(withPrefix: "Postrider-Header-").map {
                    "\($0.name)=\(String(decoding: $0.value, as: UTF8.self))"
                }
                parts.append(request.remoteAddress)
                responder.respond(HTTPResponse(status: 200, body: Array(parts.joined(separator: ";").utf8)))
            },
            Route(.get, "/watch", isLimited: false) { _, responder in
                responder.respond(HTTPResponse(status: 200, body: Array("watching".utf8)))
            },
            Route(.get, "/watch/{status}", isLimited: false) { request, responder in
                responder.respond(HTTPResponse(status: Int(request.capture("status")) ?? 0))
            },
            Route(.get, "/shortened/{ms}") { request, responder in
                let wait = Duration.milliseconds(Int(request.capture("ms")) ?? 0)
                responder.park(
                    until: SystemClock().now() + testPatience * 4,
                    onTimeout: { HTTPResponse(status: 200, body: Array("over".utf8)) })
                responder.endWait(at: SystemClock().now() + wait)
            },
            Route(.get, "/twice") { _, responder in
                let first = responder.respond(HTTPResponse(status: 200, body: Array("first".utf8)))
                let second = responder.respond(HTTPResponse(status: 500, body: Array("second".utf8)))
                note("\(first) \(second)")
            },
            Route(.get, "/unsafe") { _, responder in
                let headers = [
                    HTTPHeader("X-Split", "a\r\nInjected: yes\0z"), HTTPHeader("Bad Name", "b"),
                    HTTPHeader("Content-Length", "3"),
                ]
                responder.respond(HTTPResponse(status: 200, headers: headers, body: Array("body".utf8)))
            },
            Route(.get, "/fields/{bytes}") { request, responder in
                let wanted = request.capture("bytes")
                let fields = headers(bytes: wanted == "room" ? responder.headerRoom : Int(wanted) ?? 0)
                responder.respond(HTTPResponse(status: 200, contentType: "text/plain", headers: fields, body: [120]))
            },
            Route(.get, "/big/{bytes}") { request, responder in
                let count = Int(request.capture("bytes")) ?? 0
                responder.respond(HTTPResponse(status: 200, body: [UInt8](repeating: 120, count: count)))
            },
            Route(.get, "/lines/{bytes}/{type}") { request, responder in
                let body = Self.lines(Int(request.capture("bytes")) ?? 0)
                let type = request.capture("type")
                let headers = type == "coded" ? [HTTPHeader("Content-Encoding", "br")] : []
                responder.respond(
                    HTTPResponse(status: 200, contentType: "application/\(type)", headers: headers, body: body))
            },
            Route(.get, "/park/{ms}") { request, responder in
                let wait = Duration.milliseconds(Int(request.capture("ms")) ?? 0)
                held.withLock { $0.append((request, responder)) }
                responder.park(
                    until: SystemClock().now() + wait,
                    onTimeout: { HTTPResponse(status: 200, body: Array("over".utf8)) }, onClientGone: { note("gone") })
                held.broadcast()
            },
        ]
        server = try HTTPServer(
            settings: settings, router: Router(routes), timers: timers, limitsClock: limitsClock,
            logger: Logger(label: "test"), requestLogger: requestLogger,
            problems: { problem in
                let text = "\(problem.code.rawValue) \(problem.reachedHandler)"
                return HTTPResponse(status: problem.status, contentType: "text/plain", body: Array(text.utf8))
            })
    }

    /// What `/lines` answers: text that can be compressed, but not to nothing.
    static func lines(_ bytes: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: 7)
        var text: [UInt8] = []
        while text.count < bytes {
            text += Array("{\"offset\":\(UInt32.random(in: 0...9999, using: &generator))}\n".utf8)
        }
        return Array(text.prefix(bytes))
    }

    func client(receiveBytes: Int32? = nil) throws -> RawClient {
        try RawClient(port: port, receiveBytes: receiveBytes)
    }

    /// The held request, once `count` of them are there.
    func waitForHeld(_ count: Int = 1) throws -> (request: HTTPRequest, responder: Responder) {
        let deadline = patienceEnd()
        guard let found = held.wait(until: deadline, for: { $0.count >= count ? $0[count - 1] : nil }) else {
            throw RawClient.Failure(what: "no \(count) held requests")
        }
        return found
    }

    func waitForEvents(_ count: Int) -> [String] {
        events.wait(until: patienceEnd()) { $0.count >= count ? $0 : nil } ?? []
    }

    func stop(within: Duration = .seconds(5)) {
        server.stop(deadline: SystemClock().now() + within)
        timers.stop()
    }
}

/// Header fields of so many bytes, each with four for what is between and behind.
private func headers(bytes: Int) -> [HTTPHeader] {
    var left = bytes
    var headers: [HTTPHeader] = []
    while left >= 6 {
        // What is left over must be a field too, or nothing.
        let size = left >= 206 ? 200 : left
        headers.append(HTTPHeader("X", String(repeating: "v", count: size - 5)))
        left -= size
    }
    return headers
}

/// Runs `body` against a server of its own.
func withServer(
    limitsClock: any TimeSource = SystemClock(), _ configure: (inout HTTPServerSettings) -> Void = { _ in },
    body: (TestServer) throws -> Void
) throws {
    let server = try TestServer(limitsClock: limitsClock, configure)
    defer { server.stop() }
    try body(server)
}
