import Glibc
public import Primitives

/// `postrider serve` as a process: signals, and the exit code of each end.
public enum ServeProcess {
    /// Answers that are on their way when the spool fails get this long to leave.
    private static let lastAnswers = Duration.milliseconds(300)

    /// Runs the gateway until a signal or a failure ends it, then exits. SIGTERM and SIGINT stop in order; a second
    /// one stops at once.
    public static func run(_ settings: Settings, fileSystem: any FileSystem = SystemFileSystem()) -> Never {
        // Blocked before any thread exists, so that only the waiting below sees them.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)

        let metrics = Gateway.bootstrap(settings)
        let gateway: Gateway
        do throws(StartError) {
            gateway = try Gateway.start(settings, metrics: metrics, fileSystem: fileSystem) { reason in
                _ = WorkerThread(name: "exit") {
                    usleep(UInt32(lastAnswers.wholeNanoseconds / 1000))
                    _exit(reason.rawValue)
                }
            }
        } catch {
            complain("postrider: \(error)")
            exit(error.reason.rawValue)
        }
        waitForSignal(&signals)
        _ = WorkerThread(name: "stop") {
            gateway.stop()
            exit(ExitReason.stopped.rawValue)
        }
        waitForSignal(&signals)
        _exit(ExitReason.stoppedAtOnce.rawValue)
    }

    private static func waitForSignal(_ signals: inout sigset_t) {
        var received: Int32 = 0
        while sigwait(&signals, &received) != 0 {}
    }

    /// One line to standard error.
    public static func complain(_ text: String) {
        let line = Array((text + "\n").utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }
}
