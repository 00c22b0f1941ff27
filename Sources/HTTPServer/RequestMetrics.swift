import CoreMetrics
import Primitives

/// Requests by route, method and status, and how long they took. Called on the event loops; a short lock for each
/// route.
///
/// Series are made when a route is first used: their number is that of what clients really call, and bounded by routes,
/// methods and the statuses that handlers answer with.
final class RequestMetrics: Sendable {
    /// When a request was handed over, and when it began to wait.
    struct Times {
        /// Its last byte was there. nil: no handler saw it.
        var dispatched: MonotonicInstant?
        var parked: MonotonicInstant?
    }

    private struct RouteSeries {
        /// By method and status.
        var requests: [Key: Counter] = [:]
        var times: [String: (request: Timer, parked: Timer?)] = [:]
    }

    private struct Key: Hashable {
        var method: String
        var status: Int
    }

    private let patterns: [String]
    /// One for each route, and one for what matched none.
    private let routes: [Lock<RouteSeries>]

    init(_ router: Router) {
        patterns = router.routes.map(\.pattern) + ["none"]
        routes = patterns.map { _ in Lock(RouteSeries()) }
    }

    /// An answer goes out.
    ///
    /// - Parameters:
    ///   - route: its place in the router's table; nil: none matched.
    ///   - method: nil: one that no route has.
    func count(route: Int?, method: HTTPMethod?, status: Int, _ times: Times, now: MonotonicInstant) {
        let route = route ?? patterns.count - 1
        let method = method?.rawValue ?? "other"
        let key = Key(method: method, status: status)
        let known = routes[route].withLock { ($0.requests[key], $0.times[method]) }
        (known.0 ?? addCounter(route, key)).increment()
        guard let dispatched = times.dispatched else { return }
        var timers = known.1
        if timers == nil || timers?.parked == nil && times.parked != nil {
            timers = addTimers(route, method, parked: times.parked != nil)
        }
        timers?.request.recordNanoseconds(((times.parked ?? now) - dispatched).wholeNanoseconds)
        if let parked = times.parked { timers?.parked?.recordNanoseconds((now - parked).wholeNanoseconds) }
    }

    // Looked up outside the lock, as the registry has its own; who comes second gets the same series.

    private func addCounter(_ route: Int, _ key: Key) -> Counter {
        let counter = Counter(
            label: "postrider_http_requests_total",
            dimensions: [("route", patterns[route]), ("method", key.method), ("status", String(key.status))])
        routes[route].withLock { $0.requests[key] = counter }
        return counter
    }

    private func addTimers(_ route: Int, _ method: String, parked: Bool) -> (request: Timer, parked: Timer?) {
        let dimensions = [("route", patterns[route]), ("method", method)]
        let timers = (
            request: Timer(label: "postrider_http_request_seconds", dimensions: dimensions),
            parked: parked ? Timer(label: "postrider_http_parked_seconds", dimensions: dimensions) : nil
        )
        routes[route].withLock { $0.times[method] = timers }
        return timers
    }
}
