/// Names one scheduled call.
public struct TimerToken: Hashable, Sendable {
    public let id: UInt64

    /// For implementations of `Timers` outside this module.
    public init(id: UInt64) { self.id = id }
}

/// Calls back at a deadline. Any thread may call any method.
public protocol Timers: Sendable {
    /// Runs `action` at or soon after `deadline`, on the timer thread. It must be short and must not block.
    @discardableResult
    func schedule(at deadline: MonotonicInstant, _ action: @escaping @Sendable () -> Void) -> TimerToken

    /// Best effort: an action that is about to run may still run once.
    func cancel(_ token: TimerToken)
}

/// The process's one timer thread. The number of entries is bounded by what schedules them: parked requests, leases
/// and lanes each have a limit of their own.
public final class TimerThread: Timers {
    fileprivate struct Entry {
        var deadline: MonotonicInstant
        var id: UInt64
    }

    fileprivate struct State {
        var heap: [Entry] = []
        var actions: [UInt64: @Sendable () -> Void] = [:]
        var nextID: UInt64 = 1
        var stopping = false
    }

    private let monitor = Monitor(State())
    private let clock: any TimeSource
    private let thread = Lock<WorkerThread?>(nil)

    public init(clock: any TimeSource = SystemClock()) {
        self.clock = clock
        let (monitor, clock) = (monitor, clock)
        let worker = WorkerThread(name: "timer") { Self.run(monitor, clock) }
        thread.withLock { $0 = worker }
    }

    @discardableResult
    public func schedule(at deadline: MonotonicInstant, _ action: @escaping @Sendable () -> Void) -> TimerToken {
        let (token, first) = monitor.withLock { state in
            let id = state.nextID
            state.nextID += 1
            if !state.stopping {
                state.actions[id] = action
                state.push(Entry(deadline: deadline, id: id))
            }
            return (TimerToken(id: id), state.heap.first?.id == id)
        }
        if first { monitor.signal() }
        return token
    }

    public func cancel(_ token: TimerToken) {
        monitor.withLock { state in
            guard state.actions.removeValue(forKey: token.id) != nil else { return }
            // Cancelled entries stay in the heap until their time; sweep when they are the majority.
            if state.heap.count > 1024, state.heap.count > 2 * state.actions.count {
                let live = state.heap.filter { state.actions[$0.id] != nil }
                state.heap = []
                for entry in live { state.push(entry) }
            }
        }
    }

    /// Drops what is scheduled and joins the thread. Never call from an action.
    public func stop() {
        monitor.withLock { state in
            state.stopping = true
            state.heap = []
            state.actions = [:]
        }
        monitor.broadcast()
        thread.withLock({ $0 })?.join()
    }

    private static func run(_ monitor: Monitor<State>, _ clock: any TimeSource) {
        while true {
            let (due, next, stopping) = monitor.withLock { state -> ([@Sendable () -> Void], MonotonicInstant?, Bool) in
                let now = clock.now()
                var due: [@Sendable () -> Void] = []
                while let first = state.heap.first, first.deadline <= now {
                    state.pop()
                    if let action = state.actions.removeValue(forKey: first.id) { due.append(action) }
                }
                return (due, state.heap.first?.deadline, state.stopping)
            }
            if stopping { return }
            for action in due { action() }
            if !due.isEmpty { continue }
            _ = monitor.wait(until: next) { state -> Bool? in
                let earlier = state.heap.first.map { next == nil || $0.deadline < next! } ?? false
                return state.stopping || earlier ? true : nil
            }
        }
    }
}

extension TimerThread.State {
    fileprivate mutating func push(_ entry: TimerThread.Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent].deadline <= heap[child].deadline { break }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    fileprivate mutating func pop() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].deadline < heap[least].deadline {
                least = child
            }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
