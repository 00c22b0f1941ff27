import API
import Broker
import Consumers
import DeadLetters
import EmbeddedBroker
import Forwarder
import GatewayTestSupport
import HTTPServer
import Journal
import Logging
import Outcomes
import Primitives
import Records
import Spool
import Telemetry
import TestSupport

/// The HTTP interface over a real spool, forwarder and dead-letter store, and a broker that takes, refuses or holds up
/// records as the test says. (Topics and consumers are the embedded broker's.)
final class FakeGateway {
    /// A record whose value begins so is refused for ever, until `pardon`.
    static let mark = "BAD"

    let log: FakeLog
    let sinks: FakeSinks
    let spool: Spool
    let deadLetters: DeadLetters
    let server: HTTPServer
    let directory: TemporaryDirectory
    let outcomes: OutcomeFile
    let lookups = WorkQueue(name: "lookups", depthMax: 4096)
    private let broker: EmbeddedBroker
    private let forwarder: Forwarder
    private let timers = TimerThread()
    private let refuses: Lock<Bool>
    private let isStopped = Lock(false)

    /// - Parameters:
    ///   - holding: hand-overs hang from the start, until `release`.
    ///   - after: an earlier gateway, stopped, whose files and broker these are.
    ///   - topics: in place of the embedded broker's.
    ///   - source: where consumers read, in place of the embedded broker.
    init(
        holding: Bool = false, after: FakeGateway? = nil, forwarder settings: ForwarderSettings = ForwarderSettings(),
        spool spoolSettings: SpoolSettings = FakeGateway.spoolSettings,
        topics: (any TopicAdmin)? = nil, source: (any RecordSource)? = nil,
        http: (inout HTTPServerSettings) -> Void = { _ in }
    ) throws {
        directory = try after?.directory ?? TemporaryDirectory()
        log = after?.log ?? FakeLog()
        let refuses = Lock(true)
        self.refuses = refuses
        sinks = FakeSinks(
            log,
            refusal: { outgoing in
                let value = String(decoding: outgoing.spooled.record.value ?? [], as: UTF8.self)
                guard value.hasPrefix(Self.mark), refuses.withLock({ $0 }) else { return nil }
                return BrokerError(.recordFatal, code: "record_refused", detail: "as told by the test")
            })
        if holding { sinks.setPlan { $0.operation == .deliver && !$0.batch.isEmpty ? .hang : nil } }
        let path = directory.path
        for name in ["spool", "broker"] { try SystemFileSystem().createDirectory("\(path)/\(name)") }
        let spool = try Spool.open(
            directory: path + "/spool", settings: spoolSettings, timers: timers, log: Self.quiet, failed: { _ in })
        self.spool = spool
        outcomes = try OutcomeFile(
            directory: path + "/spool", spool: spool.id,
            delivered: (0..<spoolSettings.lanes).map { spool.delivered(lane: $0) })
        spool.keepOutcomes(in: outcomes)
        broker = try EmbeddedBroker(
            directory: path + "/broker", settings: .init(), clock: SystemClock(), timers: timers)
        deadLetters = try DeadLetters(directory: path + "/dead")
        forwarder = Forwarder(
            spool: spool, sinks: sinks, deadLetters: deadLetters, settings: settings, log: Self.quiet,
            hooks: ForwarderHooks(processFatal: { _, _ in }, historyUnknown: { _, _ in }))
        let consumers = try Consumers(
            source: source ?? broker, offsets: broker, topics: broker, submitter: FakeSubmitter(PendingCallbacks()),
            clock: SystemClock(),
            timers: timers, epoch: spool.epoch,
            settings: ConsumersSettings())
        let api = API(
            settings: APISettings(), spool: spool, consumers: consumers, topics: topics ?? broker, records: broker,
            deadLetters: deadLetters,
            metrics: MetricsRegistry(),
            view: GatewayView(
                version: "test", lanes: { [] },
                broker: { GatewayView.Broker(kind: "embedded", guarantee: "exactly-once", reachable: nil) },
                isStopping: { false }),
            clock: SystemClock(), lookups: lookups)
        var httpSettings = HTTPServerSettings()
        httpSettings.port = 0
        httpSettings.sweepInterval = .milliseconds(20)
        httpSettings.commonHeaders = [HTTPHeader("Postrider-Gateway", spool.shortID)]
        http(&httpSettings)
        server = try HTTPServer(
            settings: httpSettings, router: try api.router(), timers: timers, logger: Self.quiet,
            requestLogger: Self.quiet, problems: { API.response(to: $0) })
        forwarder.start()
    }

    deinit { stop() }

    static var spoolSettings: SpoolSettings {
        var settings = SpoolSettings()
        settings.lanes = 2
        settings.journal.segmentBytes = 4 << 20
        settings.journal.reserveBytes = 64 << 10
        settings.journal.zeroFill = false
        settings.journal.idleFrameDelay = .milliseconds(20)
        return settings
    }

    private static var quiet: Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }

    func client() throws -> HTTPClient { try HTTPClient(port: server.port, owner: self) }

    /// A hand-over of this value alone hangs.
    func hold(_ value: String) {
        sinks.setPlan { call in
            let values = call.batch.map { String(decoding: $0.spooled.record.value ?? [], as: UTF8.self) }
            return values == [value] ? .hang : nil
        }
    }

    /// Hand-overs that hang go on, and later ones do not hang.
    func release() {
        sinks.setPlan { _ in nil }
        sinks.release()
    }

    /// Whether marked records are refused from now on.
    func refuse(_ refuses: Bool) { self.refuses.withLock { $0 = refuses } }

    func stop() {
        let first = isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard first else { return }
        server.stop(deadline: SystemClock().now() + .seconds(3))
        lookups.stop()
        release()
        forwarder.stop()
        spool.close()
        broker.close()
        timers.stop()
    }
}
