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
            api.route(.get, "/healthz") { _, responder throws(Problem) in
                responder.respond(.json(Array(#"{"status":"alive"}"#.utf8), headers: Self.noStore))
            },
            api.route(.get, "/readyz") { request, responder throws(Problem) in
                let parameters = try Parameters(request, ["require"])
                let require = parameters.text("require")
                guard require == nil || require == "forwarding" else {
                    throw .invalid("require", "only forwarding can be required")
                }
                responder.respond(Self.readiness(api, forwardingToo: require != nil))
            },
            api.route(.get, "/metrics") { _, responder throws(Problem) in
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
        let closed = api.view.isStopping() ? "stopping" : api.spool.intakeClosed
        let lanes = api.view.lanes()
        let stuck = lanes.filter { !$0.isForwarding }
        let ready = closed == nil && (!forwardingToo || stuck.isEmpty)
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("ready")
            writer.bool(ready)
            writer.key("accepting")
            writer.object { writer in
                writer.key("ok")
                writer.bool(closed == nil)
                if let closed {
                    writer.key("reason")
                    writer.string(closed)
                }
            }
            writer.key("forwarding")
            writer.object { writer in
                writer.key("ok")
                writer.bool(stuck.isEmpty)
                writer.key("lanes")
                writer.array { writer in
                    for lane in stuck {
                        writer.object { writer in
                            writer.key("lane")
                            writer.integer(lane.lane)
                            writer.key("state")
                            writer.string(lane.state)
                            if let error = lane.error {
                                writer.key("error")
                                writer.string(error)
                            }
                            if let detail = lane.detail {
                                writer.key("detail")
                                writer.string(detail)
                            }
                        }
                    }
                }
            }
        }
        var headers = noStore
        if !ready { headers.append(HTTPHeader("Retry-After", "1")) }
        return .json(writer.bytes, status: ready ? 200 : 503, headers: headers)
    }

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
                for path in ["/v1/topics", "/v1/consumers", "/v1/dead-letters", "/healthz", "/readyz", "/metrics"] {
                    writer.string(path)
                }
            }
        }
        return .json(writer.bytes)
    }
}
