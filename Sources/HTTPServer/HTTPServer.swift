import Glibc
public import Logging
public import Primitives

/// An HTTP/1.1 server on libmicrohttpd. Life: `start`, then `drain` and `quiesce` (optional), then `stop`, once.
///
/// Threads: `threads` event loops on which handlers run, one that accepts, one that sweeps; deadlines of parked
/// requests run on `timers`. Any thread but these may call `drain`, `quiesce` and `stop`.
public final class HTTPServer: Sendable {
    /// After the stop's deadline: for the last 503s to leave.
    static let lastWords = Duration.seconds(1)

    /// The one in use, also when the system chose it.
    public let port: UInt16

    private let core: ServerCore
    private let daemon: Daemon
    private let acceptor: Acceptor
    private let sweep: Sweep
    private let stopped = Lock(false)

    /// - Parameters:
    ///   - timers: must outlive the server.
    ///   - limitsClock: of the limits for each address; another one only in tests.
    ///   - requestLogger: for the lines about requests that are over.
    ///   - problems: makes the response for what the server itself refuses. Runs on any of its threads; must be quick.
    public init(
        settings: HTTPServerSettings, router: Router, timers: any Timers, limitsClock: any TimeSource = SystemClock(),
        logger: Logger, requestLogger: Logger = Logger(label: HTTPServer.requestLogLabel),
        problems: @escaping @Sendable (ServerProblem) -> HTTPResponse
    ) throws(HTTPServerError) {
        if let fault = settings.fault { throw .invalidSettings(fault) }
        raiseOpenFiles(needed: settings.connectionsMax, logger)
        let socket = try ListenSocket(address: settings.address, port: settings.port, backlog: settings.listenBacklog)
        core = ServerCore(settings, router, timers, limitsClock, logger, requestLogger, problems)
        port = socket.port
        do throws(HTTPServerError) {
            daemon = try Daemon(core)
        } catch {
            socket.close()
            throw error
        }
        do throws(HTTPServerError) {
            acceptor = try Acceptor(socket, daemon, core)
        } catch {
            daemon.stop()
            socket.close()
            throw error
        }
        sweep = Sweep(core)
    }

    /// Of the logger that tells of requests.
    public static let requestLogLabel = "postrider.requests"

    /// Which requests the log tells of, from now on.
    public var requestLog: RequestLogSettings {
        get { core.requestLog.settings }
        set { core.requestLog.settings = newValue }
    }

    /// The table it serves.
    public var routes: [Route] { core.router.routes }

    /// What the server holds at this moment; the same numbers are gauges.
    public struct Usage: Hashable, Sendable {
        public var connections: Int
        public var parked: Int
        public var bodyBytes: Int
        public var responseBytes: Int

        public init(connections: Int, parked: Int, bodyBytes: Int, responseBytes: Int) {
            self.connections = connections
            self.parked = parked
            self.bodyBytes = bodyBytes
            self.responseBytes = responseBytes
        }
    }

    public var usage: Usage { core.usage }

    /// Each response from now closes its connection, so that clients come back elsewhere; new connections are taken,
    /// and requests served, as before.
    public func drain() { core.drain() }

    /// Stops accepting, besides.
    public func quiesce() {
        core.drain()
        acceptor.stop()
    }

    /// Ends the server. New requests get 503 `stopping`, waits of parked requests end at once with their own answer,
    /// others may finish until the deadline and get 503 `stopping` then. Returns when all connections are closed and
    /// the threads have ended; a second call does nothing.
    public func stop(deadline: MonotonicInstant) {
        stopped.withLock { stopped in
            guard !stopped else { return }
            stopped = true
            finish(deadline)
        }
    }

    private func finish(_ deadline: MonotonicInstant) {
        quiesce()
        core.refuse()
        for connection in core.liveConnections { connection.endWait() }
        if !core.waitUntilQuiet(deadline) {
            core.end()
            let response = core.response(to: .ending(reachedHandler: true))
            for connection in core.liveConnections { connection.end(response) }
            _ = core.waitUntilQuiet(core.clock.now() + Self.lastWords)
        }
        // From here a handler that is still running answers instead of suspending.
        core.end()
        for connection in core.liveConnections { connection.end(core.response(to: .ending(reachedHandler: true))) }
        sweep.stop()
        daemon.stop()
    }
}

/// Each connection is a file; the soft limit is often 1,024 for the sake of select(2), which is not used here.
private func raiseOpenFiles(needed: Int, _ logger: Logger) {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max
        guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return logger.warning("cannot raise the limit of open files", metadata: ["errno": "\(errno)"])
        }
    }
    if limit.rlim_cur < rlim_t(needed) {
        logger.warning(
            "fewer files may be open than connections are allowed",
            metadata: ["files": "\(limit.rlim_cur)", "connections": "\(needed)"])
    }
}
