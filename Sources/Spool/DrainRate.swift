import Glibc
import Primitives

/// How fast a lane settles records while it has any. A pure value.
///
/// Records and the time they took are both weighted with an age of about `memory`, so that the rate follows what the
/// broker does now, and is right from the first settled record on.
struct DrainRate {
    static let memory = Duration.seconds(30)

    private var records = 0.0
    private var seconds = 0.0
    private var last: MonotonicInstant?

    /// The lane has records from now on, or has none any more: time without any says nothing.
    mutating func begins(_ now: MonotonicInstant) { last = now }
    mutating func rests() { last = nil }

    mutating func settled(_ count: Int, _ now: MonotonicInstant) {
        (records, seconds) = aged(now)
        last = last.map { max($0, now) }
        records += Double(count)
    }

    /// Records a second; nil where nothing is known.
    func perSecond(_ now: MonotonicInstant) -> Double? {
        let (records, seconds) = aged(now)
        return records > 0 && seconds > 0 ? records / seconds : nil
    }

    private func aged(_ now: MonotonicInstant) -> (records: Double, seconds: Double) {
        guard let last, now > last else { return (records, seconds) }
        let passed = (now - last).inSeconds
        let weight = exp(-passed / Self.memory.inSeconds)
        return (records * weight, seconds * weight + passed)
    }
}
