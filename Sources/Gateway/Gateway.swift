import API
public import Broker
import Consumers
import CoreMetrics
import DeadLetters
import Forwarder
public import HTTPServer
import Journal
import Logging
public import Primitives
import Records
import Spool
import Store
public import Telemetry

/// A running gateway: builds the modules, starts and stops them in order.
///
/// Life: `start`, then `stop` once. Failures that end the process are told to `ended`.
public final class Gateway: Sendable {
    public static let version = "0.1.0"

    /// A broker that does not answer must not keep intake closed: known topics are accepted without it.
    private static let firstOpeningsWait = Duration.seconds(5)

    private static let readinessInterval = Duration.seconds(1)

    private let settings: Settings
    private let log: Logger
    private let timers: TimerThread
    private let spool: Spool
    private let broker: BrokerParts
    private let forwarder: Forwarder
    private let consumers: Consumers
    private let consumerLooks: ConsumerLooks
    private let lookups: WorkQueue
    private let server: HTTPServer
    private let stopping: Lock<Bool>

    /// Of the HTTP server, also when the system chose it.
    public var port: UInt16 { server.port }

    /// Everything that it serves, for tests that hold the contract against it.
    public var routes: [Route] { server.routes }

    /// What its HTTP server holds now. Any thread.
    public var usage: HTTPServer.Usage { server.usage }

    /// Which requests the log tells of; may be changed at any time.
    var requestLog: RequestLogSettings {
        get { server.requestLog }
        set { server.requestLog = newValue }
    }

    /// Starts metrics and log for the whole process; once, before anything else. The log is to be flushed at the end.
    public static func bootstrap(_ settings: Settings) -> (metrics: MetricsRegistry, log: LogBuffer) {
        let registry = MetricsRegistry()
        let process = ProcessMetrics()
        registry.collect { process.samples() }
        MetricsSystem.bootstrap(registry)
        Limit.registerAll()
        let control = LogControl(settings.logOptions)
        let buffer = LogBuffer(to: StderrSink(), control: control)
        LoggingSystem.bootstrap { StderrLogHandler(label: $0, control: control, sink: buffer) }
        return (registry, buffer)
    }

    /// Recovers, opens everything and begins to serve. Blocks while it recovers.
    ///
    /// - Parameters:
    ///   - fileSystem: of the spool; another one only in tests.
    ///   - sinks: what lanes open instead of the broker's sinks; others only in tests.
    ///   - ended: the process must exit with this code; called on any thread, possibly before this returns.
    public static func start(
        _ settings: Settings, metrics: MetricsRegistry, fileSystem: any FileSystem = SystemFileSystem(),
        sinks: (any RecordSinkFactory) -> any RecordSinkFactory = { $0 },
        ended: @escaping @Sendable (ExitReason) -> Void
    ) throws(StartError) -> Gateway {
        do throws(SettingsError) {
            try settings.check()
        } catch {
            throw StartError(.cannotStart, error.description)
        }
        return try Gateway(settings.completed, metrics, fileSystem, sinks, ended)
    }

    private init(
        _ settings: Settings, _ metrics: MetricsRegistry, _ fileSystem: any FileSystem,
        _ sinks: (any RecordSinkFactory) -> any RecordSinkFactory, _ ended: @escaping @Sendable (ExitReason) -> Void
    ) throws(StartError) {
        self.settings = settings
        let clock = SystemClock()
        let log = Logger(label: "postrider.gateway")
        self.log = log
        let changed = settings.logMetadata
        log.notice(
            changed.isEmpty ? "every setting has its default" : "settings that are not the defaults", metadata: changed)
        for warning in settings.warnings { log.warning("setting", metadata: ["warning": "\(warning)"]) }
        let timers = TimerThread(clock: clock)
        self.timers = timers
        let stopping = Lock(false)
        self.stopping = stopping

        spool = try Self.openSpool(settings, fileSystem, clock, timers) { ended(.diskFailed) }
        let deadLetters: DeadLetters
        do throws(BrokerError) {
            broker = try BrokerParts.open(settings, clock: clock, timers: timers) {
                ended(ExitReason(brokerCode: $0.code))
            }
            consumers = try Consumers(
                source: broker.source, offsets: broker.offsets, topics: broker.topics,
                submitter: SpoolSubmitter(
                    spool, patience: settings.syncInterval + settings.spool.journal.syncTimeout, clock: clock,
                    timers: timers),
                clock: clock, timers: timers, epoch: spool.epoch, settings: settings.consumers)
        } catch {
            spool.close()
            timers.stop()
            throw StartError(ExitReason(brokerCode: error.code), error.description)
        }
        do throws(StoreError) {
            if let reader = broker.outcomes {
                spool.findOutcomes(with: reader)
            } else {
                try spool.keepOutcomes(in: Self.spoolDirectory(settings), settings: settings.receipts)
            }
            deadLetters = try DeadLetters(
                directory: settings.dataDirectory + "/dead-letters", settings: settings.deadLetters)
        } catch {
            throw StartError(.cannotStart, "dead letters, outcomes: \(error)")
        }
        let spool = spool
        let forwarder = Forwarder(
            spool: spool, sinks: sinks(broker.sinks), deadLetters: deadLetters, settings: settings.forwarder,
            clock: clock,
            hooks: ForwarderHooks(
                processFatal: { code, _ in ended(ExitReason(brokerCode: code)) },
                historyUnknown: { _, _ in spool.closeIntake("spool_history_unknown") }))
        self.forwarder = forwarder
        lookups = WorkQueue(name: "lookups", depthMax: 4096)
        let view = GatewayView(
            version: Self.version,
            lanes: {
                forwarder.status.map {
                    GatewayView.Lane(
                        lane: $0.lane, state: $0.state.rawValue, error: $0.lastError, detail: $0.lastErrorDetail,
                        failingSinceMs: $0.failingSinceMs, tries: $0.retries, nextTryMs: $0.nextTryMs,
                        batchRecordsMax: $0.batchRecordsMax)
                }
            },
            broker: broker.health, isStopping: { stopping.withLock { $0 } })
        let looks = ConsumerLooks(consumers, clock: clock, timers: timers)
        consumerLooks = looks
        let series = GatewaySeries(
            version: Self.version, settings: settings, spool: spool, forwarder: forwarder, clock: clock,
            closed: { stopping.withLock { $0 } ? "stopping" : spool.intakeClosed })
        metrics.collect { series.samples() + looks.samples }
        let api = API(
            settings: settings.limits, spool: spool, consumers: consumers, topics: broker.topics,
            records: broker.source,
            deadLetters: deadLetters, metrics: metrics, view: view, clock: clock, lookups: lookups)
        // A restored or copied spool shows at the first opening of its sinks: before anything is accepted for it.
        forwarder.start()
        forwarder.waitForFirstOpenings(until: clock.now() + Self.firstOpeningsWait)
        do throws(StartError) {
            server = try Self.serve(api, settings, spool.shortID, timers)
        } catch {
            forwarder.stop()
            spool.close()
            broker.close()
            timers.stop()
            throw error
        }
        Self.watchReadiness(api, timers)
        looks.start()
        log.notice(
            "serving",
            metadata: [
                "address": "\(settings.http.address)", "port": "\(server.port)", "gateway": "\(spool.shortID)",
                "data": "\(settings.dataDirectory)", "broker": "\(settings.brokerKind.rawValue)",
                "recovered_to": "\(spool.recovery.end)",
                "torn_bytes": "\(spool.recovery.tornBytes)",
                "verified_records": "\(spool.recovery.verifiedRecords)",
            ])
    }

    private static func openSpool(
        _ settings: Settings, _ fileSystem: any FileSystem, _ clock: SystemClock, _ timers: TimerThread,
        failed: @escaping @Sendable () -> Void
    ) throws(StartError) -> Spool {
        let kind: FileSystemKind
        do throws(FileSystemError) {
            try fileSystem.createDurableDirectory(settings.dataDirectory)
            kind = try fileSystem.kind(settings.dataDirectory)
        } catch {
            throw StartError(error)
        }
        try checkDirectory(kind, settings)
        do throws(JournalError) {
            return try Spool.open(
                directory: spoolDirectory(settings), settings: settings.spool, fileSystem: fileSystem,
                clock: clock, timers: timers, failed: { _ in failed() })
        } catch {
            throw StartError(error)
        }
    }

    private static func spoolDirectory(_ settings: Settings) -> String { settings.dataDirectory + "/spool" }

    /// Locks, syncs and SQLite's log need a file system of this machine.
    private static func checkDirectory(_ kind: FileSystemKind, _ settings: Settings) throws(StartError) {
        let warning: String
        switch kind {
        case .local: return
        case .network(let name):
            guard settings.allowNetworkFileSystem else {
                throw StartError(
                    .cannotStart,
                    "\(settings.dataDirectory) is on a network file system (\(name)), where neither locks nor syncs "
                        + "can be relied on; put it on a local disk, or set spool.allow_network_file_system=true")
            }
            warning = "on a network file system (\(name)): what is accepted is as durable as the server keeps its word"
        case .userSpace: warning = "on a FUSE file system: what a sync does is up to the program behind it"
        case .memory: warning = "in memory (tmpfs): what is accepted is gone with the power"
        }
        Logger(label: "postrider.gateway").warning(
            "data directory", metadata: ["path": "\(settings.dataDirectory)", "warning": "\(warning)"])
    }

    /// So that `/readyz` can say since when something is as it is.
    private static func watchReadiness(_ api: API, _ timers: TimerThread) {
        api.noteReadiness()
        timers.schedule(at: SystemClock().now() + readinessInterval) { watchReadiness(api, timers) }
    }

    private static func serve(
        _ api: API, _ settings: Settings, _ gateway: String, _ timers: TimerThread
    ) throws(StartError) -> HTTPServer {
        var http = settings.http
        http.commonHeaders = [HTTPHeader("Postrider-Gateway", gateway)]
        do {
            return try HTTPServer(
                settings: http, router: try api.router(), timers: timers, logger: Logger(label: "postrider.http"),
                problems: { API.response(to: $0) })
        } catch {
            throw StartError(.cannotStart, "\(error)")
        }
    }

    /// Stops accepting, answers what is in flight and what waits, hands over what the broker takes, lets hand-overs
    /// end, proves and closes the spool. Blocks; call once.
    ///
    /// - Parameter delay: for so long everything is served as before, only that `/readyz` says 503 `stopping` and each
    ///   response closes its connection: balancers and clients go elsewhere before anybody is refused.
    public func stop(after delay: Duration = .zero) {
        log.notice("stopping", metadata: ["serving_on_for_ms": "\(delay.wholeMilliseconds)"])
        stopping.withLock { $0 = true }
        server.drain()
        if delay > .zero {
            _ = Monitor(()).wait(until: SystemClock().now() + delay) { _ -> Void? in nil }
        }
        consumerLooks.stop()
        server.stop(deadline: SystemClock().now() + settings.stopTimeout)
        let left = Monitor(false)
        consumers.stop {
            left.withLock { $0 = true }
            left.signal()
        }
        _ = left.wait(until: SystemClock().now() + settings.stopTimeout) { $0 ? true : nil }
        lookups.stop()
        forwarder.drain()
        forwarder.stop()
        let undelivered = (0..<spool.settings.lanes).reduce(0) { $0 + spool.lagRecords(lane: $1) }
        spool.close()
        broker.close()
        timers.stop()
        log.notice("stopped", metadata: ["undelivered_records": "\(undelivered)"])
    }
}
