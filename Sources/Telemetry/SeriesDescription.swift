/// One row of the table of series: what a metric is called, counts, and may be told apart by.
///
/// The registry takes kind, HELP and buckets from it, `docs/METRICS.md` is generated from it, and tests hold the code,
/// a scrape, the dashboard and the alert rules against it.
public struct SeriesDescription: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        /// Only goes up; ends in `_total`.
        case counter
        case gauge
        /// Upper bounds of the buckets, rising, without the last one, which has none.
        case histogram(buckets: [Double])

        /// As Prometheus says it.
        public var name: String {
            switch self {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    /// What bounds a label's values: nothing that a client sends makes a series, but for names of topics and consumers,
    /// of which only so many have one of their own.
    public struct Label: Hashable, Sendable {
        public var name: String
        /// All there are; nil: they depend on what runs.
        public var values: [String]?
        /// For people: what the values are, and why there are not many.
        public var bound: String

        public static func oneOf(_ name: String, _ values: String...) -> Label {
            Label(name: name, values: values, bound: values.map { "`\($0)`" }.joined(separator: ", "))
        }

        public static func bounded(_ name: String, _ bound: String) -> Label {
            Label(name: name, values: nil, bound: bound)
        }
    }

    /// Label values come from names that clients choose, so each metric has at most so many series; further ones are
    /// added up in one whose label values are all `other`.
    public static let seriesMaxDefault = 200

    public var name: String
    public var kind: Kind
    /// What it counts, without units: the name has them.
    public var help: String
    public var labels: [Label]
    public var seriesMax: Int

    static func counter(
        _ name: String, _ help: String, _ labels: Label..., seriesMax: Int = seriesMaxDefault
    ) -> SeriesDescription {
        SeriesDescription(name: name, kind: .counter, help: help, labels: labels, seriesMax: seriesMax)
    }

    static func gauge(
        _ name: String, _ help: String, _ labels: Label..., seriesMax: Int = seriesMaxDefault
    ) -> SeriesDescription {
        SeriesDescription(name: name, kind: .gauge, help: help, labels: labels, seriesMax: seriesMax)
    }

    static func histogram(
        _ name: String, _ help: String, _ labels: Label..., buckets: [Double], seriesMax: Int = seriesMaxDefault
    ) -> SeriesDescription {
        SeriesDescription(
            name: name, kind: .histogram(buckets: buckets), help: help, labels: labels, seriesMax: seriesMax)
    }

    public init(
        name: String, kind: Kind, help: String, labels: [Label] = [], seriesMax: Int = Self.seriesMaxDefault
    ) {
        precondition(seriesMax > 0)
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
        self.seriesMax = seriesMax
    }

    /// What its values are counted in: the end of the name, before `_total`, as Prometheus wants it
    /// (https://prometheus.io/docs/practices/naming). nil: a plain number.
    public var unit: String? {
        let base = name.hasSuffix("_total") ? name.dropLast("_total".count) : name[...]
        return ["seconds", "bytes", "records", "ratio"].first { base.hasSuffix("_" + $0) }
    }
}

/// Every metric of the process, by area, in `SeriesTable+….swift`. One that is made and has no row here, or has a row
/// and is made nowhere, fails a test.
public enum SeriesTable {
    /// Sorted by name within each area; names are unique.
    public static let areas: [(name: String, series: [SeriesDescription])] = [
        ("Gateway", gateway), ("HTTP", http), ("Intake and spool", spool), ("Idempotency", idempotency),
        ("Forwarding", forwarding), ("Receipts and dead letters", outcomes), ("Consumers", consumers),
        ("Embedded broker", embedded), ("Kafka", kafka), ("Process", process),
    ]

    public static let all = areas.flatMap(\.series)

    /// From a fast disk's sync to one that hangs.
    static let diskSeconds = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]
    /// From an answer out of memory to a request's time-out.
    static let requestSeconds = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
    ]
    /// From a poll that finds something at once to the longest wait, and what comes on top of it.
    static let waitSeconds = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90]
    /// From one record to the most in one sync.
    static let groupRecords: [Double] = (0...8).map { Double(1 << (2 * $0)) }

    static let lane = SeriesDescription.Label.bounded("lane", "the lane's number, `spool.lanes` of them (at most 64)")
}
