import DeadLetters
import Forwarder
import Primitives
import Spool
import Telemetry

/// Series that are computed at each scrape, from what the modules know in memory: no disk, no broker, and no lock for
/// longer than it takes to read a number.
struct GatewaySeries: Sendable {
    let version: String
    let settings: Settings
    let spool: Spool
    let forwarder: Forwarder
    let clock: any TimeSource
    /// Why no records are accepted, as a stable code; nil while they are.
    let closed: @Sendable () -> String?

    func samples() -> [MetricSample] {
        let lanes = forwarder.status
        return [MetricSample("postrider_build_info", labels: [("version", version)], value: 1)]
            + readiness(lanes) + disk() + limits() + lanes.flatMap { samples(of: $0) }
    }

    private func readiness(_ lanes: [LaneStatus]) -> [MetricSample] {
        let closed = closed()
        let samples = [
            MetricSample("postrider_accepting", value: closed == nil ? 1 : 0),
            MetricSample("postrider_forwarding", value: lanes.allSatisfy { $0.state == .forwarding } ? 1 : 0),
        ]
        return samples
            + (closed.map { [MetricSample("postrider_not_accepting", labels: [("reason", $0)], value: 1)] } ?? [])
    }

    private func disk() -> [MetricSample] {
        let lanes = 0..<spool.settings.lanes
        let damaged = spool.warnings.count { if case .laneDamaged = $0 { true } else { false } }
        let oldest = lanes.map { spool.lagAge(lane: $0) }.max() ?? .zero
        return [
            MetricSample("postrider_spool_max_bytes", value: Double(spool.settings.bytesMax)),
            MetricSample(
                "postrider_spool_quota_ratio", value: Double(spool.usedBytes) / Double(spool.settings.bytesMax)),
            MetricSample(
                "postrider_spool_undelivered_records",
                value: Double(lanes.reduce(0) { $0 + spool.lagRecords(lane: $1) })),
            MetricSample("postrider_spool_oldest_seconds", value: oldest.inSeconds),
            MetricSample("postrider_spool_damaged_lanes", value: Double(damaged)),
        ]
    }

    /// What gauges and counters are to be held against.
    private func limits() -> [MetricSample] {
        [
            MetricSample("postrider_idempotency_keys_max", value: Double(spool.settings.idempotency.keysMax)),
            MetricSample("postrider_idempotency_producers_max", value: Double(spool.settings.idempotency.producersMax)),
            MetricSample("postrider_dead_letters_max_bytes", value: Double(settings.deadLetters.bytesMax)),
        ]
    }

    private func samples(of lane: LaneStatus) -> [MetricSample] {
        let label = (name: "lane", value: String(lane.lane))
        var samples = LaneStatus.State.allCases.map { state in
            MetricSample(
                "postrider_lane_state", labels: [label, ("state", state.rawValue)], value: state == lane.state ? 1 : 0)
        }
        samples.append(
            MetricSample(
                "postrider_lane_lag_seconds", labels: [label], value: spool.lagAge(lane: lane.lane).inSeconds))
        if let code = lane.lastError, let since = lane.failingSinceMs {
            samples.append(
                MetricSample(
                    "postrider_lane_failing_seconds", labels: [label, ("code", code)],
                    value: Double(max(0, clock.wallMilliseconds() - since)) / 1000))
        }
        return samples
    }
}
