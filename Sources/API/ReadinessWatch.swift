import Consumers
import CoreMetrics
import JSON
import Primitives
import Spool
import Telemetry

/// One part of the gateway, and whether it does what it is for.
struct ReadinessPart: Hashable, Sendable {
    enum Name: String, CaseIterable {
        /// Serves on: nobody has asked it to stop.
        case gateway
        /// No operator has to decide anything before records are accepted.
        case intake
        /// Syncs return.
        case sync
        /// There is space on the disk.
        case disk
        /// The spool is within `spool.bytes_max`.
        case quota
        /// CHECKPOINT is written, and segments go.
        case housekeeping
        /// Every lane forwards.
        case forwarding
        /// It answered last.
        case broker
        /// It is known which there are.
        case consumers
    }

    var name: Name
    var isReady = true
    /// Stable, snake_case: what is wrong, or about to be.
    var code: String?
    /// For people.
    var detail: String?
    /// Since when it was seen to be so, in milliseconds since 1970 UTC.
    var sinceMs: Int64 = 0

    init(name: Name) { self.name = name }

    /// One that is not ready.
    init(_ name: Name, wrong code: String, detail: String? = nil) {
        self.name = name
        isReady = false
        self.code = code
        self.detail = detail
    }

    /// `"name":…,"ready":…,"code":…,"detail":…,"since":…`
    func write(to writer: inout JSONWriter) {
        writer.key("name")
        writer.string(name.rawValue)
        writer.key("ready")
        writer.bool(isReady)
        if let code {
            writer.key("code")
            writer.string(code)
        }
        if let detail {
            writer.key("detail")
            writer.string(detail)
        }
        writer.key("since")
        writer.string(rfc3339(milliseconds: sinceMs))
    }
}

/// Looks at the parts of the gateway, and remembers since when each is as it is. Any thread may call; short locks only.
final class ReadinessWatch: Sendable {
    private struct Seen {
        var isReady: Bool
        var code: String?
        var sinceMs: Int64
    }

    private static let highWater = "high_water"

    private let spool: Spool
    private let consumers: Consumers
    private let view: GatewayView
    private let clock: any TimeSource
    private let seen = Lock<[ReadinessPart.Name: Seen]>([:])
    private let gauges = Dictionary(
        uniqueKeysWithValues: ReadinessPart.Name.allCases.map {
            ($0, Gauge(label: "postrider_ready", dimensions: [("part", $0.rawValue)]))
        })

    init(spool: Spool, consumers: Consumers, view: GatewayView, clock: any TimeSource) {
        self.spool = spool
        self.consumers = consumers
        self.view = view
        self.clock = clock
    }

    /// How the parts are now, in the order of their names' declaration. What is called now and then sees changes that
    /// nobody asks about.
    func look() -> [ReadinessPart] {
        let now = clock.wallMilliseconds()
        let parts = [gateway, intake, sync, disk, quota, housekeeping, forwarding, broker, consumersKnown]
        return seen.withLock { seen in
            parts.map { part in
                var part = part
                if let before = seen[part.name], before.isReady == part.isReady, before.code == part.code {
                    part.sinceMs = before.sinceMs
                } else {
                    part.sinceMs = now
                    seen[part.name] = Seen(isReady: part.isReady, code: part.code, sinceMs: now)
                }
                gauges[part.name]?.record(part.isReady ? 1 : 0)
                return part
            }
        }
    }

    private var gateway: ReadinessPart {
        guard view.isStopping() else { return ReadinessPart(name: .gateway) }
        return ReadinessPart(
            .gateway, wrong: "stopping",
            detail: "requests are served until http.drain_delay is over, then the gateway ends")
    }

    // MARK: Spool

    private var intake: ReadinessPart {
        switch spool.intakeClosed {
        case nil, "sync_stalled", "failed", "no_space", "quota": return ReadinessPart(name: .intake)
        case "spool_history_unknown":
            return ReadinessPart(
                .intake, wrong: "spool_history_unknown",
                detail: "the broker has a checkpoint that this spool's history does not know: postrider spool adopt")
        case .some(let code): return ReadinessPart(.intake, wrong: code)
        }
    }

    private var sync: ReadinessPart {
        switch spool.intakeClosed {
        case "sync_stalled":
            ReadinessPart(
                .sync, wrong: "sync_stalled",
                detail: "a sync takes longer than spool.sync_timeout; records are accepted again when it returns")
        case "failed":
            ReadinessPart(.sync, wrong: "failed", detail: "a write or sync failed, and the process ends")
        default: ReadinessPart(name: .sync)
        }
    }

    private var disk: ReadinessPart {
        guard spool.intakeClosed == "no_space" else { return ReadinessPart(name: .disk) }
        return ReadinessPart(
            .disk, wrong: "no_space",
            detail: "the disk is full; records are accepted again when there is space")
    }

    private var quota: ReadinessPart {
        let (used, most) = (spool.usedBytes, spool.settings.bytesMax)
        let detail = "\(used) of spool.bytes_max \(most) bytes are used"
        if used >= most { return ReadinessPart(.quota, wrong: "quota", detail: detail) }
        guard used >= spool.settings.highWaterBytes else { return ReadinessPart(name: .quota) }
        var part = ReadinessPart(name: .quota)
        (part.code, part.detail) = (Self.highWater, detail)
        return part
    }

    private var housekeeping: ReadinessPart {
        guard spool.warnings.contains(.housekeepingStalled) else { return ReadinessPart(name: .housekeeping) }
        return ReadinessPart(
            .housekeeping, wrong: "housekeeping_stalled",
            detail: "the disk does not answer the spool's housekeeping: nothing is deleted, and the spool fills up")
    }

    // MARK: Behind it

    private var forwarding: ReadinessPart {
        let stuck = view.lanes().filter { !$0.isForwarding }
        guard let first = stuck.first else { return ReadinessPart(name: .forwarding) }
        let lanes = stuck.map { "\($0.lane) \($0.state)" }.joined(separator: ", ")
        let detail = first.detail.map { "lane \(lanes): \($0)" } ?? "lane \(lanes)"
        return ReadinessPart(.forwarding, wrong: first.error ?? first.state, detail: detail)
    }

    private var broker: ReadinessPart {
        let broker = view.broker()
        guard broker.reachable == false else { return ReadinessPart(name: .broker) }
        return ReadinessPart(.broker, wrong: broker.error ?? "broker_unreachable", detail: broker.detail)
    }

    private var consumersKnown: ReadinessPart {
        guard !consumers.isVerified else { return ReadinessPart(name: .consumers) }
        return ReadinessPart(
            .consumers, wrong: "consumers_unverified",
            detail: "the definitions of consumers are read from the broker, which does not answer")
    }
}
