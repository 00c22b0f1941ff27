/// A thread that runs what is queued, in order: for calls that may block, made from threads that must not.
public final class WorkQueue: Sendable {
    private struct State {
        var waiting: [@Sendable () -> Void] = []
        var stopping = false
    }

    private let depthMax: Int
    private let monitor = Monitor(State())
    private let thread: WorkerThread

    /// - Parameter depthMax: calls waiting; beyond it `run` refuses.
    public init(name: String, depthMax: Int) {
        self.depthMax = depthMax
        let monitor = monitor
        thread = WorkerThread(name: name) {
            while true {
                let work = monitor.wait { state -> [@Sendable () -> Void]? in
                    if state.waiting.isEmpty { return state.stopping ? [] : nil }
                    defer { state.waiting = [] }
                    return state.waiting
                }
                guard let work, !work.isEmpty else { return }
                for call in work { call() }
            }
        }
    }

    /// - Returns: false when the queue is full or stopped; the call will not run then.
    public func run(_ call: @escaping @Sendable () -> Void) -> Bool {
        let queued = monitor.withLock { state in
            guard !state.stopping, state.waiting.count < depthMax else { return false }
            state.waiting.append(call)
            return true
        }
        if queued { monitor.signal() }
        return queued
    }

    /// Runs what is queued, then ends the thread. Never call from a queued call.
    public func stop() {
        monitor.withLock { $0.stopping = true }
        monitor.broadcast()
        thread.join()
    }
}
