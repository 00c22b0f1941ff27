// SAFETY: no C type appears in the interface; the inlinable bodies call pthread functions.
public import Glibc

/// A value behind a mutex. Hold it for memory work only, never over disk, broker or network calls.
///
/// Built on `pthread_mutex_t` because the thread sanitizer reports false races on `Synchronization.Mutex`.
/// Any thread may call; not recursive.
// SAFETY: `state` is reached only with `mutex` held.
public final class Lock<State>: @unchecked Sendable {
    // Usable from inline code because every hot path locks: called without specialization, `withLock` costs more than
    // the mutex.
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>
    /// Apart from the object, so that no access pays a run-time exclusivity check for what the mutex excludes.
    @usableFromInline let state: UnsafeMutablePointer<State>

    public init(_ state: State) {
        self.state = .allocate(capacity: 1)
        self.state.initialize(to: state)
        mutex = .allocate(capacity: 1)
        let result = pthread_mutex_init(mutex, nil)
        precondition(result == 0, "pthread_mutex_init: \(result)")
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
    }

    @inlinable @inline(__always)
    public func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state.pointee)
    }
}

/// A value behind a mutex with a condition to wait on: for threads that sleep until there is work.
// SAFETY: `state` is reached only with `mutex` held.
public final class Monitor<State>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    public init(_ state: State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        var attributes = pthread_condattr_t()
        var result = pthread_mutex_init(mutex, nil)
        precondition(result == 0, "pthread_mutex_init: \(result)")
        pthread_condattr_init(&attributes)
        // The wall clock may jump by hours; deadlines here must not.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        result = pthread_cond_init(condition, &attributes)
        precondition(result == 0, "pthread_cond_init: \(result)")
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    @inline(__always)
    public func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Wakes one waiter.
    public func signal() { pthread_cond_signal(condition) }

    /// Wakes every waiter.
    public func broadcast() { pthread_cond_broadcast(condition) }

    /// Sleeps until `body` returns a value, looking at the state after every wake-up.
    ///
    /// - Parameter deadline: when to give up; nil waits for ever.
    /// - Returns: nil when the deadline passed and `body` still returned nil.
    public func wait<Result>(until deadline: MonotonicInstant? = nil, for body: (inout State) -> Result?) -> Result? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            guard let deadline else {
                pthread_cond_wait(condition, mutex)
                continue
            }
            var time = timespec(
                tv_sec: Int(deadline.nanoseconds / 1_000_000_000), tv_nsec: Int(deadline.nanoseconds % 1_000_000_000))
            if pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT {
                return body(&state)
            }
        }
    }
}
