import HTTPServer
import JSON
import Spool
import Telemetry

/// Health, readiness, metrics and the index.
struct OperationRoutes {
    private let api: API

    init(_ api: API) { self.api = api }

    var routes: [Route] {
        let api = api
        return [
            api.route(.get, "/healthz", isLimited: false) { _, responder throws(Problem) in
                responder.respond(.json(Array(#"{"status":"alive"}"#.utf8), headers: Self.noStore))
            },
            api.route(.get, "/readyz", isLimited: false) { request, responder throws(Problem) in
                let parameters = try Parameters(request, ["require"])
                let require = parameters.text("require")
                guard require == nil || require == "forwarding" else {
                    throw .invalid("require", "only forwarding can be required")
                }
                responder.respond(Self.readiness(api, forwardingToo: require != nil))
            },
            api.route(.get, "/metrics", isLimited: false) { _, responder throws(Problem) in
                responder.respond(
                    HTTPResponse(
                        status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", headers: Self.noStore,
                        body: api.metrics.text()))
            },
            api.route(.get, "/") { _, responder throws(Problem) in responder.respond(Self.index(api)) },
        ]
    }

    private static let noStore = [HTTPHeader("Cache-Control", "no-store")]

    /// 200 while records are accepted; with `forwardingToo` also only while every lane forwards.
    private static func readiness(_ api: API, forwardingToo: Bool) -> HTTPResponse {
        let readiness = Readiness(api)
        let ready = readiness.closed == nil && (!forwardingToo || readiness.stuck.isEmpty)
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("ready")
            writer.bool(ready)
            readiness.write(to: &writer)
            writer.key("parts")
            writer.array { writer in for part in api.readiness.look() { writer.object { part.write(to: &$0) } } }
        }
        var headers = noStore
        if !ready { headers.append(HTTPHeader("Retry-After", "1")) }
        return .json(writer.bytes, status: ready ? 200 : 503, headers: headers)
    }

    /// Where to go on from the index.
    private static let paths = [
        "/v1/status", "/v1/topics", "/v1/consumers", "/v1/dead-letters", "/healthz", "/readyz", "/metrics",
        "/openapi.yaml", "/openapi.json",
    ]

    private static func index(_ api: API) -> HTTPResponse {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("name")
            writer.string("postrider")
            writer.key("version")
            writer.string(api.view.version)
            writer.key("gateway")
            writer.string(api.spool.shortID)
            writer.key("paths")
            writer.array { writer in
                for path in paths { writer.string(path) }
            }
        }
        return .json(writer.bytes)
    }
}
