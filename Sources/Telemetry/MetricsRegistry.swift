public import CoreMetrics
import Primitives

/// A number computed at each scrape. What it is and counts, the table says.
public struct MetricSample: Sendable {
    public var name: String
    public var labels: [(name: String, value: String)]
    public var value: Double

    public init(_ name: String, labels: [(name: String, value: String)] = [], value: Double) {
        self.name = name
        self.labels = labels
        self.value = value
    }
}

/// Keeps every metric of the process and writes them as Prometheus text: the backend of swift-metrics.
///
/// Counters, floating-point counters, meters and gauges become a counter or a gauge; timers (named `…_seconds`) and
/// aggregating recorders become histograms. HELP, buckets and the most series of each come from the table. Names are
/// taken as they are; what Prometheus does not allow in them becomes `_`. Looking a metric up takes a lock: look it up
/// once and keep it. Any thread.
///
/// A scrape reads memory only: each series' value, and what the collectors compute. It holds the registry's lock while
/// it copies the list of series, and each histogram's for one copy.
public final class MetricsRegistry: MetricsFactory {
    private struct Family {
        var kind: String
        /// By rendered labels.
        var series: [String: any Series] = [:]
    }

    private struct State {
        var families: [String: Family] = [:]
        var collectors: [@Sendable () -> [MetricSample]] = []
        var overflowed: UInt64 = 0
        var conflicts: UInt64 = 0
    }

    private let table: [String: SeriesDescription]
    private let state = Lock(State())

    /// - Parameter table: of the metrics that will be made; other names work too, without HELP and with default bounds.
    public init(table: [SeriesDescription] = SeriesTable.all) {
        self.table = Dictionary(table.map { (prometheusName($0.name), $0) }) { first, _ in first }
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
                kind: family.kind, help: table[name]?.help,
                series: family.series.map { labels, series in
                    PrometheusSeries(
                        labels: labels, value: series.read(), bounds: (series as? HistogramSeries)?.bounds ?? [])
                })
        }
        // Outside the lock: collectors may take locks of their own.
        let own = [
            MetricSample("postrider_metrics_overflowed_total", value: Double(state.overflowed)),
            MetricSample("postrider_metrics_conflicts_total", value: Double(state.conflicts)),
        ]
        for sample in state.collectors.flatMap({ $0() }) + own {
            let name = prometheusName(sample.name)
            let series = PrometheusSeries(
                labels: prometheusLabels(sample.labels), value: .number(sample.value), bounds: [])
            let kind = table[name]?.kind.name ?? (name.hasSuffix("_total") ? "counter" : "gauge")
            families[name, default: PrometheusFamily(kind: kind, help: table[name]?.help, series: [])]
                .series.append(series)
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
        return look(up: label, dimensions, kind: "histogram") { HistogramSeries(bounds: buckets(of: label)) }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        look(up: label, dimensions, kind: "histogram") { HistogramSeries(bounds: buckets(of: label)) }
    }

    private func buckets(of label: String) -> [Double] {
        guard case .histogram(let buckets) = table[prometheusName(label)]?.kind else { return SeriesTable.diskSeconds }
        return buckets
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
        let described = table[name]
        return state.withLock { state in
            var key = prometheusLabels(labels)
            var family = state.families[name] ?? Family(kind: kind)
            let seriesMax = described?.seriesMax ?? SeriesDescription.seriesMaxDefault
            if family.series[key] == nil, family.series.count >= seriesMax {
                state.overflowed += 1
                key = prometheusLabels(labels.map { (name: $0.name, value: "other") })
            }
            if family.kind == kind, let known = family.series[key] as? Made { return known }
            let made = make()
            if family.kind != kind || family.series[key] != nil || described.map({ $0.kind.name != kind }) ?? false {
                // A slip in the code: the numbers are not shown, and this is counted.
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
