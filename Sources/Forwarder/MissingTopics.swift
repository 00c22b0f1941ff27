import Primitives
import Records

/// For how long topics have been missing at the broker, as tries of single records were told. A pure value.
///
/// A topic that is missing may be created, or come back, at any time, so its records wait, and with them what lies
/// behind them in their lane. A record dies only when for the whole time-out every try of a record of that topic,
/// alone, was told so by the broker. Another answer, a success, or a silence of more than `silenceMax` between two such
/// answers begins the time anew.
struct MissingTopics {
    /// Topics that are timed at once; at the limit the one that was heard of least recently begins anew.
    static let topicsMax = 1_000
    /// A broker that cannot be asked says nothing about the topic.
    static let silenceMax = Duration.seconds(60)

    private struct Absence {
        var since: MonotonicInstant
        var heard: MonotonicInstant
    }

    private var absences: [TopicName: Absence] = [:]

    var isEmpty: Bool { absences.isEmpty }

    /// Another topic begins anew when this one is missed.
    func isFull(for topic: TopicName) -> Bool { absences[topic] == nil && absences.count >= Self.topicsMax }

    /// A record of the topic was tried alone, and the broker says that there is no such topic.
    ///
    /// - Returns: for how long it has said so.
    mutating func missed(_ topic: TopicName, at now: MonotonicInstant) -> Duration {
        if var absence = absences[topic], now - absence.heard <= Self.silenceMax {
            absence.heard = now
            absences[topic] = absence
            return now - absence.since
        }
        if isFull(for: topic),
            let oldest = absences.min(by: { $0.value.heard < $1.value.heard })?.key
        {
            absences[oldest] = nil
        }
        absences[topic] = Absence(since: now, heard: now)
        return .zero
    }

    /// A record of the topic was delivered, or refused for another reason.
    mutating func found(_ topic: TopicName) { absences[topic] = nil }
}
