public import Broker
import Forwarder
import Glibc
import Journal
import Logging
public import Primitives
import Spool
import Telemetry

/// `postrider serve` as a process: signals, and the exit code of each end.
public enum ServeProcess {
    /// Answers that are on their way when the spool fails get this long to leave.
    private static let lastAnswers = Duration.milliseconds(300)

    /// Past the time-outs of requests and syncs, an orderly stop gives up.
    private static let lastResort = Duration.seconds(30)

    /// The last log lines get this long to get out.
    private static let lastLines = Duration.milliseconds(500)

    /// Where a signal meets the gateway.
    private enum Phase {
        case starting
        case running(Gateway)
        case ending
    }

    /// Runs the gateway until a signal or a failure ends it, then exits. SIGTERM and SIGINT stop in order, SIGINT
    /// without `http.drain_delay`: somebody at a terminal waits. A second one stops at once. One that comes while the
    /// gateway still starts ends it there: nobody was promised anything, and whatever recovery was doing, the next
    /// start does. SIGHUP reads the settings again and takes over those of the log.
    ///
    /// - Parameters:
    ///   - fileSystem: of the spool; another one only in tests.
    ///   - sinks: what lanes open instead of the broker's sinks; others only in tests.
    ///   - reload: reads all settings from where `settings` came; on a thread of its own. nil: SIGHUP does nothing.
    public static func run(
        _ settings: Settings, fileSystem: any FileSystem = SystemFileSystem(),
        sinks: @escaping @Sendable (any RecordSinkFactory) -> any RecordSinkFactory = { $0 },
        reload: (@Sendable () throws(SettingsError) -> Settings)? = nil
    ) -> Never {
        ProcessMemory.configure()
        // Blocked before any thread exists, so that only the waiting below sees them.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGHUP)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)

        let (metrics, log) = Gateway.bootstrap(settings)
        let logger = Logger(label: "postrider.gateway")
        let logReload = LogReload(settings, control: log.control)
        // A disk that hangs must not keep the signals behind it waiting.
        let hangUp = {
            if let reload { _ = WorkerThread(name: "reload") { logReload.reload(reload) } }
        }
        // What ended it first: a failure during an orderly stop is no orderly stop.
        let failure = Lock<ExitReason?>(nil)
        let phase = Lock(Phase.starting)
        _ = WorkerThread(name: "start") {
            do throws(StartError) {
                let gateway = try Gateway.start(
                    settings, metrics: metrics, fileSystem: fileSystem, sinks: sinks,
                    ended: { reason in
                        failure.withLock { $0 = $0 ?? reason }
                        logger.critical("the process ends", metadata: reason.logMetadata)
                        _ = WorkerThread(name: "exit") {
                            usleep(UInt32(lastAnswers.wholeNanoseconds / 1000))
                            log.flush(within: lastLines)
                            _exit(reason.rawValue)
                        }
                    })
                logReload.attach(gateway)
                phase.withLock { if case .starting = $0 { $0 = .running(gateway) } }
            } catch {
                logger.critical(
                    "cannot start", metadata: error.reason.logMetadata.merging(["error": "\(error)"]) { $1 })
                log.flush(within: lastLines)
                exit(error.reason.rawValue)
            }
        }
        let signal = waitForEnd(&signals, hangUp)
        let met = phase.withLock { phase in
            defer { phase = .ending }
            return phase
        }
        guard case .running(let gateway) = met else {
            logger.notice("stopped while it was starting")
            log.flush(within: lastLines)
            _exit((failure.withLock { $0 } ?? .stopped).rawValue)
        }
        _ = WorkerThread(name: "stop") {
            gateway.stop(after: signal == SIGTERM ? settings.drainDelay : .zero)
            log.flush(within: lastLines)
            exit((failure.withLock { $0 } ?? .stopped).rawValue)
        }
        // A disk that hangs must not keep it for ever.
        _ = WorkerThread(name: "stop-limit") {
            let limit =
                settings.drainDelay + settings.stopTimeout + settings.forwarder.drainTimeout
                + settings.spool.journal.syncTimeout + lastResort
            _ = Monitor(()).wait(until: SystemClock().now() + limit) { _ -> Void? in nil }
            logger.critical(
                "the stop does not end, the rest is left to the next start",
                metadata: ExitReason.diskFailed.logMetadata.merging(["waited_ms": "\(limit.wholeMilliseconds)"]) { $1 })
            log.flush(within: lastLines)
            _exit(ExitReason.diskFailed.rawValue)
        }
        _ = waitForEnd(&signals, hangUp)
        _exit(ExitReason.stoppedAtOnce.rawValue)
    }

    /// - Returns: SIGTERM or SIGINT.
    private static func waitForEnd(_ signals: inout sigset_t, _ hangUp: () -> Void) -> Int32 {
        var received: Int32 = 0
        while true {
            guard sigwait(&signals, &received) == 0 else { continue }
            if received != SIGHUP { return received }
            hangUp()
        }
    }

    /// One line to standard error, for what is said before there is a log.
    public static func complain(_ text: String) {
        let line = Array((text + "\n").utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }
}

extension ExitReason {
    fileprivate var logMetadata: Logger.Metadata {
        ["exit_code": .stringConvertible(rawValue), "reason": "\(self)"]
    }
}
