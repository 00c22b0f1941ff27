import CoreMetrics
import Primitives
import Synchronization

/// A series' value at one moment.
enum SeriesValue: Equatable, Sendable {
    case number(Double)
    case histogram(HistogramSnapshot)
}

/// What every kind of series can do at a scrape.
protocol Series: AnyObject, Sendable {
    func read() -> SeriesValue
}

/// Counts up. One atomic addition for each increment.
final class CounterSeries: CounterHandler, Series {
    private let value = Atomic<Int64>(0)

    func increment(by amount: Int64) { value.wrappingAdd(amount, ordering: .relaxed) }
    func reset() { value.store(0, ordering: .relaxed) }
    func read() -> SeriesValue { .number(Double(value.load(ordering: .relaxed))) }
}

/// A number that goes up and down; also a counter of fractions. One compare-and-swap loop for each change.
final class GaugeSeries: MeterHandler, RecorderHandler, FloatingPointCounterHandler, Series {
    /// The bits of a double.
    private let bits = Atomic<UInt64>(0)

    func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
    func set(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
    func record(_ value: Int64) { set(Double(value)) }
    func decrement(by amount: Double) { increment(by: -amount) }
    func reset() { set(0.0) }

    func increment(by amount: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let result = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if result.exchanged { return }
            old = result.original
        }
    }

    func read() -> SeriesValue { .number(Double(bitPattern: bits.load(ordering: .relaxed))) }
}

/// How many observations fell at or under each bound, not cumulated.
struct HistogramSnapshot: Equatable, Sendable {
    /// One more than there are bounds: the last is for what is above all of them.
    var counts: [UInt64]
    var sum: Double
}

/// Distribution over fixed buckets. A lock and a short search for each observation.
final class HistogramSeries: TimerHandler, RecorderHandler, Series {
    /// Upper bounds, rising.
    let bounds: [Double]
    private let state: Lock<HistogramSnapshot>

    init(bounds: [Double]) {
        precondition(!bounds.isEmpty && zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "bounds must rise")
        self.bounds = bounds
        state = Lock(HistogramSnapshot(counts: Array(repeating: 0, count: bounds.count + 1), sum: 0))
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock { state in
            state.counts[bucket] += 1
            state.sum += value
        }
    }

    func read() -> SeriesValue { .histogram(state.withLock { $0 }) }
}
