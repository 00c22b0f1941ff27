import Consumers
import DeadLetters
import HTTPServer
import JSON
import Primitives
import Spool
import Telemetry

/// `GET /v1/status`: everything at a glance, for people and for `postrider status`.
struct StatusRoutes {
    private let api: API
    private let startedMs: Int64

    init(_ api: API) {
        self.api = api
        startedMs = api.clock.wallMilliseconds()
    }

    var routes: [Route] {
        let (api, startedMs) = (api, startedMs)
        return [
            api.route(.get, "/v1/status") { request, responder throws(Problem) in
                _ = try Parameters(request, [])
                // The count of dead letters waits for whoever writes one.
                try api.lookUp { responder.respond(Self.status(api, startedMs)) }
            }
        ]
    }

    private static func status(_ api: API, _ startedMs: Int64) -> HTTPResponse {
        let readiness = Readiness(api)
        let lanes = api.view.lanes()
        let undelivered = lanes.map { api.spool.lagRecords(lane: $0.lane) }
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("version")
            writer.string(api.view.version)
            writer.key("gateway")
            writer.string(api.spool.shortID)
            writer.key("started_at")
            writer.string(rfc3339(milliseconds: startedMs))
            writer.key("durability")
            writer.string(api.spool.settings.syncsFirst ? "fsync" : "buffered")
            readiness.write(to: &writer)
            writer.key("spool")
            writer.object { writer in
                writer.key("used_bytes")
                writer.integer(api.spool.usedBytes)
                writer.key("bytes_max")
                writer.integer(api.spool.settings.bytesMax)
                writer.key("undelivered_records")
                writer.integer(undelivered.reduce(0, +))
                writer.key("parked_bytes")
                writer.integer(api.spool.parkedBytes)
            }
            writer.key("lanes")
            writer.array { writer in
                for (lane, undelivered) in zip(lanes, undelivered) {
                    writer.object { writer in
                        lane.write(to: &writer)
                        writer.key("undelivered_records")
                        writer.integer(undelivered)
                        if let parked = api.spool.parked(lane: lane.lane) {
                            writer.key("parked")
                            writer.object { writer in
                                writer.key("records")
                                writer.integer(parked.records)
                                writer.key("bytes")
                                writer.integer(parked.bytes)
                            }
                        }
                    }
                }
            }
            writer.key("idempotency")
            writer.object { api.spool.idempotency.write(to: &$0, api.spool.settings.idempotency) }
            writer.key("dead_letters")
            writer.integer(api.deadLetters.count(state: .final))
            writer.key("consumers")
            writer.integer(api.consumers.count)
        }
        return .json(writer.bytes, headers: [HTTPHeader("Cache-Control", "no-store")])
    }
}

extension IdempotencyStatus {
    /// `"keys":…,"keys_max":…,"producers":…,"producers_max":…,"gap":{"noticed_at","ends_at"}`
    fileprivate func write(to writer: inout JSONWriter, _ settings: IdempotencySettings) {
        writer.key("keys")
        writer.integer(keys)
        writer.key("keys_max")
        writer.integer(settings.keysMax)
        writer.key("producers")
        writer.integer(producers)
        writer.key("producers_max")
        writer.integer(settings.producersMax)
        if let gap {
            writer.key("gap")
            writer.object { writer in
                writer.key("noticed_at")
                writer.string(rfc3339(milliseconds: gap.noticedMs))
                writer.key("ends_at")
                writer.string(rfc3339(milliseconds: gap.endsMs))
            }
        }
    }
}
