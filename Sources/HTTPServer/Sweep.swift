import CMicrohttpd
import Glibc
import CoreMetrics
import Primitives

/// Looks at every connection once an interval: overdue requests, clients that left, gauges. A few
/// microseconds for each thousand connections, off the event loops.
final class Sweep: Sendable {
    private let stopping = Monitor(false)
    private let thread: WorkerThread

    init(_ core: ServerCore) {
        let stopping = stopping
        thread = WorkerThread(name: "http-sweep") {
            while true {
                let next = core.clock.now() + core.settings.sweepInterval
                if stopping.wait(until: next, for: { $0 ? true : nil }) != nil { return }
                Self.sweep(core)
                Self.report(core)
            }
        }
    }

    func stop() {
        stopping.withLock { $0 = true }
        stopping.broadcast()
        thread.join()
    }

    private static func sweep(_ core: ServerCore) {
        let now = core.clock.now()
        var watched: [(connection: Connection, generation: UInt64)] = []
        for connection in core.liveConnections {
            if let generation = connection.sweep(now: now) { watched.append((connection, generation)) }
        }
        // A descriptor may be closed and used again meanwhile; then the generation has moved, and nothing is done.
        var entries = watched.map { pollfd(fd: $0.connection.descriptor, events: postrider_poll_rdhup, revents: 0) }
        guard !entries.isEmpty, poll(&entries, nfds_t(entries.count), 0) > 0 else { return }
        for (entry, waiting) in zip(entries, watched) where entry.revents & clientGoneEvents != 0 {
            waiting.connection.clientLeft(waiting.generation)
        }
    }

    private static func report(_ core: ServerCore) {
        let usage = core.usage
        core.metrics.connections.record(usage.connections)
        core.metrics.parked.record(usage.parked)
        core.metrics.bodyBytes.record(usage.bodyBytes)
        core.metrics.responseBytes.record(usage.responseBytes)
    }
}
