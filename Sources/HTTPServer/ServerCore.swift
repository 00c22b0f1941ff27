import CMicrohttpd
import Logging
import Primitives
import Synchronization

/// What connections, sweep and server share. Any thread may call.
final class ServerCore: Sendable {
    let settings: HTTPServerSettings
    let router: Router
    let timers: any Timers
    let clock: any TimeSource = SystemClock()
    let logger: Logger
    let requestLog: RequestLog
    let metrics = ServerMetrics()
    let requestMetrics: RequestMetrics
    let bodyMemory: MemoryBudget
    let responseMemory: MemoryBudget
    let requestPrefix = UInt32.random(in: .min ... .max)
    /// Of the settings, as C strings.
    let commonHeaders: [(name: [CChar], value: [CChar])]
    let browsers: BrowserPolicy
    let addresses: AddressLimits
    /// libmicrohttpd before 1.0 needs and allows it (see `RequestFraming`).
    let checksLayout: Bool

    private let problems: @Sendable (ServerProblem) -> HTTPResponse
    private let requests = Atomic<UInt64>(0)
    private let parked = Atomic<Int>(0)
    private let open = Atomic<Int>(0)
    private let connections = Lock<[ObjectIdentifier: Connection]>([:])
    private let draining = Atomic<Bool>(false)
    private let refusing = Atomic<Bool>(false)
    private let ending = Atomic<Bool>(false)
    /// How often something ended while stopping. (Not `Void`: the thread sanitizer takes a state without bytes for the
    /// object's header.)
    private let progress = Monitor<UInt64>(0)

    init(
        _ settings: HTTPServerSettings, _ router: Router, _ timers: any Timers, _ limitsClock: any TimeSource,
        _ logger: Logger, _ requestLogger: Logger, _ problems: @escaping @Sendable (ServerProblem) -> HTTPResponse
    ) {
        self.settings = settings
        self.router = router
        requestMetrics = RequestMetrics(router)
        self.timers = timers
        self.logger = logger
        requestLog = RequestLog(requestLogger, settings.requestLog)
        self.problems = problems
        bodyMemory = MemoryBudget(bytesMax: settings.bodyMemoryMax)
        responseMemory = MemoryBudget(bytesMax: settings.responseMemoryMax)
        commonHeaders = settings.commonHeaders.map { (Array($0.name.utf8CString), Array($0.value.utf8CString)) }
        browsers = BrowserPolicy(settings)
        addresses = AddressLimits(settings, limitsClock)
        checksLayout = MHD_get_version().map { $0[0] == CChar(bitPattern: UInt8(ascii: "0")) } ?? false
    }

    func response(to problem: ServerProblem) -> HTTPResponse {
        metrics.countRefused(problem.code)
        return problem.completing(problems(problem))
    }

    func nextRequestNumber() -> UInt64 { requests.add(1, ordering: .relaxed).newValue }

    // MARK: Connections

    /// Taken by the acceptor before libmicrohttpd gets the socket. - Returns: false when there are enough.
    func takeConnectionSpace() -> Bool {
        if open.add(1, ordering: .relaxed).newValue <= settings.connectionsMax { return true }
        returnConnectionSpace()
        return false
    }

    var isFull: Bool { open.load(ordering: .relaxed) >= settings.connectionsMax }

    func returnConnectionSpace() { open.subtract(1, ordering: .relaxed) }

    func insert(_ connection: Connection) {
        connections.withLock { $0[ObjectIdentifier(connection)] = connection }
    }

    func remove(_ connection: Connection) {
        // Once it is no longer among them, its places are free.
        addresses.returnConnection(connection.peer)
        returnConnectionSpace()
        connections.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(connection)) }
    }

    var liveConnections: [Connection] { connections.withLock { Array($0.values) } }

    // MARK: Parking

    func takeParkingSpace() -> Bool {
        if parked.add(1, ordering: .relaxed).newValue <= settings.effectiveParkedMax { return true }
        returnParkingSpace()
        Limit.parkedRequests.reached()
        return false
    }

    func returnParkingSpace() { parked.subtract(1, ordering: .relaxed) }

    func unpark(_ parking: Exchange.Parking) {
        returnParkingSpace()
        if let timer = parking.timer { timers.cancel(timer) }
    }

    var usage: HTTPServer.Usage {
        HTTPServer.Usage(
            connections: connections.withLock { $0.count }, parked: parked.load(ordering: .relaxed),
            bodyBytes: bodyMemory.usedBytes, responseBytes: responseMemory.usedBytes)
    }

    // MARK: Stopping, in this order; no way back

    /// Responses close their connections.
    var isDraining: Bool { draining.load(ordering: .relaxed) }
    /// New requests are refused, and waits end at once.
    var isRefusing: Bool { refusing.load(ordering: .sequentiallyConsistent) }
    /// Nothing may be suspended any more.
    var isEnding: Bool { ending.load(ordering: .sequentiallyConsistent) }

    func drain() { draining.store(true, ordering: .relaxed) }
    func refuse() { refusing.store(true, ordering: .sequentiallyConsistent) }
    func end() { ending.store(true, ordering: .sequentiallyConsistent) }

    /// A request or connection ended. - Note: call without any lock.
    func noteProgress() {
        guard isRefusing else { return }
        progress.withLock { $0 &+= 1 }
        progress.broadcast()
    }

    /// - Returns: false when requests are still under way at the deadline.
    func waitUntilQuiet(_ deadline: MonotonicInstant) -> Bool {
        progress.wait(until: deadline) { _ in liveConnections.allSatisfy(\.isQuiet) ? true : nil } ?? false
    }
}
