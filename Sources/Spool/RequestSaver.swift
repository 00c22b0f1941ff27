import CoreMetrics
import Logging
import Primitives
import Records
import Store

/// Wakes the saver's thread, and tells it when the journal has grown much.
final class RequestSignal: Sendable {
    struct State {
        var usedBytes: Int64 = 0
        /// Of the journal, since it was looked at last. What is deleted at the same time hides a little.
        var grownBytes: Int64 = 0
        var isDue = false
        var stopping = false

        /// - Returns: nil: go on waiting; else whether to stop.
        mutating func take() -> Bool? {
            guard isDue || stopping else { return nil }
            isDue = false
            grownBytes = 0
            return stopping
        }
    }

    let monitor = Monitor(State())
    private let bytesMax: Int64

    init(bytesMax: Int64) { self.bytesMax = bytesMax }

    /// Called after each commit.
    func published(usedBytes: Int64) {
        let isDue = monitor.withLock { state in
            state.grownBytes += max(0, usedBytes - state.usedBytes)
            state.usedBytes = usedBytes
            guard state.grownBytes >= bytesMax, !state.isDue else { return false }
            state.isDue = true
            return true
        }
        if isDue { monitor.signal() }
    }

    func isDue() {
        monitor.withLock { $0.isDue = true }
        monitor.signal()
    }

    func stop() {
        monitor.withLock { $0.stopping = true }
        monitor.broadcast()
    }
}

/// Brings what is remembered of requests from memory to the store, so that the journal's segments can go and a start
/// has little to read; and forgets what is past its time. A store that refuses is tried again: until then segments
/// stay, and nothing else fails.
///
/// One thread of its own.
// SAFETY: the mutable members are touched by the saver's thread only.
final class RequestSaver: @unchecked Sendable {
    /// Keys that are forgotten under one hold of the lock.
    private static let expiredAtOnce = 4096

    private let requests: Requests
    private let store: any RequestStore
    private let spool: SpoolID
    private let state: Lock<SpoolState>
    private let settings: IdempotencySettings
    private let clock: any TimeSource
    private let log: Logger
    /// Not before then, after a refusal; and how long it waited last.
    private var retry: (at: MonotonicInstant, after: Duration)?
    private var producersDue: MonotonicInstant
    /// What it holds is in an unknown state.
    private var isBroken = false

    init(
        _ requests: Requests, store: any RequestStore, spool: SpoolID, state: Lock<SpoolState>,
        settings: IdempotencySettings, clock: any TimeSource, log: Logger
    ) {
        self.requests = requests
        self.store = store
        self.spool = spool
        self.state = state
        self.settings = settings
        self.clock = clock
        self.log = log
        producersDue = clock.now()
    }

    /// To be called by the thread.
    func run() {
        let signal = requests.signal.monitor
        var isStopping = false
        while !isStopping {
            round()
            isStopping = signal.wait(until: clock.now() + settings.saveInterval) { $0.take() } == true
        }
        end()
    }

    /// What the thread does between two waits.
    func round() {
        expire()
        save(isStopping: false)
        requests.report()
    }

    /// The last that it does.
    func end() {
        save(isStopping: true)
        store.close()
    }

    private func expire() {
        let now = requests.clock.seconds
        var expired = Self.expiredAtOnce
        while expired == Self.expiredAtOnce {
            expired = requests.index.withLock { $0.expireKeys(now: now, max: Self.expiredAtOnce) }
            requests.metrics.keysExpired.increment(by: expired)
        }
        guard producersDue <= clock.now() else { return }
        producersDue = clock.now() + IdempotencySettings.producersLooked
        let idle = requests.index.withLock { $0.expireProducers(now: now) }
        requests.metrics.producersExpired.increment(by: idle)
    }

    private func save(isStopping: Bool) {
        if let retry, !isStopping, clock.now() < retry.at { return }
        // First: every request below was added before this was published.
        let durable = state.withLock { $0.durable }
        let times = requests.clock.times
        let unsaved = requests.index.withLock { index in
            if isBroken { index.saving.needsAll = true }
            return index.unsaved(durable: durable, spool: spool, times: times)
        }
        guard let unsaved else { return }
        do throws(StoreError) {
            if isBroken {
                try store.replace(with: unsaved.change)
                isBroken = false
            } else {
                try store.save(unsaved.change)
            }
            requests.index.withLock { $0.saved(unsaved) }
            if retry != nil { log.notice("the store of requests takes them again") }
            retry = nil
        } catch {
            // After a failed sync, or with damage, nothing that the file holds can be relied on.
            if !error.isRetriable { isBroken = true }
            requests.metrics.saveFailures.increment()
            log.error(
                "requests cannot be saved, the journal keeps them meanwhile", metadata: ["error": "\(error)"])
            let after = retry.map { min($0.after * 2, settings.saveRetryMax) } ?? settings.saveRetry
            retry = (clock.now() + after, after)
        }
    }
}
