import CoreMetrics
import Primitives

/// Requests by route, method and status, and how long they took. Called on the event loops, and by the sweep; a short
/// lock for each route.
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

    private struct Timers {
        let request: Timer
        /// Made with the first request that is parked.
        var parked: Timer?
    }

    private struct RouteSeries {
        /// By status and method.
        var requests: [Int: Counter] = [:]
        /// By method.
        var timers = [Timers?](repeating: nil, count: RequestMetrics.methods.count)
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
        let (route, method) = (route ?? patterns.count - 1, Self.index(method))
        let key = status << 3 | method
        let (counter, known) = routes[route].withLock { ($0.requests[key], $0.timers[method]) }
        (counter ?? addCounter(route, method, status, key)).increment()
        guard let dispatched = times.dispatched else { return }
        var timers = known ?? Timers(request: timer("postrider_http_request_seconds", route, method))
        let isFirstParked = times.parked != nil && timers.parked == nil
        if isFirstParked { timers.parked = timer("postrider_http_parked_seconds", route, method) }
        if known == nil || isFirstParked { routes[route].withLock { $0.timers[method] = timers } }
        timers.request.recordNanoseconds(((times.parked ?? now) - dispatched).wholeNanoseconds)
        if let parked = times.parked { timers.parked?.recordNanoseconds((now - parked).wholeNanoseconds) }
    }

    // Looked up outside the lock, as the registry has its own; who comes second gets the same series.

    private func addCounter(_ route: Int, _ method: Int, _ status: Int, _ key: Int) -> Counter {
        let labels = dimensions(route, method) + [("status", String(status))]
        let counter = Counter(label: "postrider_http_requests_total", dimensions: labels)
        routes[route].withLock { $0.requests[key] = counter }
        return counter
    }

    private func timer(_ label: String, _ route: Int, _ method: Int) -> Timer {
        Timer(label: label, dimensions: dimensions(route, method))
    }

    private func dimensions(_ route: Int, _ method: Int) -> [(String, String)] {
        [("route", patterns[route]), ("method", Self.methods[method])]
    }

    private static let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "other"]

    /// Its place in `methods`. (Found without hashing or comparing text: every request comes here.)
    private static func index(_ method: HTTPMethod?) -> Int {
        switch method {
        case .get: 0
        case .head: 1
        case .post: 2
        case .put: 3
        case .delete: 4
        case nil: 5
        }
    }
}
