import API
public import Gateway
import HTTPServer
import Journal
public import Primitives
import Spool
import Telemetry
public import TestSupport

/// A gateway in this process: real sockets and files, a port that the system chose, a directory of its own.
public final class LocalGateway: Sendable {
    public let directory: TemporaryDirectory
    public let gateway: Gateway
    /// Why the process would have ended, in order.
    public let ended = Monitor<[ExitReason]>([])
    private let isStopped = Lock(false)
    /// Goes after the gateway.
    private let broker: BrokerInstance?

    public var port: UInt16 { gateway.port }

    /// - Parameters:
    ///   - directory: of an earlier gateway, to start again on it.
    ///   - fileSystem: of the spool.
    ///   - broker: nil: the embedded one.
    public init(
        in directory: TemporaryDirectory? = nil, fileSystem: any FileSystem = SystemFileSystem(),
        on broker: BrokerInstance? = nil, _ configure: (inout Settings) throws -> Void = { _ in }
    ) throws {
        let directory = try directory ?? TemporaryDirectory()
        self.directory = directory
        self.broker = broker
        var settings = Settings.small
        settings.dataDirectory = directory.path + "/data"
        broker?.configure(&settings)
        try configure(&settings)
        // A fake file system holds the spool only; the broker's directory is real.
        try SystemFileSystem().createDirectory(settings.dataDirectory)
        let ended = ended
        gateway = try Gateway.start(settings, metrics: MetricsRegistry(), fileSystem: fileSystem) { reason in
            ended.withLock { $0.append(reason) }
            ended.broadcast()
        }
    }

    deinit { stop() }

    public func client() throws -> HTTPClient { try HTTPClient(port: port, owner: self) }

    /// One request on a connection of its own.
    public func request(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: [UInt8]? = nil
    ) throws -> Answer {
        try client().request(method, target, headers, body: body)
    }

    /// In order. A second call does nothing.
    public func stop() {
        let first = isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        if first { gateway.stop() }
    }

    /// The first reason to end, once there is one.
    public func waitForEnd(within: Duration = HTTPClient.patience) -> ExitReason? {
        ended.wait(until: SystemClock().now() + within) { $0.first }
    }
}

extension Settings {
    /// Sizes that a test can reach, and intervals that a test can wait for.
    public static var small: Settings {
        var settings = Settings()
        settings.http.port = 0
        settings.http.sweepInterval = .milliseconds(20)
        // Tests refuse many requests on purpose.
        settings.http.requestLog.kept = .none
        settings.spool.lanes = 2
        settings.spool.bytesMax = 32 << 20
        settings.spool.journal.segmentBytes = 4 << 20
        settings.spool.journal.reserveBytes = 64 << 10
        settings.spool.journal.zeroFill = false
        settings.spool.journal.keeperInterval = .milliseconds(100)
        settings.spool.journal.idleFrameDelay = .milliseconds(20)
        settings.limits.requestBytesMax = 1 << 20
        settings.limits.recordBytesMax = 64 << 10
        settings.limits.recordsMax = 200
        settings.stopTimeout = .seconds(3)
        return settings
    }
}
