extension SeriesTable {
    /// The gateway as a whole, and its limits.
    static let gateway: [SeriesDescription] = [
        .gauge(
            "postrider_accepting", "1 while records are accepted, as /readyz says; 0: postrider_not_accepting has why"),
        .gauge(
            "postrider_build_info", "Always 1; the version is in the label",
            .bounded("version", "one: that of the program")),
        .gauge("postrider_forwarding", "1 while every lane forwards, as /readyz?require=forwarding asks; else 0"),
        .counter(
            "postrider_limit_reached_total", "What was refused, put off or cut because a limit was reached",
            .bounded("limit", "names of settings and of fixed limits")),
        .counter(
            "postrider_log_lines_dropped_total",
            "Log lines that found 1 MiB of others waiting: nobody reads standard error, or the disk under it hangs"),
        .counter(
            "postrider_log_lines_suppressed_total", "Log lines that repeated others and were counted instead of written"
        ),
        .counter(
            "postrider_metrics_conflicts_total",
            "Look-ups of a metric by a name that is another kind of metric: a mistake in the program"),
        .counter(
            "postrider_metrics_overflowed_total",
            "Look-ups of a metric that had as many series as it may have, and ended in the one labelled other"),
        .gauge(
            "postrider_not_accepting", "1 while no records are accepted; there only then",
            .bounded("reason", "the codes of `accepting.reason` in /readyz; one at a time")),
        .gauge(
            "postrider_ready", "1 while the part does what it is for, as /readyz says; looked at every second",
            .oneOf(
                "part", "gateway", "intake", "sync", "disk", "quota", "housekeeping", "forwarding", "broker",
                "consumers")),
    ]

    /// The operating system's view, with the names that Prometheus' client libraries use.
    static let process: [SeriesDescription] = [
        .counter("process_cpu_seconds_total", "User and system CPU time"),
        .gauge("process_max_fds", "Limit of open file descriptors"),
        .gauge("process_open_fds", "Open file descriptors: files, connections, and clients of Kafka"),
        .gauge("process_resident_memory_bytes", "Resident memory"),
        .gauge("process_start_time_seconds", "Start, in seconds since 1970 UTC"),
        .gauge("process_threads", "Threads"),
        .gauge("process_virtual_memory_bytes", "Virtual memory: says little"),
    ]
}
