import JSON
import Spool
import Telemetry

/// Whether records are accepted, and whether they are forwarded.
struct Readiness {
    /// nil: accepting.
    let closed: String?
    /// What is wrong although records are accepted.
    let warnings: [SpoolWarning]
    /// Lanes that do not forward.
    let stuck: [GatewayView.Lane]
    let broker: GatewayView.Broker

    init(_ api: API) {
        closed = api.view.isStopping() ? "stopping" : api.spool.intakeClosed
        warnings = api.spool.warnings
        stuck = api.view.lanes().filter { !$0.isForwarding }
        broker = api.view.broker()
    }

    /// `"accepting":{ok, reason, warnings},"forwarding":{ok, lanes},
    /// "broker":{kind, guarantee, reachable, error, detail}`
    func write(to writer: inout JSONWriter) {
        writer.key("accepting")
        writer.object { writer in
            writer.key("ok")
            writer.bool(closed == nil)
            if let closed {
                writer.key("reason")
                writer.string(closed)
            }
            if !warnings.isEmpty {
                writer.key("warnings")
                writer.array { writer in for warning in warnings { writer.object { warning.write(to: &$0) } } }
            }
        }
        writer.key("forwarding")
        writer.object { writer in
            writer.key("ok")
            writer.bool(stuck.isEmpty)
            writer.key("lanes")
            writer.array { writer in
                for lane in stuck { writer.object { lane.write(to: &$0) } }
            }
        }
        writer.key("broker")
        writer.object { broker.write(to: &$0) }
    }
}

extension SpoolWarning {
    /// `"reason":…,"lane":…`
    fileprivate func write(to writer: inout JSONWriter) {
        writer.key("reason")
        switch self {
        case .laneDamaged(let lane):
            writer.string("spool_corruption")
            writer.key("lane")
            writer.integer(lane)
        case .housekeepingStalled:
            writer.string("housekeeping_stalled")
        }
    }
}

extension GatewayView.Lane {
    /// `"lane":…,"state":…,"error":…,"detail":…,"failing_since":…,"tries":…,"next_try":…,"batch_records_max":…`
    func write(to writer: inout JSONWriter) {
        writer.key("lane")
        writer.integer(lane)
        writer.key("state")
        writer.string(state)
        writer.failure(error, detail)
        if let failingSinceMs {
            writer.key("failing_since")
            writer.string(rfc3339(milliseconds: failingSinceMs))
        }
        if tries > 0 {
            writer.key("tries")
            writer.integer(tries)
        }
        if let nextTryMs {
            writer.key("next_try")
            writer.string(rfc3339(milliseconds: nextTryMs))
        }
        writer.key("batch_records_max")
        writer.integer(batchRecordsMax)
    }
}

extension GatewayView.Broker {
    /// `"kind":…,"guarantee":…,"reachable":…,"error":…,"detail":…,"topics_warned":…,"warnings":[…]`
    fileprivate func write(to writer: inout JSONWriter) {
        writer.key("kind")
        writer.string(kind)
        writer.key("guarantee")
        writer.string(guarantee)
        if let reachable {
            writer.key("reachable")
            writer.bool(reachable)
        }
        writer.failure(error, detail)
        if let topicsWarned {
            writer.key("topics_warned")
            writer.integer(topicsWarned)
        }
        if !warnings.isEmpty {
            writer.key("warnings")
            writer.array { writer in for warning in warnings { writer.string(warning) } }
        }
    }
}

extension JSONWriter {
    /// `"error":…,"detail":…`, what there is of it.
    fileprivate mutating func failure(_ error: String?, _ detail: String?) {
        if let error {
            key("error")
            string(error)
        }
        if let detail {
            key("detail")
            string(detail)
        }
    }
}
