import CoreMetrics

/// What the server counts besides requests (`RequestMetrics`). Gauges are taken from what exists anyway, once a sweep.
struct ServerMetrics: Sendable {
    let connections = Gauge(label: "postrider_http_connections")
    let parked = Gauge(label: "postrider_http_parked_requests")
    let bodyBytes = Gauge(label: "postrider_http_body_memory_bytes")
    let responseBytes = Gauge(label: "postrider_http_response_memory_bytes")
    /// Answers to requests that were answered already, or whose client is gone.
    let ignoredResponses = Counter(label: "postrider_http_responses_ignored_total")
    let clientsGone = Counter(label: "postrider_http_parked_clients_gone_total")
    /// Header fields of handlers that were changed or left out to keep the message's framing.
    let cleanedHeaders = Counter(label: "postrider_http_cleaned_headers_total")
    let gzippedResponses = Counter(label: "postrider_http_gzipped_responses_total")
    /// Answers sent as they are because `responseMemoryMax` had no room for compressing them.
    let gzipsSkipped = Counter(label: "postrider_http_gzips_skipped_total")
    /// Connections that ended before the response was out.
    let brokenRequests = Counter(label: "postrider_http_broken_requests_total")
    private let refused: [ServerProblem.Code: Counter]
    /// Connections closed because something took too long.
    private let slowClients: [Exchange.Part: Counter]

    init() {
        refused = Dictionary(
            uniqueKeysWithValues: ServerProblem.Code.allCases.map {
                ($0, Counter(label: "postrider_http_refused_total", dimensions: [("code", $0.rawValue)]))
            })
        slowClients = Dictionary(
            uniqueKeysWithValues: Exchange.Part.allCases.map {
                ($0, Counter(label: "postrider_http_slow_clients_total", dimensions: [("part", $0.rawValue)]))
            })
    }

    func countSlow(_ part: Exchange.Part) { slowClients[part]?.increment() }

    func countRefused(_ code: ServerProblem.Code) { refused[code]?.increment() }
}
