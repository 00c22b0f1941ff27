import Glibc

/// A named system thread for work that may block. Its owner joins it; there are as many as ARCHITECTURE.md lists.
// SAFETY: `handle` is written once in init; `joined` is guarded by its own lock.
public final class WorkerThread: @unchecked Sendable {
    private let handle: pthread_t
    private let joined = Lock(false)

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// - Parameter name: shown by `ps -L` and debuggers; cut to 15 bytes.
    public init(name: String, _ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(name: String(name.prefix(15)), body: body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                nameThisThread(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        precondition(result == 0, "pthread_create: \(result)")
        handle = thread
    }

    /// Returns when the body has returned. Only the first call waits; never call from the thread itself.
    public func join() {
        let first = joined.withLock { joined in
            defer { joined = true }
            return !joined
        }
        if first { pthread_join(handle, nil) }
    }

    deinit {
        if !joined.withLock({ $0 }) { pthread_detach(handle) }
    }
}

/// Best effort: a name is for people who look at the process. (glibc declares `pthread_setname_np` for GNU sources
/// only, which Swift's module map is not.)
private func nameThisThread(_ name: String) {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = name.withCString { write(descriptor, $0, strlen($0)) }
    close(descriptor)
}
