public import Broker
public import Consumers
public import DeadLetters
public import HTTPServer
import Logging
public import Primitives
public import Spool
public import Telemetry

/// Limits of the HTTP interface. Every limit has its default here.
public struct APISettings: Hashable, Sendable {
    /// A request in one piece.
    public var requestBytesMax = 16 << 20
    /// Key, value and headers of one record.
    public var recordBytesMax = 1 << 20
    /// Records in one request.
    public var recordsMax = 10_000
    /// Record headers of one record.
    public var headersMax = 100
    /// Longest wait of a poll, a read, and `Prefer: wait`.
    public var waitMax = Duration.seconds(60)
    /// Items of a list's page, at most.
    public var listMax = 1_000
    /// Whether a request's `traceparent` and `tracestate` become headers of its records.
    public var traceHeaders = true
    /// Bytes that these add to all records of one request; with more the records go without them.
    public var traceBytesMax = 16 << 20

    public init() {}

    /// Response memory that the answer with one record takes at most, whatever its bytes and the form asked for: with
    /// less, there are records that nobody could read.
    public var recordAnswerBytesMax: Int {
        AnswerBytes.most(
            recordBytes: recordBytesMax + Self.gatewayHeaderBytesMax, headers: headersMax + Self.gatewayHeadersMax)
    }

    /// Record headers that the gateway itself adds, as to a dead letter: their number, and bytes of names and values.
    static let (gatewayHeadersMax, gatewayHeaderBytesMax) = (16, 4 << 10)
}

/// What the gateway tells about itself beyond what the modules below know; made by Gateway.
public struct GatewayView: Sendable {
    /// One lane of the forwarder.
    public struct Lane: Sendable {
        public var lane: Int
        public var state: String
        public var error: String?
        public var detail: String?
        /// When the first failure since the last success was, in milliseconds since 1970 UTC.
        public var failingSinceMs: Int64?
        /// Failures since the last success.
        public var tries: Int
        /// When it tries again, while it waits for that, in milliseconds since 1970 UTC.
        public var nextTryMs: Int64?
        /// Records that the next hand-over may have.
        public var batchRecordsMax: Int

        public init(
            lane: Int, state: String, error: String?, detail: String?, failingSinceMs: Int64?, tries: Int,
            nextTryMs: Int64?, batchRecordsMax: Int
        ) {
            self.lane = lane
            self.state = state
            self.error = error
            self.detail = detail
            self.failingSinceMs = failingSinceMs
            self.tries = tries
            self.nextTryMs = nextTryMs
            self.batchRecordsMax = batchRecordsMax
        }

        var isForwarding: Bool { state == "forwarding" }
    }

    /// What stands behind the gateway.
    public struct Broker: Sendable {
        public var kind: String
        public var guarantee: String
        /// nil: nothing was heard of it yet.
        public var reachable: Bool?
        /// Its last failure since it was last reached.
        public var error: String?
        public var detail: String?
        /// Topics that are written to and can lose data, each with its reasons in its description; nil: nobody looks,
        /// or has so far.
        public var topicsWarned: Int?
        /// What about the broker's state can lose what the gateway keeps there, in words for people.
        public var warnings: [String]

        public init(
            kind: String, guarantee: String, reachable: Bool?, error: String? = nil, detail: String? = nil,
            topicsWarned: Int? = nil, warnings: [String] = []
        ) {
            self.topicsWarned = topicsWarned
            self.warnings = warnings
            self.kind = kind
            self.guarantee = guarantee
            self.reachable = reachable
            self.error = error
            self.detail = detail
        }
    }

    public var version: String
    public var lanes: @Sendable () -> [Lane]
    public var broker: @Sendable () -> Broker
    /// SIGTERM came: not ready any more.
    public var isStopping: @Sendable () -> Bool

    public init(
        version: String, lanes: @escaping @Sendable () -> [Lane], broker: @escaping @Sendable () -> Broker,
        isStopping: @escaping @Sendable () -> Bool
    ) {
        self.version = version
        self.lanes = lanes
        self.broker = broker
        self.isStopping = isStopping
    }
}

/// The HTTP interface, version 1: routes, codecs and problem documents. Handlers never block: what may is done by the
/// modules' own threads or by `lookups`.
public struct API: Sendable {
    let settings: APISettings
    let spool: Spool
    let consumers: Consumers
    let topics: any TopicAdmin
    let records: any RecordSource
    let deadLetters: DeadLetters
    let metrics: MetricsRegistry
    let view: GatewayView
    let clock: any TimeSource
    /// For calls that read the disk: receipts and dead letters.
    let lookups: WorkQueue
    let readiness: ReadinessWatch
    let log = Logger(label: "postrider.api")

    public init(
        settings: APISettings, spool: Spool, consumers: Consumers, topics: any TopicAdmin,
        records: any RecordSource, deadLetters: DeadLetters, metrics: MetricsRegistry, view: GatewayView,
        clock: any TimeSource, lookups: WorkQueue
    ) {
        self.settings = settings
        self.spool = spool
        self.consumers = consumers
        self.topics = topics
        self.records = records
        self.deadLetters = deadLetters
        self.metrics = metrics
        self.view = view
        self.clock = clock
        self.lookups = lookups
        readiness = ReadinessWatch(spool: spool, consumers: consumers, view: view, clock: clock)
    }

    /// Looks at what `/readyz` tells, so that it can say since when: to be called every second or so. Never blocks.
    public func noteReadiness() { _ = readiness.look() }

    /// The table of routes.
    public func router() throws(RouteTableError) -> Router {
        try Router(
            ProduceRoutes(self).routes + ReceiptRoutes(self).routes + DeadLetterRoutes(self).routes
                + TopicRoutes(self).routes + ReadRoutes(self).routes + ConsumerRoutes(self).routes
                + OperationRoutes(self).routes + StatusRoutes(self).routes + DocumentRoutes(self).routes)
    }

    /// The body of what the server itself refuses.
    public static func response(to problem: ServerProblem) -> HTTPResponse { Problem.of(problem).response }

    /// Runs what reads the disk, on a thread of its own. - Throws: 503 when too much waits for it already.
    func lookUp(_ job: @escaping @Sendable () -> Void) throws(Problem) {
        guard lookups.run(job) else {
            Limit.lookups.reached()
            throw .lookupsFull
        }
    }

    /// A route whose handler may refuse by throwing.
    func route(
        _ method: HTTPMethod, _ pattern: String, bodyBytesMax: Int = 0, isLimited: Bool = true,
        _ handler: @escaping @Sendable (HTTPRequest, Responder) throws(Problem) -> Void
    ) -> Route {
        Route(method, pattern, bodyBytesMax: bodyBytesMax, isLimited: isLimited) { request, responder in
            do throws(Problem) {
                try handler(request, responder)
            } catch {
                responder.respond(error.response)
            }
        }
    }
}
