extension SeriesTable {
    private static let method = SeriesDescription.Label.oneOf(
        "method", "GET", "HEAD", "POST", "PUT", "DELETE", "other")
    private static let route = SeriesDescription.Label.bounded(
        "route",
        "patterns of the interface's routes, such as `/v1/topics/{topic}`, never paths; `none`: no route matched")

    static let http: [SeriesDescription] = [
        .gauge("postrider_http_body_memory_bytes", "Request bodies in memory, against http.body_memory_max"),
        .counter("postrider_http_broken_requests_total", "Connections that ended before the response was out"),
        .counter(
            "postrider_http_cleaned_headers_total", "Header fields of answers changed or left out to keep the framing"),
        .gauge("postrider_http_connections", "Open connections, against http.connections_max; once a second"),
        .counter("postrider_http_gzipped_responses_total", "Answers that were compressed"),
        .counter(
            "postrider_http_gzips_skipped_total",
            "Answers sent as they are because http.response_memory_max had no room for compressing (144 KiB each)"),
        .counter("postrider_http_parked_clients_gone_total", "Clients that left while their request was parked"),
        .gauge("postrider_http_parked_requests", "Requests that wait: polls, reads and Prefer: wait; once a second"),
        .histogram(
            "postrider_http_parked_seconds",
            "How long requests were parked: from when a poll, a read or a receipt began to wait, or a produce call "
                + "with Prefer: wait was accepted, to its answer",
            method, route, buckets: waitSeconds),
        .counter(
            "postrider_http_refused_total", "What the server itself refused, before or instead of a handler",
            .bounded("code", "error codes of the server's own answers, fixed in the program")),
        .histogram(
            "postrider_http_request_seconds",
            "From the last byte of a request to its answer, up to where it was parked: for produce calls the time to "
                + "the 202, or with Prefer: wait to the acceptance. Neither a client's slow sending nor a long poll's "
                + "wait is in it",
            method, route, buckets: requestSeconds),
        .counter(
            "postrider_http_requests_total",
            "Requests by their answer, but for broken ones that libmicrohttpd answers itself; OPTIONS has the method "
                + "other",
            method, route, .bounded("status", "statuses that the interface document names"), seriesMax: 1_000),
        .gauge("postrider_http_response_memory_bytes", "Responses in memory, against http.response_memory_max"),
        .counter(
            "postrider_http_responses_ignored_total", "Answers that came too late, or whose client was gone"),
        .counter(
            "postrider_http_slow_clients_total", "Connections closed because this part of a request took too long",
            .oneOf("part", "request_line", "headers", "body", "response")),
    ]
}
