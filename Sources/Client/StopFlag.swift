import Glibc
import Primitives

/// Asks a running command to end in order. Any thread.
public final class StopFlag: Sendable {
    private let state = Monitor(false)

    public init() {}

    public var isSet: Bool { state.withLock { $0 } }

    public func set() {
        state.withLock { $0 = true }
        state.broadcast()
    }

    /// Sleeps that long, or until it is set. - Returns: whether it is set.
    @discardableResult
    public func wait(_ time: Duration) -> Bool {
        state.wait(until: SystemClock().now() + time) { $0 ? true : nil } ?? false
    }

    /// Sets it at the first SIGTERM or SIGINT; the second ends the process at once, with 128 + its number as shells
    /// say it. To be called before other threads are started: they inherit that the signals are blocked. Writing to
    /// closed pipes is an error from then on, and no end.
    public func setBySignals() {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        _ = WorkerThread(name: "signals") { [self] in
            var signals = sigset_t()
            sigemptyset(&signals)
            sigaddset(&signals, SIGTERM)
            sigaddset(&signals, SIGINT)
            var received: Int32 = 0
            while sigwait(&signals, &received) != 0 {}
            set()
            while sigwait(&signals, &received) != 0 {}
            _exit(128 + received)
        }
    }
}
