public import CoreMetrics
import Primitives

/// A number computed at each scrape.
public struct MetricSample: Sendable {
    public enum Kind: String, Sendable {
        case counter
        case gauge
    }

    public var name: String
    public var help: String
    public var kind: Kind
    public var labels: [(name: String, value: String)]
    public var value: Double

    public init(
        _ name: String, help: String = "", kind: Kind = .gauge, labels: [(name: String, value: String)] = [],
        value: Double
    ) {
        self.name = name
        self.help = help
        self.kind = kind
        self.labels = labels
        self.value = value
    }
}

/// Bounds and buckets of a registry.
public struct MetricsOptions: Sendable {
    /// Label values come from clients (topics, consumers), so each metric has at most this many series; further ones
    /// are added up in one whose label values are all `other`.
    public var seriesMax: Int
    /// Upper bounds of timers, in seconds.
    public var timerBounds: [Double]
    /// Upper bounds of aggregating recorders, in their own unit; of those named `…_seconds` the timers' bounds hold.
    public var recorderBounds: [Double]

    public init(
        seriesMax: Int = 200, timerBounds: [Double] = Self.timerBounds, recorderBounds: [Double] = Self.recorderBounds
    ) {
        precondition(seriesMax > 0)
        self.seriesMax = seriesMax
        self.timerBounds = timerBounds
        self.recorderBounds = recorderBounds
    }

    /// From a fast disk's sync to a request's time-out.
    public static let timerBounds = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    /// From single records to the bytes of the largest request.
    public static let recorderBounds: [Double] = (0...12).map { Double(1 << (2 * $0)) }
}

/// Keeps every metric of the process and writes them as Prometheus text: the backend of swift-metrics.
///
/// Counters, floating-point counters, meters and gauges become a counter or a gauge; timers (named `…_seconds`) and
/// aggregating recorders become histograms. Names are taken as they are; what Prometheus does not allow in them becomes
/// `_`. Looking a metric up takes a lock: look it up once and keep it. Any thread.
public final class MetricsRegistry: MetricsFactory {
    private struct Family {
        var kind: String
        /// By rendered labels.
        var series: [String: any Series] = [:]
    }

    private struct State {
        var families: [String: Family] = [:]
        var help: [String: String] = [:]
        var collectors: [@Sendable () -> [MetricSample]] = []
        var overflowed: UInt64 = 0
        var conflicts: UInt64 = 0
    }

    private let options: MetricsOptions
    private let state = Lock(State())

    public init(options: MetricsOptions = MetricsOptions()) { self.options = options }

    /// Sets the metric's HELP line.
    public func describe(_ name: String, _ help: String) {
        state.withLock { $0.help[prometheusName(name)] = help }
    }

    /// Adds numbers computed at each scrape, on the thread that scrapes. `body` must be short, must not block, and
    /// bounds its own number of series.
    public func collect(_ body: @escaping @Sendable () -> [MetricSample]) {
        state.withLock { $0.collectors.append(body) }
    }

    /// Everything, in the Prometheus text format 0.0.4 (`text/plain; version=0.0.4`), sorted by name and labels.
    public func text() -> [UInt8] {
        let state = state.withLock { $0 }
        var families: [String: PrometheusFamily] = [:]
        for (name, family) in state.families {
            families[name] = PrometheusFamily(
                kind: family.kind, help: state.help[name],
                series: family.series.map { labels, series in
                    PrometheusSeries(
                        labels: labels, value: series.read(), bounds: (series as? HistogramSeries)?.bounds ?? [])
                })
        }
        // Outside the lock: collectors may take locks of their own.
        let own = [
            MetricSample(
                "postrider_metrics_overflowed_total", help: "Look-ups that ended in a series labelled other",
                kind: .counter, value: Double(state.overflowed)),
            MetricSample(
                "postrider_metrics_conflicts_total", help: "Look-ups of a name that is another kind of metric",
                kind: .counter, value: Double(state.conflicts)),
        ]
        for sample in state.collectors.flatMap({ $0() }) + own {
            let name = prometheusName(sample.name)
            let series = PrometheusSeries(
                labels: prometheusLabels(sample.labels), value: .number(sample.value), bounds: [])
            families[
                name,
                default: PrometheusFamily(kind: sample.kind.rawValue, help: sample.help, series: [])
            ].series.append(series)
        }
        return prometheusText(families)
    }

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        look(up: label, dimensions, kind: "counter") { CounterSeries() }
    }

    public func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        look(up: label, dimensions, kind: "counter") { GaugeSeries() }
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        look(up: label, dimensions, kind: "gauge") { GaugeSeries() }
    }

    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        if !aggregate { return look(up: label, dimensions, kind: "gauge") { GaugeSeries() } }
        let bounds = label.hasSuffix("_seconds") ? options.timerBounds : options.recorderBounds
        return look(up: label, dimensions, kind: "histogram") { HistogramSeries(bounds: bounds) }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let bounds = options.timerBounds
        return look(up: label, dimensions, kind: "histogram") { HistogramSeries(bounds: bounds) }
    }

    public func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
    public func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
    public func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
    public func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

    private func look<Made: Series>(
        up label: String, _ dimensions: [(String, String)], kind: String, make: () -> Made
    ) -> Made {
        let name = prometheusName(label)
        let labels = dimensions.map { (name: $0.0, value: $0.1) }
        return state.withLock { state in
            var key = prometheusLabels(labels)
            var family = state.families[name] ?? Family(kind: kind)
            if family.series[key] == nil, family.series.count >= options.seriesMax {
                state.overflowed += 1
                key = prometheusLabels(labels.map { (name: $0.name, value: "other") })
            }
            if family.kind == kind, let known = family.series[key] as? Made { return known }
            let made = make()
            if family.kind != kind || family.series[key] != nil {
                // A slip in the code: the second owner's numbers are not shown, and this is counted.
                state.conflicts += 1
                return made
            }
            family.series[key] = made
            state.families[name] = family
            return made
        }
    }

    private func remove(_ handler: AnyObject) {
        state.withLock { state in
            for (name, family) in state.families {
                guard let key = family.series.first(where: { $0.value === handler })?.key else { continue }
                state.families[name]?.series[key] = nil
                if state.families[name]?.series.isEmpty == true { state.families[name] = nil }
                return
            }
        }
    }
}
